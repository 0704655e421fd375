"""A key that stands twice in a config file, of which YAML keeps the last, is refused."""

import pytest

from starstack.config.config_files import check_config_files
from starstack.errors import InputError


def check(tmp_path, text, name="mine.yaml"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    check_config_files([path])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("studies:\n  t: {a: 1}\n  s: {}\n  t: {a: 2}\n", "in studies; 't' .*line 2 .*line 4,"),
        ("seed: 1\nonly: []\nseed: 2\n", r"each key once; 'seed' stands in line 1 and in line 3"),
        ("a: {b: 1, b: 1}\n", "in a; 'b' stands in line 1 and in line 1"),
        ("a:\n- {b: 1}\n- c: 1\n  'c': 2\n", "in a; 'c' stands in line 3 and in line 4"),
        ('{"a": {"b": [1, {"c": 1,\n"c": 2}]}}', "in a.b; 'c' stands in line 1 and in line 2"),
    ],
)
def test_a_key_that_stands_twice(tmp_path, text, message):
    with pytest.raises(InputError, match=rf"^config: .*mine\.yaml: .*{message}") as caught:
        check(tmp_path, text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a: {b: 1}\nc: {b: 1}\n",
        "a: &a {b: 1}\nc:\n  <<: *a\n  b: 2\nd: *a\n",
        "a: &a {b: 1}\nc: &c {d: 1}\ne:\n  <<: *a\n  <<: *c\n",
        "a: &a\n  b: *a\n",
        "codes: {1: one, '1': text}\n",
        "a: {\tb\n: no YAML",
    ],
)
def test_what_is_no_repeated_key(tmp_path, text):
    check(tmp_path, text)


def test_files_are_looked_at_one_by_one(tmp_path):
    check_config_files([tmp_path / "missing.yaml"])
    for name in ("one.yaml", "two.yaml"):
        check(tmp_path, "studies: {t: 1}\n", name)
    check_config_files([tmp_path / "one.yaml", tmp_path / "two.yaml"])
