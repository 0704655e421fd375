"""Jacobians of a data set: statistics against NumPy's, the file, and its memory."""

import logging
import subprocess
import sys

import h5py
import numpy as np
import pytest

from starstack.autodiff import jacobian_stream
from starstack.autodiff.jacobian import input_jacobian
from starstack.autodiff.jacobian_stream import read_summary, stream_input_jacobian
from starstack.errors import InputError

keras = pytest.importorskip("keras")

N, P, K = 37, 11, 2
X = np.random.default_rng(0).standard_normal((N, P)) * 3 + 1
SCALES = {"input_scale": 3.0, "target_scale": np.array([500.0, 0.2])}
PROBABILITIES = (0.16, 0.5, 0.84)


def scaled(rows):
    return (rows - 1) / 3


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(3)
    layers = [keras.layers.Dense(8, "tanh"), keras.layers.Dense(K)]
    return keras.Sequential([keras.Input((P,)), *layers])


def check(summary, jacobian):
    jacobian = jacobian.astype(np.float64)
    assert np.allclose(summary.mean, jacobian.mean(0), rtol=1e-5, atol=1e-5)
    assert np.allclose(summary.mean_absolute, np.abs(jacobian).mean(0), rtol=1e-5)
    assert np.allclose(summary.root_mean_square, np.sqrt((jacobian**2).mean(0)), rtol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 7, 256])
@pytest.mark.parametrize("stored", [False, True])
def test_statistics_are_those_of_all_jacobians(model, tmp_path, batch_size, stored):
    path = tmp_path / "jacobian.h5" if stored else None
    summary = stream_input_jacobian(
        model, X, path, transform=scaled, batch_size=batch_size, **SCALES
    )
    expected = input_jacobian(model, scaled(X), **SCALES)
    check(summary, expected)
    quantiles = np.quantile(expected, PROBABILITIES, axis=0)
    assert np.allclose(summary.quantiles, quantiles, rtol=1e-4, atol=1e-4)
    assert (summary.n_rows, summary.quantile_rows) == (N, N)


def test_the_file_holds_every_jacobian_under_its_name(model, tmp_path):
    path, rows = tmp_path / "jacobian.h5", np.arange(30, 2, -3)
    names = np.array([f"star {i}" for i in range(N)])
    with h5py.File(tmp_path / "data.h5", "w") as file:
        table = file.create_dataset("X", data=X)
        stream_input_jacobian(
            model, table, path, rows=rows, row_id=names, transform=scaled, batch_size=4, **SCALES
        )
    with h5py.File(path) as file:
        assert file["jacobian"].dtype == np.float32
        assert file["row_id"].asstr()[...].tolist() == names[rows].tolist()
        expected = input_jacobian(model, scaled(X[rows]), **SCALES)
        assert np.allclose(file["jacobian"][...], expected, rtol=1e-5, atol=1e-6)


def test_quantiles_of_the_file_are_exact_over_many_blocks(model, tmp_path, monkeypatch):
    monkeypatch.setattr(jacobian_stream, "CHUNK", (8, 1, 4))
    monkeypatch.setattr(jacobian_stream, "BLOCK_BYTES", 4 * N * 5)  # five columns, hence four
    path = tmp_path / "jacobian.h5"
    summary = stream_input_jacobian(model, X, path, batch_size=6)
    with h5py.File(path) as file:
        assert file["jacobian"].chunks == (8, 1, 4)
        expected = np.quantile(file["jacobian"][...], PROBABILITIES, axis=0)
    assert np.array_equal(summary.quantiles, expected)


def test_without_a_file_quantiles_are_those_of_a_fixed_sample(model):
    options = {"sample_rows": 10, "batch_size": 4}
    summary = stream_input_jacobian(model, X, seed=5, **options)
    chosen = np.random.default_rng(5).choice(N, 10, replace=False)
    expected = np.quantile(input_jacobian(model, X[chosen]), PROBABILITIES, axis=0)
    assert summary.quantile_rows == 10
    assert np.allclose(summary.quantiles, expected, rtol=1e-4, atol=1e-6)
    check(summary, input_jacobian(model, X))
    again = stream_input_jacobian(model, X, seed=5, **options)
    assert np.array_equal(again.quantiles, summary.quantiles)


def test_a_summary_comes_back_as_it_was_written(model, tmp_path):
    path = tmp_path / "jacobian.h5"
    summary = stream_input_jacobian(model, X, path)
    summary.write(path, {"study": "mine"})
    read = read_summary(path)
    for name in ("mean", "mean_absolute", "root_mean_square", "quantiles"):
        assert np.array_equal(getattr(read, name), getattr(summary, name))
    assert (read.probabilities, read.n_rows, read.quantile_rows) == (PROBABILITIES, N, N)
    with h5py.File(path) as file:
        assert file.attrs["study"] == "mine"
        del_path = tmp_path / "empty.h5"
    with h5py.File(del_path, "w"):
        pass
    with pytest.raises(InputError, match="holds no statistics"):
        read_summary(del_path)


def test_a_row_without_a_derivative_is_named(model):
    broken = X.copy()
    broken[20, 3] = np.nan
    with pytest.raises(InputError, match="row 'star 20' is NaN"):
        stream_input_jacobian(
            model, broken, row_id=np.array([f"star {i}" for i in range(N)]), batch_size=8
        )


def test_the_log_says_how_far_it_is(model, caplog, monkeypatch):
    monkeypatch.setattr(jacobian_stream, "LOG_EVERY", 16)
    with caplog.at_level(logging.INFO):
        stream_input_jacobian(model, X, batch_size=8)
    said = [record.getMessage() for record in caplog.records if "rows" in record.getMessage()]
    assert said == [f"input Jacobians: {n} of 37 rows" for n in (16, 32, 37)]


MEMORY = """
import sys
import h5py, keras, numpy as np
from pathlib import Path
from starstack.autodiff.jacobian_stream import stream_input_jacobian

def peak():
    status = Path("/proc/self/status").read_text()
    return int(next(s for s in status.splitlines() if s.startswith("VmHWM")).split()[1]) / 1024

folder, n, p, k = Path(sys.argv[1]), 4000, 4000, 3
model = keras.Sequential([keras.Input((p,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(k)])
with h5py.File(folder / "data.h5", "w") as file:
    X = file.create_dataset("X", (n, p), "f4")
    for start in range(0, n, 500):
        X[start:start + 500] = np.random.default_rng(start).standard_normal((500, p))
    stream_input_jacobian(model, X, rows=np.arange(64), batch_size=64)
    before = peak()
    stream_input_jacobian(model, X, folder / "jacobian.h5", batch_size=64)
print(peak() - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_stays_far_below_the_jacobians(tmp_path):
    """They are 192 MB; a batch is 3 MB, a block of columns 32 MB, of which sorting takes copies."""
    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "jacobian.h5").stat().st_size > 190e6
    assert float(ran.stdout.splitlines()[-1]) < 120


def test_a_file_is_there_when_it_is_whole(model, tmp_path):
    path, broken = tmp_path / "jacobian.h5", X.copy()
    broken[20, 3] = np.nan
    with pytest.raises(InputError, match="is NaN"):
        stream_input_jacobian(model, broken, path, batch_size=8)
    assert not list(tmp_path.iterdir())
    stream_input_jacobian(model, X, path)
    before = path.read_bytes()
    with pytest.raises(InputError, match="is NaN"):
        stream_input_jacobian(model, broken, path, batch_size=8)
    assert path.read_bytes() == before
    stream_input_jacobian(model, X[:9], path)
    with h5py.File(path) as file:
        assert file["jacobian"].shape == (9, K, P)
    assert list(tmp_path.iterdir()) == [path]


def test_a_path_that_is_no_file_in_a_folder_is_refused(model, tmp_path):
    for path in (tmp_path / "missing" / "jacobian.h5", tmp_path):
        with pytest.raises(InputError, match="in a folder that exists"):
            stream_input_jacobian(model, X, path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sample_rows": 0}, "sample_rows is 0"),
        ({"row_id": np.array(["a", "b"])}, r"row_id has shape \(2,\); expected \(37,\)"),
        ({"probabilities": (0.5, 2.0)}, "probabilities"),
        ({"probabilities": ()}, "probabilities"),
        ({"probabilities": (np.nan,)}, "probabilities"),
    ],
)
def test_wrong_options_are_refused_before_the_first_row(model, options, message, tmp_path):
    def transform(rows):
        raise AssertionError("rows were read")

    with pytest.raises(InputError, match=message):
        stream_input_jacobian(model, X, tmp_path / "j.h5", transform=transform, **options)


class Mixing(keras.Model):
    def __init__(self):
        super().__init__()
        self.head = keras.layers.Dense(K)

    def call(self, x):
        outputs = self.head(x)
        return outputs - keras.ops.mean(outputs, axis=0)


def test_subclassed_models_that_mix_rows_are_refused(tmp_path):
    mixing = Mixing()
    mixing(X)
    for path in (None, tmp_path / "jacobian.h5"):
        with pytest.raises(InputError, match="mixes the rows of a batch"):
            stream_input_jacobian(mixing, X, path, batch_size=8)
    assert not list(tmp_path.iterdir())


def test_rows_that_rectified_units_would_hide_are_refused():
    broken = X.copy()
    broken[[20, 30], 3] = np.nan
    rectified = keras.Sequential([keras.Input((P,)), keras.layers.Dense(4, "relu")])
    rows = np.arange(N)[::-1]
    with pytest.raises(InputError, match="row '30' is NaN"):
        stream_input_jacobian(rectified, broken, rows=rows, batch_size=8)


def test_the_file_of_the_rows_is_not_replaced(model, tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["X"] = X
    with h5py.File(path, "r") as file:
        with pytest.raises(InputError, match=r"x\.h5: is the file of X"):
            stream_input_jacobian(model, file["X"], tmp_path / ".." / tmp_path.name / "x.h5")
        np.testing.assert_array_equal(file["X"][...], X)


def test_a_summary_replaces_an_older_one(model, tmp_path):
    path = tmp_path / "jacobian.h5"
    stream_input_jacobian(model, X[:5]).write(path)
    summary = stream_input_jacobian(model, X)
    summary.write(path)
    assert read_summary(path).n_rows == N
    np.testing.assert_array_equal(read_summary(path).mean, summary.mean)
