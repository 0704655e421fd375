"""Tables for CSV files: one row per record, probe or prediction, and what they hold."""

import io

import numpy as np
import pandas as pd
import pytest
from scipy.sparse.linalg import aslinearoperator
from scipy.stats import ortho_group

from starstack.curvature.lanczos import largest_eigenpairs
from starstack.curvature.record import CurvatureRecord
from starstack.curvature.spectrum import (
    lanczos_quadrature,
    spectral_density,
    trace_and_diagonal,
)
from starstack.curvature.summary import (
    density_table,
    record_table,
    spectrum_table,
    structure_table,
)
from starstack.errors import InputError

ROTATION = ortho_group.rvs(30, random_state=0)
OPERATOR = aslinearoperator(ROTATION * np.linspace(-1, 4, 30) @ ROTATION.T)


class Known:
    """A posterior whose predictive covariance is given."""

    def __init__(self, *variances):
        self.variances = np.array(variances, float)

    def predictive_covariance(self, x):
        return np.stack([np.diag(row * self.variances) for row in x])


def test_records():
    full = CurvatureRecord(
        "hessian",
        "exact",
        n_rows=9,
        prior_precision={"a": 3.0, "b": 1.0},
        shift=0.5,
        lambda_max=7.0,
        lambda_min=-0.4,
        indefinite=True,
        gradient_norm=0.1,
        expected_decrease=0.02,
        proofs={"symmetry_error": 1e-16, "difference_error": 1e-9, "dtype": "float64"},
        seconds=2.0,
        peak_memory=2**31,
    )
    table = record_table([full, CurvatureRecord("gauss_newton", "kfac", 9, 2.0)])
    assert table["structure"].tolist() == ["exact", "kfac"]
    first = table.iloc[0]
    assert (first["smallest_prior_precision"], first["largest_prior_precision"]) == (1, 3)
    assert (first["shift"], first["indefinite"], first["finite_difference_error"]) == (
        0.5,
        True,
        1e-9,
    )
    assert first["peak_memory_gibibytes"] == 2
    read = pd.read_csv(io.StringIO(table.to_csv(index=False)))
    assert np.isnan(read.loc[1, "largest_eigenvalue"])
    assert read.loc[0, "smallest_eigenvalue"] == -0.4


def test_density_of_the_mean_and_of_each_probe():
    density = spectral_density(lanczos_quadrature(OPERATOR, n_steps=20, n_probes=3))
    table = density_table(density, 30)
    assert list(dict.fromkeys(table["probe"])) == ["mean", "1", "2", "3"]
    means = table.pivot(index="eigenvalue", columns="probe", values="density")
    np.testing.assert_allclose(means["mean"], means[["1", "2", "3"]].mean(axis=1))
    assert table["standard_error"].notna().sum() == len(density.eigenvalue)
    assert (table["number_of_weights"] == 30).all()


def test_eigenvalues_and_estimates():
    pairs = largest_eigenpairs(OPERATOR, 3)
    trace, _ = trace_and_diagonal(OPERATOR, 5)
    table = spectrum_table(pairs, {"trace": trace})
    assert table["quantity"].tolist() == ["eigenvalue"] * 3 + ["trace"]
    assert table["order"].tolist() == [1, 2, 3, 0]
    assert table["value"][0] == pytest.approx(4)
    assert table["standard_error"][3] == trace.standard_error


def test_structures_stand_beside_the_exact_one():
    x = np.array([1.0, 4.0])
    posteriors = {"exact": Known(4, 9), "kfac": Known(16, 9)}
    table = structure_table(posteriors, x, ["teff", "logg"])
    assert set(table["structure"]) == {"kfac"}
    teff = table[table["output"] == "teff"]
    assert teff["exact_standard_deviation"].tolist() == [2, 4]
    assert teff["standard_deviation"].tolist() == [4, 8]
    assert table[table["output"] == "logg"]["row"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("posteriors", "outputs", "message"),
    [
        ({"kfac": Known(1.0)}, ["a"], "expected 'exact' among kfac"),
        ({"exact": Known(1.0)}, ["a", "b"], "2 names of outputs for 1 outputs"),
    ],
)
def test_refusals_say_what_to_do(posteriors, outputs, message):
    with pytest.raises(InputError, match=message):
        structure_table(posteriors, np.ones(2), outputs)
