"""Conformal tables: which rows learn a width and which are scored, and what is covered."""

import numpy as np
import pytest

from starstack.uncertainty.budget import ErrorBudget
from starstack.uncertainty.conformal_tables import (
    SPLIT_CONFORMAL,
    conformal_widths,
    halve,
    scales_by_fold,
    split_conformal_table,
)
from starstack.uncertainty.labelled_errors import Predicted
from starstack.uncertainty.stack_folds import StackFolds

NAMES = ("teff", "logg")
OPTIONS = {"distribution": "gaussian", "n_bins": 2}


def rows(n, rng, scale=1.0):
    """Errors of twice the noise and scatter that a budget knows of, with heavy tails."""
    snr = np.exp(rng.uniform(np.log(20), np.log(300), n))
    sigma = scale * np.column_stack([2000 / snr, 1 / snr])
    observed = rng.normal(size=(n, 2))
    errors = sigma * rng.standard_t(4, (n, 2))
    names = np.array([f"r{row}" for row in range(n)])
    part = Predicted(names, observed, observed + errors, snr)
    noise = np.zeros((n, 2, 2))
    noise[:, [0, 1], [0, 1]] = (0.5 * sigma) ** 2
    return part, ErrorBudget(names, NAMES, ("K", "dex"), noise, 0.1 * noise, 7.0 * noise)


def test_halves_are_apart_and_decided_by_the_seed():
    learn, score = halve(101, seed=1)
    assert not np.intersect1d(learn, score).size
    assert sorted([*learn, *score]) == list(range(101))
    assert halve(101, seed=1)[0].tolist() == learn.tolist() != halve(101, seed=2)[0].tolist()


def test_widths_know_nothing_of_the_rows_that_are_scored():
    rng = np.random.default_rng(3)
    (known, own), (test, other) = rows(900, rng), rows(50, rng)
    learn, score = halve(900, seed=1)
    before = conformal_widths(known, test, (own, other), learn, **OPTIONS)
    observed = known.observed.copy()
    observed[score] += 100.0 * rng.normal(size=(len(score), 2))
    changed = Predicted(known.row_id, observed, known.predicted, known.snr)
    for found, expected in zip(
        conformal_widths(changed, test, (own, other), learn, **OPTIONS), before, strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    # And it can fail: rows that are learnt from do change them.
    observed[learn] += 100.0
    assert (conformal_widths(changed, test, (own, other), learn, **OPTIONS)[1] != before[1]).all()


def test_too_few_rows_for_a_recalibration_are_scored_without():
    rng = np.random.default_rng(4)
    (known, own), (test, other) = rows(120, rng), rows(50, rng)
    found = conformal_widths(known, test, (own, other), np.arange(60), **OPTIONS)
    assert all(np.isfinite(width).all() and (width > 0).all() for width in found)


@pytest.mark.parametrize("shrink", [1.0, 0.3])
def test_split_conformal_covers_what_it_guarantees(shrink):
    """Over calibration sets and test rows: 1 - α to 1 - α + 1/(n + 1).

    Of any widths: also where the rows that they are learnt from have smaller errors than others,
    which would not do if these rows were scored.
    """
    rng = np.random.default_rng(5)
    shares = {"coverage_68": [], "coverage_95": []}
    for repeat in range(60):
        (known, own), (test, other) = rows(300, rng), rows(200, rng)
        learn, _ = halve(300, seed=repeat)
        known.predicted[learn] = known.observed[learn] + shrink * known.errors[learn]
        table = split_conformal_table(
            known, test, (own, other), **OPTIONS, names=NAMES, snr_bins=[20, 300], seed=repeat
        )
        assert set(table["method"]) == {SPLIT_CONFORMAL}
        for statistic, found in shares.items():
            chosen = table.query("snr == 'all' and statistic == @statistic")
            found.append(chosen["value"].mean())
            level = float(statistic.removeprefix("coverage_")) / 100
            assert chosen["guarantee"].tolist() == [level, level]
    for statistic, found in shares.items():
        level = float(statistic.removeprefix("coverage_")) / 100
        error = np.std(found) / np.sqrt(len(found))
        assert level - 4 * error < np.mean(found) < level + 1 / 151 + 4 * error


def test_the_scale_of_a_fold_is_learnt_from_the_others():
    rng = np.random.default_rng(6)
    m, folds = 900, 3
    snr = np.exp(rng.uniform(np.log(20), np.log(300), m))
    out_of_fold, fold_of_row = rng.normal(size=(m, 2)), np.arange(m) % folds
    observed = out_of_fold + rng.normal(size=(m, 2)) / snr[:, None]
    found = StackFolds(np.arange(m), fold_of_row, out_of_fold, np.zeros((folds, 40, 2)))
    at = np.linspace(20, 300, 40)
    of_row, of_test = scales_by_fold(found, observed, found.test, snr, at)
    assert of_row.shape == (m, 2) and of_test.shape == (folds, 40, 2)
    # A factor 15 between the ends, and 6 between the middles of the outermost leaves.
    assert 3 < of_test[:, 0].mean() / of_test[:, -1].mean() < 20
    observed[fold_of_row == 1] += 50.0
    again, others = scales_by_fold(found, observed, found.test, snr, at)
    np.testing.assert_array_equal(again[fold_of_row == 1], of_row[fold_of_row == 1])
    np.testing.assert_array_equal(others[1], of_test[1])
    assert (others[0] != of_test[0]).all()
