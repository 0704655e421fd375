"""Conformal intervals: by hand, and their promise over thousands of small problems."""

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.uncertainty.conformal import (
    conformal_quantile,
    cv_plus_guarantee,
    cv_plus_intervals,
    split_conformal_intervals,
)

REPEATS = 3000


def test_split_conformal_covers_as_promised():
    """Errors of any law: exactly ⌈(1 - α)(n + 1)⌉ / (n + 1) of new rows are covered."""
    rng = np.random.default_rng(0)
    n, alpha, covered = 19, 0.2, []
    for _ in range(REPEATS):
        scores = np.abs(rng.standard_cauchy(n))
        lower, upper = split_conformal_intervals(scores, np.zeros(1), alpha=alpha)
        covered.append(lower[0] <= rng.standard_cauchy() <= upper[0])
    assert np.mean(covered) == pytest.approx(0.8, abs=4 * np.sqrt(0.16 / REPEATS))


def test_split_conformal_intervals_grow_with_the_predicted_error():
    lower, upper = split_conformal_intervals(
        np.arange(1.0, 10.0), np.array([0.0, 10.0]), np.array([1.0, 3.0]), alpha=0.1
    )
    assert lower.tolist() == [-9, -17] and upper.tolist() == [9, 37]
    assert conformal_quantile(np.arange(1.0, 10.0), 0.05) == np.inf


def cv_plus_problem(rng, n_folds, n=24, heteroscedastic=True):
    """Least squares through the origin of few rows, each fold predicted by the others."""
    x, new = rng.normal(size=n), rng.normal(size=4)
    sigma, new_sigma = (
        np.exp(0.7 * each) if heteroscedastic else 1 + 0 * each for each in (x, new)
    )
    y = 2 * x + sigma * rng.standard_t(3, n)
    new_y = 2 * new + new_sigma * rng.standard_t(3, 4)
    folds = rng.permutation(np.arange(n) % n_folds)
    slopes = np.array([(x @ (y * (folds != k))) / (x @ (x * (folds != k))) for k in range(n_folds)])
    return y - slopes[folds] * x, folds, slopes[:, None] * new, sigma, new_sigma, new_y


@pytest.mark.parametrize("n_folds", [3, 24])
@pytest.mark.parametrize("normalised", [False, True])
def test_cv_plus_covers_as_promised(n_folds, normalised):
    rng = np.random.default_rng(n_folds)
    alpha, covered = 0.1, []
    for _ in range(2000):
        residuals, folds, by_fold, sigma, new_sigma, y = cv_plus_problem(rng, n_folds)
        own = {"sigma_of_row": sigma, "sigma_by_fold": np.tile(new_sigma, (n_folds, 1))}
        scale = own if normalised else {}
        lower, upper = cv_plus_intervals(residuals, folds, by_fold, alpha=alpha, **scale)
        covered.append(np.mean((lower <= y) & (y <= upper)))
    error = np.std(covered) / np.sqrt(len(covered))
    assert np.mean(covered) > cv_plus_guarantee(24, n_folds, alpha) - 4 * error
    assert np.mean(covered) > 1 - alpha - 0.02 - 4 * error  # typical, better than promised
    assert np.mean(covered) < 0.99


def test_normalised_intervals_follow_the_scatter():
    """Without σ, rows of small scatter are covered too often and those of large too rarely."""
    rng = np.random.default_rng(5)
    residuals, folds, by_fold, sigma, new_sigma, y = cv_plus_problem(rng, 3, n=3000)
    x = rng.normal(size=3000)
    new_sigma = np.exp(0.7 * x)
    y = new_sigma * rng.standard_t(3, 3000)
    by_fold = np.zeros((3, 3000))
    bare = cv_plus_intervals(residuals, folds, by_fold, alpha=0.1)
    own = cv_plus_intervals(
        residuals,
        folds,
        by_fold,
        alpha=0.1,
        sigma_of_row=sigma,
        sigma_by_fold=np.tile(new_sigma, (3, 1)),
    )
    large = x > 1
    assert np.mean((bare[0] <= y) & (y <= bare[1]), where=large) < 0.8
    assert np.mean((own[0] <= y) & (y <= own[1]), where=large) == pytest.approx(0.9, abs=0.07)


def test_cv_plus_by_hand():
    """Both ends as Barber et al. 2021 define them, with a sort instead of a partition."""
    rng = np.random.default_rng(7)
    residuals, folds, by_fold, *_ = cv_plus_problem(rng, 4)
    lower, upper = cv_plus_intervals(residuals, folds, by_fold, alpha=0.2)
    size = np.abs(residuals)
    for row in range(by_fold.shape[1]):
        low = np.sort(by_fold[folds, row] - size)[int(np.floor(0.2 * 25)) - 1]
        high = np.sort(by_fold[folds, row] + size)[int(np.ceil(0.8 * 25)) - 1]
        assert (lower[row], upper[row]) == (low, high)


def test_each_fold_has_a_scale_of_its_own():
    """By hand: a score counts in the units of the model that did not see its row."""
    rng = np.random.default_rng(8)
    residuals, folds, by_fold, *_ = cv_plus_problem(rng, 3)
    of_row, of_new = rng.uniform(0.5, 2, 24), rng.uniform(0.5, 2, by_fold.shape)
    lower, upper = cv_plus_intervals(
        residuals, folds, by_fold, alpha=0.2, sigma_of_row=of_row, sigma_by_fold=of_new
    )
    for row in range(by_fold.shape[1]):
        reach = np.abs(residuals) / of_row * of_new[folds, row]
        assert lower[row] == np.sort(by_fold[folds, row] - reach)[int(np.floor(0.2 * 25)) - 1]
        assert upper[row] == np.sort(by_fold[folds, row] + reach)[int(np.ceil(0.8 * 25)) - 1]


@pytest.mark.parametrize("n_folds", [3, 8])
def test_the_guarantee_holds_with_scales_that_the_folds_learnt(n_folds):
    """Scales from very few rows, as bad as can be: more than promised is still covered."""
    rng = np.random.default_rng(20 + n_folds)
    n, alpha, covered = 24, 0.2, []
    for _ in range(1500):
        x, y = rng.normal(size=(2, n)), rng.standard_t(3, n)
        new_x, new_y = rng.normal(size=2), rng.standard_t(3)
        folds = rng.permutation(np.arange(n) % n_folds)
        residuals, of_row = np.empty(n), np.empty(n)
        centre, of_new = np.empty((n_folds, 1)), np.empty((n_folds, 1))
        for k in range(n_folds):
            own = folds == k
            mean = y[~own].mean()
            nearest = np.argsort(np.abs(x[0, ~own] - x[0, own][:, None]), axis=1)[:, 0]
            residuals[own] = y[own] - mean
            of_row[own] = np.abs(y[~own] - mean)[nearest] + 0.01
            at = np.argmin(np.abs(x[0, ~own] - new_x[0]))
            centre[k], of_new[k] = mean, np.abs(y[~own] - mean)[at] + 0.01
        scales = {"sigma_of_row": of_row, "sigma_by_fold": of_new}
        lower, upper = cv_plus_intervals(residuals, folds, centre, alpha=alpha, **scales)
        covered.append(lower[0] <= new_y <= upper[0])
    error = np.std(covered) / np.sqrt(len(covered))
    assert np.mean(covered) > cv_plus_guarantee(n, n_folds, alpha) - 4 * error
    assert np.mean(covered) > 1 - alpha - 0.05 - 4 * error


def test_too_few_rows_promise_nothing():
    lower, upper = cv_plus_intervals(np.ones(3), np.arange(3), np.zeros((3, 2)), alpha=0.1)
    assert (lower == -np.inf).all() and (upper == np.inf).all()


def test_the_guarantee():
    assert cv_plus_guarantee(50, 50, 0.1) == pytest.approx(0.8)
    assert cv_plus_guarantee(6600, 3, 0.6) == 0
    for n, k in ((100, 5), (1000, 10), (6600, 3)):
        assert 1 - 0.2 - np.sqrt(2 / n) <= cv_plus_guarantee(n, k, 0.1) < 0.8


def test_what_is_refused():
    with pytest.raises(InputError, match="alpha: is 1;"):
        conformal_quantile(np.ones(3), 1.0)
    with pytest.raises(InputError, match="give both or neither"):
        cv_plus_intervals(
            np.ones(3), np.zeros(3, int), np.zeros((1, 1)), alpha=0.5, sigma_of_row=np.ones(3)
        )
    with pytest.raises(InputError, match="below the 2 models"):
        cv_plus_intervals(np.ones(3), np.arange(3), np.zeros((2, 1)), alpha=0.5)


def test_the_guarantee_with_nearly_as_many_folds_as_rows():
    """The other branch of the minimum: (1 - K/n) / (K + 1) of 50 folds of two rows."""
    assert cv_plus_guarantee(100, 50, 0.1) == pytest.approx(0.8 - 0.5 / 51, abs=1e-12)
    assert cv_plus_guarantee(100, 20, 0.1) == pytest.approx(0.8 - 0.8 / 21, abs=1e-12)
    assert cv_plus_guarantee(100, 5, 0.1) == pytest.approx(0.8 - 1.6 / 21, abs=1e-12)


def test_scores_that_are_not_numbers_are_refused():
    """NaN sorts as the largest score, and would only widen or not widen an interval."""
    scores = np.r_[np.nan, np.arange(1.0, 12.0)]
    with pytest.raises(InputError, match="scores: 1 of 12 are NaN"):
        conformal_quantile(scores, 0.1)
    with pytest.raises(InputError, match="scores: 1 of 12 are NaN"):
        cv_plus_intervals(scores, np.zeros(12, int), np.zeros((1, 1)), alpha=0.1)
    with pytest.raises(InputError, match="sigma_of_row: nan in 12 of 12"):
        cv_plus_intervals(
            np.zeros(12),
            np.zeros(12, int),
            np.zeros((1, 1)),
            alpha=0.1,
            sigma_of_row=np.full(12, np.nan),
            sigma_by_fold=np.ones((1, 1)),
        )
    # An infinite error is one that no finite interval holds.
    assert conformal_quantile(np.r_[np.inf, np.ones(18)], 0.1) == 1


@pytest.mark.parametrize(("bad", "shown"), [(-1.0, "-1"), (np.nan, "nan"), (0.0, "0")])
def test_predicted_errors_that_are_not_above_zero_are_refused(bad, shown):
    """A negative one turned the interval around, and NaN is an end that holds nothing."""
    sigma = np.array([1.0, bad])
    with pytest.raises(InputError, match=f"^sigma: {shown} in 1 of 2 predictions; expected"):
        split_conformal_intervals(np.arange(1.0, 20.0), np.zeros(2), sigma, alpha=0.1)
    for name in ("sigma_of_row", "sigma_by_fold"):
        given = {"sigma_of_row": np.ones(2), "sigma_by_fold": np.ones((1, 2))}
        given[name] = sigma.reshape(given[name].shape)
        with pytest.raises(InputError, match=f"^{name}: {shown} in 1 of 2 predictions"):
            cv_plus_intervals(np.ones(2), np.zeros(2, int), np.zeros((1, 2)), alpha=0.5, **given)


def test_negative_scores_are_refused():
    """Their interval would end before it begins."""
    with pytest.raises(InputError, match="scores: 2 of 12 are negative, the least -3; expected"):
        split_conformal_intervals(np.r_[-3.0, -1.0, np.ones(10)], np.zeros(2), alpha=0.1)


@pytest.mark.parametrize("length", [1, 3])
def test_errors_and_predictions_belong_together(length):
    scores, residuals, folds = np.arange(1.0, 20.0), np.ones(19), np.zeros(19, int)
    words = rf"has shape \({length},\); expected \(2,\), one error for each prediction"
    with pytest.raises(InputError, match=f"^sigma: {words}"):
        split_conformal_intervals(scores, np.zeros(2), np.ones(length), alpha=0.1)
    both = {"sigma_of_row": np.ones(19), "sigma_by_fold": np.ones((1, 2))}
    for name, wrong in (
        ("sigma_of_row", np.ones(length)),
        ("sigma_by_fold", np.ones((1, length))),
        ("sigma_by_fold", np.ones(2)),
    ):
        with pytest.raises(InputError, match=f"^{name}: (has shape|expected numbers of shape)"):
            cv_plus_intervals(residuals, folds, np.zeros((1, 2)), alpha=0.1, **both | {name: wrong})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"alpha": "a"}, "alpha: is a; expected more than 0"),
        ({"alpha": np.nan}, "alpha: is nan; expected more than 0"),
        ({"residuals": ["a"] * 3}, r"residuals: expected numbers of shape \(n,\), got others"),
        ({"residuals": np.ones((3, 2))}, r"residuals: .*got shape \(3, 2\); of several labels"),
        ({"predicted_by_fold": np.zeros(2)}, r"predicted_by_fold: expected .*\(folds, n\), got"),
        ({"fold_of_row": [0, 1, 0.5]}, "of which one is 0.5; expected one each, a whole number"),
        ({"fold_of_row": [0, -1, 0]}, "of which one is -1; expected one each, a whole number"),
        ({"fold_of_row": []}, "3 residuals have 0 folds; expected one each"),
    ],
)
def test_what_is_no_number_or_fold_is_refused(change, message):
    given = {
        "residuals": np.ones(3),
        "fold_of_row": [0, 1, 0],
        "predicted_by_fold": np.zeros((2, 4)),
        "alpha": 0.5,
    }
    assert cv_plus_intervals(**given)[0].tolist() == [-1, -1, -1, -1]
    with pytest.raises(InputError, match=message):
        cv_plus_intervals(**given | change)
