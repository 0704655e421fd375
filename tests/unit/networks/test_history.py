"""History of a training run."""

import numpy as np

from starstack.networks.history import COLUMNS, history_table, physical, progress_line


def test_table_has_one_line_per_epoch_and_quantity():
    table = history_table([{"epoch": 1, "loss": 3}, {"epoch": 2, "loss": 2, "val_loss": 2.5}])
    assert tuple(table) == COLUMNS
    assert table["epoch"].tolist() == [1, 2, 2] and table["value"].tolist() == [3, 2, 2.5]
    assert list(history_table([])) == list(COLUMNS)


def test_squared_errors_become_errors_in_units_of_the_targets():
    found = physical({"mse_0": 4.0, "val_mse_1": 0.01, "loss": 4.0}, ["teff", "fe_h"], [100.0, 0.5])
    np.testing.assert_allclose(list(found.values()), [200.0, 0.05, 4.0])
    assert list(found) == ["rmse_teff", "val_rmse_fe_h", "loss"]


def test_a_line_prefers_validation_errors():
    values = {"epoch": 1, "rmse_teff": 80.0, "val_rmse_teff": 90.0}
    assert progress_line(values, 5, best=False) == "epoch 1 of 5: val_rmse_teff 90"
    assert "rmse_teff 80" in progress_line({"epoch": 1, "rmse_teff": 80.0}, 5, best=False)
