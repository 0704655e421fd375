"""Predictions of rows of a file, by row id."""

from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from starstack.errors import InputError
from starstack.networks.predictions import predict_rows, write_predictions
from starstack.stacking.meta_fit import read_meta_predictions

ROWS = {"test": np.array([1, 5, 2999]), "validation": np.arange(10, 1500), "none": np.array([])}


@pytest.fixture
def dataset(tmp_path):
    with h5py.File(tmp_path / "data.h5", "w") as file:
        table = np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32)
        row_id = np.array([f"étoile {number}" for number in range(3000)])
        yield SimpleNamespace(X=file.create_dataset("X", data=table), row_id=row_id, table=table)


def network(function):
    """Return what behaves as a network, with an answer that is known."""
    return SimpleNamespace(task="regression", predict=function)


def test_rows_are_predicted_in_blocks_and_read_back_by_id(dataset, tmp_path):
    seen = []

    def predict(X):
        seen.append(len(X))
        return np.column_stack([X.sum(axis=1), X[:, 0]])

    found = predict_rows(network(predict), dataset, ROWS)
    assert list(found) == ["test", "validation"] and max(seen) <= 1024
    write_predictions(found, tmp_path / "predictions.h5", {"study": "made"})
    read = read_meta_predictions(tmp_path / "predictions.h5")
    for name, (row_id, values) in read.items():
        np.testing.assert_array_equal(row_id, dataset.row_id[ROWS[name]])
        np.testing.assert_array_equal(values[:, 1], dataset.table[ROWS[name], 0])


def test_a_prediction_that_is_not_finite_is_refused(dataset):
    def predict(X):
        return np.where(X[:, :1] > 3, np.nan, 0)

    with pytest.raises(InputError, match="predicts NaN or infinity for validation rows"):
        predict_rows(network(predict), dataset, ROWS)
