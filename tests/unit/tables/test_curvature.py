import pandas as pd
import pytest

from starstack.errors import InputError
from starstack.tables.curvature import curvature_table

EIGENVALUES = pd.DataFrame(
    [
        ("dense", "eigenvalue", 1, 12345.0, 0.1),
        ("dense", "eigenvalue", 2, 100.0, 0.1),
        ("dense", "trace", 0, 54321.0, 123.0),
        ("dense", "smallest_node", 0, -12.5, float("nan")),
        ("other", "eigenvalue", 1, 1.0, 0.1),
    ],
    columns=["network", "quantity", "order", "value", "standard_error"],
)
RECORD = {
    "network": "dense",
    "structure": "last_layer",
    "matrix": "gauss_newton",
    "n_rows": 100,
    "shift": 0.0,
    "prior_precision": {"a": 10.0, "b": 0.1},
    "gradient_norm": 12.34567,
    "expected_decrease": None,
    "held_out_log_likelihood": -0.25,
    "seconds": 1.0,
}


def test_each_structure_stands_with_the_hessian_of_its_own_network():
    table = curvature_table(
        [RECORD, RECORD | {"network": "other", "prior_precision": 2.0}], EIGENVALUES
    )
    row = table.loc[("dense", "last layer", 100)]
    assert row["Prior precision"] == "0.1 to 10"
    assert row["Gradient norm"] == "12.3"
    assert row["Expected decrease (nats)"] is None
    assert row["Held-out log likelihood"] == "−0.25"
    assert row["Largest λ"] == "1.23e+04"
    assert row["Smallest λ seen"] == "−12.5"
    assert row["Indefinite"] == "yes"
    assert str(row["Trace"]) == "54320 ± 120"
    other = table.loc[("other", "last layer", 100)]
    assert other["Largest λ"] == "1"
    assert other["Trace"] is None
    assert other["Prior precision"] == "2"
    assert other["Indefinite"] is None


def test_the_record_says_what_the_spectrum_does_not():
    own = {"network": "third", "lambda_max": 20.0, "lambda_min": -3.0, "indefinite": True}
    row = curvature_table([RECORD | own], EIGENVALUES).iloc[0]
    assert tuple(row[["Largest λ", "Smallest λ seen", "Indefinite"]]) == ("20", "−3", "yes")
    own |= {"lambda_min": 0.0, "indefinite": False}
    row = curvature_table([RECORD | own], EIGENVALUES).iloc[0]
    assert row["Indefinite"] == "no"


def test_where_the_prior_precision_comes_from_is_said():
    """An end of the grid, where a better one may lie beyond, and another structure."""
    chosen = {"prior_precision": 1e8, "prior_precision_chosen_by": "last_layer"}

    def row(**stated):
        return curvature_table([RECORD | chosen | stated], EIGENVALUES).iloc[0]

    assert row(prior_precision_at_edge=False)["Prior precision"] == "1e+08"
    assert row(prior_precision_at_edge=True)["Prior precision"] == "1e+08, end of grid"
    other = row(prior_precision_at_edge=True, prior_precision_chosen_by="low_rank")
    assert other["Prior precision"] == "1e+08, by low rank, end of grid"
    # Scored were the error bars of the other one.
    assert other["Held-out log likelihood"] is None
    assert row(prior_precision_at_edge=True)["Held-out log likelihood"] == "−0.25"


def test_no_record_is_refused():
    with pytest.raises(InputError, match="there is no record"):
        curvature_table([], EIGENVALUES)
