import numpy as np
import pandas as pd
import pytest
from scipy import stats

from starstack.metrics.errors import COLUMNS, STATISTICS, error_statistics, error_table

EDGES = [20, 50, 100, 300]


def table_of(errors, snr, **options):
    n = len(errors)
    ids = [f"r{i}" for i in range(n)]
    predictions = pd.DataFrame(
        {
            "study": "s",
            "estimator": "net",
            "role": "network",
            "row_id": ids,
            "output": "teff",
            "observed": np.full(n, 5000.0),
            "predicted": 5000.0 + np.asarray(errors),
        }
    )
    return error_table(predictions, dict(zip(ids, snr, strict=True)), EDGES, **options)


def test_values_are_those_of_numpy_and_scipy():
    errors = np.random.default_rng(1).gamma(2.0, 3.0, 501)
    found = error_statistics(errors)
    assert found["median"][0] == np.median(errors)
    expected = stats.median_abs_deviation(errors, scale="normal")
    assert found["mad_scatter"][0] == pytest.approx(expected, rel=1e-9)
    assert found["standard_deviation"][0] == pytest.approx(errors.std(ddof=1), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        *((name, draw) for name in STATISTICS for draw in ("standard_normal", "laplace")),
        # A Cauchy variable has no standard deviation.
        *((name, "standard_cauchy") for name in ("median", "mad_scatter")),
    ],
)
def test_standard_errors_are_the_spread_over_repetitions(name, draw):
    rng = np.random.default_rng(2)
    found = [error_statistics(getattr(rng, draw)(size=400))[name] for _ in range(1500)]
    values, errors = np.array(found).T
    # The spread over 1500 repetitions is known to 1/sqrt(3000) = 2 %.
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(values.std(), rel=0.1)


def test_standard_error_of_a_gaussian_median():
    rng = np.random.default_rng(3)
    errors = [error_statistics(rng.standard_normal(1000))["median"][1] for _ in range(400)]
    assert np.mean(errors) == pytest.approx(np.sqrt(np.pi / 2 / 1000), rel=0.03)


@pytest.mark.parametrize("name", STATISTICS)
def test_rows_of_a_group_count_once(name):
    rng = np.random.default_rng(4)
    star = np.repeat(np.arange(300), 4)
    found = []
    for _ in range(300):
        single = rng.standard_normal(300)
        errors = np.repeat(single, 4)
        pair = error_statistics(single), error_statistics(errors, star)
        found.append([each[name][1] for each in pair])
    alone, together = np.mean(found, axis=0)
    assert together == pytest.approx(alone, rel=0.05)


def test_bins_hold_their_lower_edge_and_the_last_one_both():
    table = table_of([1, 2, 3, 4, 5, 6], [20, 50, 99.9, 100, 300, 300.1])
    counts = table[table["statistic"] == "median"].set_index("snr")["n"].to_dict()
    assert counts == {"all": 6, "20-50": 1, "50-100": 2, "100-300": 2}


def test_rows_without_a_ratio_count_under_all_only():
    table = table_of([1.0, 2.0], [np.nan, 30.0])
    counts = table[table["statistic"] == "median"].set_index("snr")["n"].to_dict()
    assert counts == {"all": 2, "20-50": 1}


def test_statistics_are_of_the_rows_of_the_bin():
    rng = np.random.default_rng(5)
    snr = rng.uniform(20, 300, 600)
    errors = 5 + rng.standard_normal(600) * 1000 / snr
    table = table_of(errors, snr)
    inside = (snr >= 50) & (snr < 100)
    row = table[(table["snr"] == "50-100") & (table["statistic"] == "standard_deviation")]
    assert row["value"].item() == pytest.approx(errors[inside].std(ddof=1))
    assert row["n"].item() == inside.sum()


def test_perfect_predictions_have_no_error():
    assert error_statistics(np.zeros(10)) == {name: (0.0, 0.0) for name in STATISTICS}


def test_few_rows_have_a_value_and_no_standard_error():
    value, error = error_statistics(np.array([1.0, 2.0]))["median"]
    assert value == 1.5
    assert np.isnan(error)


def test_no_predictions_give_an_empty_table_with_columns():
    table = error_table(table_of([1.0], [30.0]).iloc[:0].assign(row_id=""), {}, EDGES)
    assert list(table.columns) == ["study", *COLUMNS]
    assert table.empty
