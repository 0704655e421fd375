"""Errors over the bound: known ratios, and standard errors that repetitions show."""

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.uncertainty.efficiency import efficiency_table


def drawn(n=400, seed=0):
    rng = np.random.default_rng(seed)
    bound = rng.uniform(1, 4, n)
    errors = 2 * np.sqrt(bound) * rng.normal(size=n)
    return errors[:, None], bound[:, None, None], rng.uniform(20, 300, n)


def ratio(seed):
    table = efficiency_table(*drawn(seed=seed)[:2], ["a"]).set_index("statistic")
    return table.loc["error_over_bound", ["value", "standard_error"]]


def test_the_ratio_and_its_standard_error():
    runs = np.array([ratio(seed) for seed in range(300)], dtype=float)
    assert runs[:, 0].mean() == pytest.approx(2, abs=4 * runs[:, 0].std() / np.sqrt(300) + 0.005)
    assert runs[:, 1].mean() == pytest.approx(runs[:, 0].std(), rel=0.15)


def test_bins_and_noise():
    errors, bound, snr = drawn()
    table = efficiency_table(
        errors, bound, ["a"], snr=snr, snr_bins=[20, 100, 300], predicted=2.25 * bound
    )
    assert table["snr"].unique().tolist() == ["all", "20-100", "100-300"]
    noise = table[table["statistic"] == "noise_over_bound"]
    np.testing.assert_allclose(noise["value"], 1.5)
    np.testing.assert_allclose(noise["standard_error"], 0, atol=1e-12)
    part = table.query("snr == '20-100' and statistic == 'rms_error'")
    expected = np.sqrt(np.mean(errors[snr < 100] ** 2))
    assert part["value"].item() == pytest.approx(expected)


def test_shapes():
    errors, bound, _ = drawn()
    with pytest.raises(InputError, match="expected"):
        efficiency_table(errors, bound[:3], ["a"])
