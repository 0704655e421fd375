"""The error budget: sums, correlations, one line per label, and files that give it back."""

import h5py
import numpy as np
import pytest

from starstack.errors import InputError
from starstack.uncertainty.budget import ErrorBudget, load_budget


def make(n=4, seed=0):
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(3, n, 2, 2))
    noise, weights, intrinsic = roots @ roots.swapaxes(-1, -2)
    rows = np.array([f"star-{i}é" for i in range(n)])
    return ErrorBudget(rows, ("teff", "logg"), ("K", ""), noise, weights, intrinsic, {"seed": "1"})


def test_the_total_is_the_sum_of_the_covariances():
    budget = make()
    np.testing.assert_allclose(budget.total, budget.noise + budget.weights + budget.intrinsic)
    squares = sum(budget.standard_deviations(p) ** 2 for p in ("noise", "weights", "intrinsic"))
    np.testing.assert_allclose(budget.standard_deviations(), np.sqrt(squares))
    found = budget.correlations()
    np.testing.assert_allclose(np.diagonal(found, axis1=1, axis2=2), 1)
    expected = budget.total[2, 0, 1] / np.sqrt(budget.total[2, 0, 0] * budget.total[2, 1, 1])
    assert found[2, 0, 1] == pytest.approx(expected)


def test_table():
    budget = make()
    table = budget.to_table()
    assert table["row_id"].tolist()[:3] == ["star-0é", "star-0é", "star-1é"]
    assert table["output"].tolist()[:2] == ["teff", "logg"] and table["unit"][0] == "K"
    assert table["noise"][3] == pytest.approx(np.sqrt(budget.noise[1, 1, 1]))
    assert table["correlation_teff"][5] == pytest.approx(budget.correlations()[2, 1, 0])


def test_a_file_gives_the_budget_back(tmp_path):
    budget = make()
    budget.save(tmp_path / "a.h5")
    found = load_budget(tmp_path / "a.h5")
    for name in ("noise", "weights", "intrinsic", "row_id"):
        np.testing.assert_array_equal(getattr(found, name), getattr(budget, name))
    assert (found.names, found.units, found.provenance) == (
        ("teff", "logg"),
        ("K", ""),
        {"seed": "1"},
    )
    budget.save(tmp_path / "b.h5")
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_files_that_hold_something_else(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_budget(tmp_path / "none.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match="holds no error budget"):
        load_budget(tmp_path / "other.h5")
    (tmp_path / "cut.h5").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match="cannot be read"):
        load_budget(tmp_path / "cut.h5")


def test_parts_that_cannot_be_covariances():
    good = make()
    broken = good.noise.copy()
    broken[2, 0, 0] = -1
    with pytest.raises(InputError, match="noise of row 'star-2é' has variances"):
        ErrorBudget(good.row_id, good.names, good.units, broken, good.weights, good.intrinsic)
    with pytest.raises(InputError, match=r"weights has shape .* expected \(4, 2, 2\)"):
        ErrorBudget(good.row_id, good.names, good.units, good.noise, broken[:3], good.intrinsic)
    with pytest.raises(InputError, match="give one each"):
        ErrorBudget(good.row_id, good.names, ("K",), good.noise, good.noise, good.noise)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ([[1, 2], [2, 1]], "has a correlation matrix with the eigenvalue -1; expected none below"),
        ([[1, 0.5], [0.2, 1]], r"has covariances 0.5 at \[0, 1\] and 0.2 at \[1, 0\]; expected"),
        ([[1, 0.5], [np.nan, 1]], r"has covariances nan at \[1, 0\] and 0.5 at \[0, 1\]; expected"),
    ],
)
@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_matrix_that_is_no_covariance_is_named(part, matrix, words):
    good = make()
    parts = [np.zeros((4, 2, 2)) for _ in range(3)]
    parts[part][2] = matrix
    # A part that counts for a ten-thousandth of the variance of the total is judged as well.
    parts[part - 1][:] = 1e4 * np.eye(2)
    name = ("noise", "weights", "intrinsic")[part]
    with pytest.raises(
        InputError, match=f"^error budget: {name} of row 'star-2é' {words}"
    ) as found:
        ErrorBudget(good.row_id, good.names, good.units, *parts)
    assert "\n" not in str(found.value)


def test_the_rounding_of_a_part_that_is_zero_is_no_mistake():
    """What is left of a covariance that is zero has a correlation of its own, and means nothing."""
    good = make()
    rounding = np.broadcast_to([[1e-17, 3e-17], [-2e-17, 1e-18]], (4, 2, 2))
    ErrorBudget(good.row_id, good.names, good.units, good.noise, rounding, good.intrinsic)


def test_a_file_in_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match=r"expected a folder that is there, got .*none; make it"):
        make().save(tmp_path / "none" / "a.h5")


@pytest.mark.parametrize("part", [0, 1, 2])
@pytest.mark.parametrize(
    "matrix", [[[-1e-9, 0], [0, 1e-9]], [[1e-9, 3e-9], [-2e-9, 1e-9]], [[1e-9, 3e-9], [3e-9, 1e-9]]]
)
def test_all_that_rounding_leaves_of_a_part_is_treated_alike(part, matrix):
    """A negative variance, a skew matrix and a negative eigenvalue of the same size."""
    good, parts = make(), [np.zeros((4, 2, 2)) for _ in range(3)]
    parts[part][1] = matrix
    parts[part - 1][:] = np.eye(2)
    budget = ErrorBudget(good.row_id, good.names, good.units, *parts)
    for name in ("noise", "weights", "intrinsic", "total"):
        assert (budget.standard_deviations(name) >= 0).all()
    parts[part][1] = 1e5 * np.array(matrix)
    with pytest.raises(InputError, match="row 'star-1é' has"):
        ErrorBudget(good.row_id, good.names, good.units, *parts)


def test_lists_are_taken_and_what_is_no_real_number_is_refused():
    good = make()
    parts = {name: getattr(good, name).tolist() for name in ("noise", "weights", "intrinsic")}
    names = {"row_id": good.row_id.tolist(), "names": ["teff", "logg"], "units": ["K", ""]}
    found = ErrorBudget(**names, **parts)
    np.testing.assert_array_equal(found.total, good.total)
    assert found.to_table().equals(good.to_table())
    whole = np.stack([np.eye(2, dtype=int)] * 4)
    assert (
        ErrorBudget(**names, **parts | {"noise": whole}).standard_deviations("noise") == 1
    ).all()
    single = good.noise.astype(np.float32)
    assert ErrorBudget(**names, **parts | {"noise": single}).noise is single
    for wrong, kind in (
        (good.noise + 0j, "complex128"),
        (good.noise.astype(str), "<U"),
        ([[[1.0]], [[1.0, 2.0]]], "lists of unequal lengths"),
        (None, "object"),
    ):
        for part in parts:
            with pytest.raises(InputError, match=f"{part}: expected real numbers .*, got {kind}"):
                ErrorBudget(**names, **parts | {part: wrong})


@pytest.mark.parametrize("call", ["standard_deviations", "correlations"])
def test_parts_have_names(call):
    with pytest.raises(InputError, match="part is 'weight'; expected one of noise, weights"):
        getattr(make(), call)("weight")
