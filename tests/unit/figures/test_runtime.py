"""The figure of time and memory shows every job."""

import numpy as np

from starstack.figures.runtime import plot_runtime


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


def test_black_lines_are_medians(tables):
    table = tables.runtime()
    left, _ = plot_runtime(table).axes
    lines = [line.get_xdata()[0] for line in left.lines if line.get_gid() != "runtime"]
    assert lines == table.groupby("rule", sort=False)["seconds"].median().tolist()


def test_a_clock_without_time_is_drawn_on_a_linear_axis(tables):
    table = tables.runtime()
    table.loc[0, "seconds"] = 0.0
    assert plot_runtime(table).axes[0].get_xscale() == "linear"
