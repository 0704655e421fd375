"""What only the text of a config file shows: YAML keeps the last of two keys, and is silent."""

from collections.abc import Iterable
from os import PathLike
from pathlib import Path

import yaml

from starstack.errors import InputError

# Of `<<: *a` there may be several, each of which lays another mapping below.
_MERGE = "tag:yaml.org,2002:merge"


def check_config_files(paths: Iterable[str | PathLike[str]]) -> None:
    """Refuse a config file in which a mapping has a key twice.

    Parameters
    ----------
    paths : iterable of path
        Files in YAML (or JSON, which is YAML); what cannot be read as such is passed over, for
        Snakemake refuses it.

    Raises
    ------
    InputError
        One line on the first such key.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    for path in paths:
        try:
            root = yaml.compose(Path(path).read_text(encoding="utf-8"), Loader=loader)
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue
        _check_node(root, f"config: {path}", "", set())


def _check_node(node: yaml.Node | None, where: str, place: str, seen: set[int]) -> None:
    # An alias is the very node that it stands for, and may lie within it.
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_node(item, where, place, seen)
    if not isinstance(node, yaml.MappingNode):
        return
    lines: dict[tuple[str, str], int] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            continue
        line, name = key.start_mark.line + 1, (key.tag, key.value)
        if name in lines and key.tag != _MERGE:
            raise InputError(
                f"{where}: expected each key once{place and f' in {place[1:]}'}; {key.value!r} "
                f"stands in line {lines[name]} and in line {line}, and the latter would win; "
                "rename or remove one"
            )
        lines[name] = line
        _check_node(value, where, f"{place}.{key.value}", seen)
