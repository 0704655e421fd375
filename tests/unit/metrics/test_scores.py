"""Values against scikit-learn; standard errors against derivatives, simulation and resampling."""

import numpy as np
import pytest
from sklearn import metrics as sk

from starstack.errors import InputError
from starstack.metrics.scores import METRICS, cluster_standard_error, score, score_difference

LABELS, PROBABILITIES, VALUES = "labels", "probabilities", "values"


def simulate(metric, rng, n, classes=2, n_groups=None):
    """Observed and predicted rows, and group names; rows of a group share half their noise."""
    group = np.arange(n) if n_groups is None else np.repeat(np.arange(n_groups), n // n_groups)
    shared = rng.normal(size=group.max() + 1)[group]
    noise = np.sqrt(0.5) * (rng.normal(size=n) + shared) if n_groups else rng.normal(size=n)
    if METRICS[metric].needs == VALUES:
        y = 2 * rng.normal(size=n)
        return y, y + noise, group
    y = rng.integers(classes, size=n)
    logits = 1.5 * np.eye(classes)[y] + rng.normal(size=(n, classes)) * (not n_groups)
    logits[:, 0] += noise
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return (
        y,
        probabilities if METRICS[metric].needs == PROBABILITIES else np.argmax(logits, axis=1),
        group,
    )


ORACLES = {
    "accuracy": lambda y, p, w: sk.accuracy_score(y, p, sample_weight=w),
    "balanced_accuracy": lambda y, p, w: sk.balanced_accuracy_score(y, p, sample_weight=w),
    "log_loss": lambda y, p, w: sk.log_loss(y, p, sample_weight=w, labels=range(p.shape[1])),
    "brier": lambda y, p, w: sk.brier_score_loss(
        y, p if p.shape[1] > 2 else p[:, 1], sample_weight=w
    ),
    "roc_auc": lambda y, p, w: sk.roc_auc_score(y, p[:, 1], sample_weight=w),
    "r2": lambda y, p, w: sk.r2_score(y, p, sample_weight=w),
    "rmse": lambda y, p, w: sk.root_mean_squared_error(y, p, sample_weight=w),
    "mae": lambda y, p, w: sk.mean_absolute_error(y, p, sample_weight=w),
}
CASES = [(name, 2) for name in METRICS] + [
    (name, 3) for name in METRICS if METRICS[name].task == "classification" and name != "roc_auc"
]


def test_every_metric_has_an_oracle():
    assert set(ORACLES) == set(METRICS)
    assert all(name == metric.name for name, metric in METRICS.items())


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("metric, classes", CASES)
def test_value_equals_scikit_learn(metric, classes, weighted):
    rng = np.random.default_rng(3)
    y, predicted, _ = simulate(metric, rng, 60, classes)
    weight = rng.exponential(size=60) * (rng.random(60) > 0.1) if weighted else None
    got = score(metric, y, predicted, sample_weight=weight)
    assert got.value == pytest.approx(ORACLES[metric](y, predicted, weight), rel=1e-12)
    assert got.n == 60


def test_a_class_without_weight_has_no_recall():
    y, codes = np.array([0, 0, 1, 1, 2]), np.array([0, 1, 1, 1, 0])
    got = score("balanced_accuracy", y, codes, sample_weight=[1, 1, 1, 1, 0])
    assert got == score("balanced_accuracy", y, codes, sample_weight=[2, 2, 2, 2, 0])
    assert got.value == pytest.approx(sk.balanced_accuracy_score(y[:4], codes[:4]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_log_loss_clips_as_scikit_learn_does(dtype):
    y = np.array([0, 1, 1])
    probabilities = np.array([[1, 0], [1, 0], [0.25, 0.75]], dtype=dtype)
    expected = sk.log_loss(y, probabilities)
    assert score("log_loss", y, probabilities).value == pytest.approx(expected, rel=1e-6)
    assert expected > 5  # the second row is infinitely wrong without the clip


def test_tied_scores_count_half_in_the_roc_curve():
    y = np.array([0, 1, 0, 1])
    probabilities = np.full((4, 2), 0.5)
    assert score("roc_auc", y, probabilities).value == 0.5


@pytest.mark.parametrize("metric, classes", CASES)
def test_influence_is_the_derivative_with_respect_to_the_weights(metric, classes):
    # psi_i = n w_i dT/dw_i at weights of mean one: an exact oracle, by central differences.
    rng = np.random.default_rng(8)
    n, step = 40, 1e-5
    y, predicted, _ = simulate(metric, rng, n, classes)
    weight = rng.uniform(0.5, 1.5, size=n)
    weight *= n / weight.sum()
    value, influence = METRICS[metric].function(y, predicted, weight)
    assert influence.sum() == pytest.approx(0, abs=1e-9)
    for i in range(n):
        up, down = weight.copy(), weight.copy()
        up[i] += step
        down[i] -= step
        ends = [score(metric, y, predicted, sample_weight=w).value for w in (up, down)]
        slope = (ends[0] - ends[1]) / (2 * step)
        assert influence[i] == pytest.approx(n * weight[i] * slope, abs=1e-5 * (1 + abs(value)))


@pytest.mark.parametrize("metric", METRICS)
def test_standard_error_is_the_spread_over_simulated_data(metric):
    # 1500 data sets fix a standard deviation to 1.8 %, so 8 % is beyond four of them.
    rng = np.random.default_rng(11)
    scores = [score(metric, *simulate(metric, rng, 300)[:2]) for _ in range(1500)]
    spread = np.std([each.value for each in scores], ddof=1)
    claimed = np.sqrt(np.mean([each.standard_error**2 for each in scores]))
    assert claimed == pytest.approx(spread, rel=0.08)


@pytest.mark.parametrize("metric", METRICS)
def test_groups_are_honoured(metric):
    rng = np.random.default_rng(12)
    grouped, naive = [], []
    for _ in range(1500):
        y, predicted, group = simulate(metric, rng, 600, n_groups=60)
        grouped.append(score(metric, y, predicted, group=group))
        naive.append(score(metric, y, predicted))
    spread = np.std([each.value for each in grouped], ddof=1)
    claimed = np.sqrt(np.mean([each.standard_error**2 for each in grouped]))
    ignoring = np.sqrt(np.mean([each.standard_error**2 for each in naive]))
    assert claimed == pytest.approx(spread, rel=0.10)
    assert ignoring < 0.95 * claimed


@pytest.mark.parametrize("metric", METRICS)
def test_standard_error_equals_the_bootstrap(metric):
    rng = np.random.default_rng(13)
    n = 400
    y, predicted, _ = simulate(metric, rng, n)
    weight = rng.exponential(size=n)
    rows = rng.integers(n, size=(1500, n))
    values = [score(metric, y[r], predicted[r], sample_weight=weight[r]).value for r in rows]
    claimed = score(metric, y, predicted, sample_weight=weight).standard_error
    assert claimed == pytest.approx(np.std(values, ddof=1), rel=0.1)


def test_roc_auc_is_delongs():
    rng = np.random.default_rng(14)
    y, probabilities, _ = simulate("roc_auc", rng, 50)
    probabilities = probabilities.round(1)  # ties
    probabilities[:, 0] = 1 - probabilities[:, 1]
    p, q = probabilities[y == 1, 1], probabilities[y == 0, 1]
    wins = (p[:, None] > q) + 0.5 * (p[:, None] == q)
    variance = np.var(wins.mean(axis=1)) / len(p) + np.var(wins.mean(axis=0)) / len(q)
    got = score("roc_auc", y, probabilities)
    assert got.value == pytest.approx(wins.mean(), rel=1e-12)
    assert got.standard_error == pytest.approx(np.sqrt(variance), rel=1e-12)


def test_accuracy_has_the_binomial_standard_error():
    y = np.array([0] * 80 + [1] * 20)
    got = score("accuracy", y, np.zeros(100, dtype=int))
    assert (got.value, got.n) == (0.8, 100)
    assert got.standard_error == pytest.approx(np.sqrt(0.8 * 0.2 / 100), rel=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_repeated_rows_of_a_group_add_no_information(metric):
    y, predicted, _ = simulate(metric, np.random.default_rng(15), 30)
    once = score(metric, y, predicted)
    thrice = score(
        metric,
        np.tile(y, 3),
        np.tile(predicted, (3, 1)) if predicted.ndim == 2 else np.tile(predicted, 3),
        group=np.tile([f"star {i}" for i in range(30)], 3),
    )
    assert thrice.value == pytest.approx(once.value, rel=1e-12)
    assert thrice.standard_error == pytest.approx(once.standard_error, rel=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_only_ratios_of_weights_matter(metric):
    rng = np.random.default_rng(16)
    y, predicted, _ = simulate(metric, rng, 30)
    weight = rng.exponential(size=30)
    one = score(metric, y, predicted, sample_weight=weight)
    other = score(metric, y, predicted, sample_weight=7 * weight)
    assert other.value == pytest.approx(one.value, rel=1e-12)
    assert other.standard_error == pytest.approx(one.standard_error, rel=1e-12)


def test_one_group_leaves_the_standard_error_unknown():
    got = score("mae", [0.0, 1.0], [0.5, 1.0], group=["a", "a"])
    assert got.value == 0.25
    assert np.isnan(got.standard_error)
    assert np.isnan(cluster_standard_error(np.zeros(1)))


def test_perfect_predictions_have_no_spread():
    y = np.array([0.0, 1.0, 2.0])
    assert (score("rmse", y, y).value, score("rmse", y, y).standard_error) == (0.0, 0.0)


half = np.full((3, 2), 0.5)
REFUSED = {
    "unknown metric": ("f1", [0, 1], [0, 1], {}, "expected one of accuracy"),
    "empty": ("accuracy", [], [], {}, "at least one, got 0 and 0"),
    "lengths": ("accuracy", [0, 1, 1], [0, 1], {}, "got 2 and 3"),
    "two targets": ("rmse", np.zeros((3, 2)), np.zeros((3, 2)), {}, "one output at a time"),
    "labels for probabilities": ("log_loss", [0, 1], [0, 1], {}, r"\(n, classes\)"),
    "missing prediction": ("rmse", [0.0, 1.0], [0.0, np.nan], {}, "have no prediction"),
    "missing observation": ("mae", [np.inf, 1.0], [0.0, 1.0], {}, "observed values"),
    "strings": ("accuracy", ["a", "b"], ["a", "b"], {}, "finite numbers"),
    "fractional codes": ("accuracy", [0.5, 1.0], [0, 1], {}, "class codes"),
    "negative codes": ("accuracy", [-1, 1], [0, 1], {}, "class codes"),
    "too few columns": ("log_loss", [0, 1, 2], half, {}, "got code 2 and 2 columns"),
    "decision function": ("brier", [0, 1, 1], 3 * half, {}, "sum to one"),
    "negative probability": ("brier", [0, 1], [[1.5, -0.5], [0, 1]], {}, "from -0.5"),
    "three classes": ("roc_auc", [0, 1, 2], np.eye(3), {}, "expected 2 classes, got 3"),
    "one class": ("roc_auc", [1, 1, 1], half, {}, "one class only"),
    "constant": ("r2", [2.0, 2.0], [1.0, 2.0], {}, "got a constant"),
    "weights short": ("mae", [0.0, 1.0], [0.0, 1.0], {"sample_weight": [1.0]}, "2 finite sample"),
    "weights negative": ("mae", [0.0, 1.0], [0.0, 1.0], {"sample_weight": [-1, 2]}, "at least"),
    "weights zero": ("mae", [0.0, 1.0], [0.0, 1.0], {"sample_weight": [0, 0]}, "only zeros"),
    "groups short": ("mae", [0.0, 1.0], [0.0, 1.0], {"group": ["a"]}, "got 1 groups for 2 rows"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_bad_input_is_one_clear_line(case):
    metric, y, predicted, options, message = case
    with pytest.raises(InputError, match=message) as caught:
        score(metric, y, predicted, **options)
    assert "\n" not in str(caught.value)
    assert metric in str(caught.value)


@pytest.mark.parametrize("metric", ["accuracy", "rmse", "r2", "log_loss"])
def test_error_of_a_difference_is_that_of_many_repetitions(metric):
    """Two correlated models: the paired error holds, the quadrature of single errors does not."""
    rng = np.random.default_rng(5)
    classification = METRICS[metric].task == "classification"

    def draw():
        n = 200
        shared = rng.normal(size=n)
        scores = [shared + 0.3 * rng.normal(size=n) for _ in range(2)]
        if not classification:
            y = rng.normal(size=n)
            return y, *(y + each for each in scores)
        y = rng.integers(0, 2, n)
        p = [1 / (1 + np.exp(-(2 * y - 1) - each)) for each in scores]
        if metric == "accuracy":
            return y, *((each > 0.5).astype(int) for each in p)
        return y, *(np.column_stack([1 - each, each]) for each in p)

    found, singles = [], []
    for _ in range(1500):
        y, a, b = draw()
        found.append(score_difference(metric, y, a, b))
        singles.append(np.hypot(*(score(metric, y, each).standard_error for each in (a, b))))
    spread = np.std([each.value for each in found])
    # A standard deviation from 1500 draws is known to 2 %.
    assert np.mean([each.standard_error for each in found]) == pytest.approx(spread, rel=0.07)
    assert np.mean(singles) > 1.5 * spread


def test_difference_is_that_of_the_scores_and_respects_groups():
    y, a, b = np.array([0, 1, 1, 0, 1]), np.array([0, 1, 0, 0, 1]), np.array([1, 1, 0, 1, 1])
    paired = score_difference("accuracy", y, a, b)
    assert paired.value == pytest.approx(0.4)
    grouped = score_difference("accuracy", y, a, b, group=np.array(list("pqqpr")))
    assert grouped.standard_error > paired.standard_error
