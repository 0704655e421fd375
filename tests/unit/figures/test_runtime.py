"""The figure of time and memory shows every job."""

import re
from pathlib import Path

import numpy as np

from starstack.figures.runtime import RULES, plot_runtime
from starstack.figures.style import PAGE

RULE_FILES = sorted((Path(__file__).parents[3] / "workflow" / "rules").glob("*.smk"))


def marks(axes):
    lines = [line for line in axes.lines if line.get_gid() == "runtime"]
    return np.concatenate([line.get_xydata() for line in lines])


def test_one_mark_per_job_in_both_panels(tables):
    table = tables.runtime()
    left, right = plot_runtime(table).axes
    np.testing.assert_array_equal(sorted(marks(left)[:, 0]), sorted(table["seconds"]))
    np.testing.assert_array_equal(sorted(marks(right)[:, 0]), sorted(table["max_rss_mb"]))
    assert left.get_xscale() == "log"
    # A mark lies in the band of its rule.
    rules = list(dict.fromkeys(table["rule"]))
    by_time = table.set_index("seconds")["rule"]
    assert all(rules[round(y)] == by_time[x] for x, y in marks(left))


def test_words_and_totals(tables):
    table = tables.runtime(["wine"])
    left, right = plot_runtime(table).axes
    assert [label.get_text() for label in left.get_yticklabels()] == [
        "load data",
        "fit base models",
        "assemble meta-features",
        "fit meta-learners",
    ]
    assert [text.get_text().split(",")[0] for text in right.texts] == [
        "1 job",
        "12 jobs",
        "1 job",
        "4 jobs",
    ]
    assert (left.get_xlabel(), right.get_xlabel()) == (
        "Wall-clock time of a job (s)",
        "Peak memory of a job (MB)",
    )


def test_every_rule_with_a_record_has_words():
    recorded = set()
    for path in RULE_FILES:
        for block in re.split(r"^rule (?=\w+:)", path.read_text(), flags=re.MULTILINE)[1:]:
            if "/runtime/" in block.partition("    log:")[0]:
                recorded.add(block.partition(":")[0])
    assert {"fit_base", "train_baseline", "calibrate_classes"} <= recorded
    assert recorded == set(RULES)
    assert not [words for words in RULES.values() if "_" in words]
    assert len(set(RULES.values())) == len(RULES)


def test_all_rules_of_many_studies_fit_a_page(tables):
    studies = [f"study-{number}" for number in range(14)]
    table = tables.runtime(studies, dict.fromkeys(RULES, 1))
    figure = plot_runtime(table)
    assert figure.get_figheight() <= PAGE
    names = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert names == list(RULES.values())


def test_no_two_studies_look_alike(tables):
    figure = plot_runtime(tables.runtime([f"study-{number}" for number in range(14)]))
    lines = [line for line in figure.axes[0].lines if line.get_gid() == "runtime"]
    assert len({(line.get_marker(), line.get_color()) for line in lines}) == 14


def test_black_lines_are_medians(tables):
    table = tables.runtime()
    left, _ = plot_runtime(table).axes
    lines = [line.get_xdata()[0] for line in left.lines if line.get_gid() != "runtime"]
    assert lines == table.groupby("rule", sort=False)["seconds"].median().tolist()


def test_a_clock_without_time_is_drawn_on_a_linear_axis(tables):
    table = tables.runtime()
    table.loc[0, "seconds"] = 0.0
    assert plot_runtime(table).axes[0].get_xscale() == "linear"
