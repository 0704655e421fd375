"""What the sources share: missing labels, signal-to-noise ratios, names, blocks in order."""

import threading
import time

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.spectra.normalisation import choose_pixels
from starstack.spectra.survey import (
    BLOCK,
    Run,
    complete_rows,
    draw_snr,
    name_visits,
    observed,
)

RUN = Run("data set 'a'", seed=1)
PIXELS = choose_pixels(pixel_step=500)


def test_rows_with_all_labels():
    targets = {
        "teff": np.array([4500.0, -9999.0, 4700.0, 4800.0]),
        "logg": np.array([1.0, 2.0, np.nan, 3.0]),
    }
    ids = np.array(["a", "b", "c", "d"])
    assert complete_rows(targets, ids, True, "").tolist() == [0, 3]
    with pytest.raises(
        InputError, match="label 'teff' is -9999 in row 'b', and labels are missing"
    ):
        complete_rows(targets, ids, False, "")
    del targets["teff"]
    with pytest.raises(InputError, match=r"label 'logg' is nan in row 'c', .* in 1 of 4 rows"):
        complete_rows(targets, ids, False, "")


@pytest.mark.parametrize("value", [-999.0, -999.99, -9999.0, -9999.99, np.nan, np.inf])
def test_what_counts_as_missing(value):
    ids = np.array(["a", "b"])
    assert complete_rows({"fe_h": np.array([value, -2.5])}, ids, True, "").tolist() == [1]


def test_ratios_are_log_uniform():
    snr = draw_snr(20000, (20, 320), RUN)
    assert snr.min() >= 20
    assert snr.max() <= 320
    # A quarter in each factor of two, within five standard deviations.
    counts = np.histogram(snr, [20, 40, 80, 160, 320])[0]
    assert abs(counts - 5000).max() < 5 * np.sqrt(20000 * 0.25 * 0.75)
    np.testing.assert_allclose(draw_snr(5, (50, 50), RUN), 50)


@pytest.mark.parametrize("snr", [(300, 20), (0, 20), (-1, 20), (20,), (20, 30, 40)])
def test_ratios_that_are_no_range(snr):
    with pytest.raises(InputError, match="expected the lowest and the highest, above 0"):
        draw_snr(10, snr, RUN)


def test_names():
    row_id, group = name_visits(101, 3)
    assert (row_id[0], row_id[4], row_id[-1]) == ("star-000-1", "star-001-2", "star-100-3")
    assert len(set(row_id.tolist())) == 303
    assert np.unique(group, return_counts=True)[1].tolist() == [3] * 101
    assert name_visits(3, 1)[1] is None


@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_come_in_order_and_not_too_early(threads):
    n = 5 * BLOCK + 7
    made, lock = [], threading.Lock()

    def synthesise(rows):
        with lock:
            made.append(rows)
        return np.repeat(np.arange(n, dtype=float)[rows, np.newaxis], len(PIXELS.kept), axis=1)

    run = Run("data set 'a'", 1, threads)
    blocks = observed(synthesise, np.full(n, 50.0), PIXELS, run, bad_pixels=0.0)
    first = next(blocks)
    time.sleep(0.3)  # what has been handed to the threads is done by then
    assert len(made) <= threads + 1
    rest = list(blocks)
    column = np.concatenate([block["X_noiseless"][:, 0] for block in [first, *rest]])
    np.testing.assert_array_equal(column, np.arange(n))
    assert sorted(made, key=lambda rows: rows.start)[-1] == slice(5 * BLOCK, n)


def test_a_fault_in_a_thread_is_raised():
    def synthesise(rows):
        raise InputError("the spectra cannot be made")

    with pytest.raises(InputError, match="the spectra cannot be made"):
        list(observed(synthesise, np.full(9, 50.0), PIXELS, RUN, bad_pixels=0.0))
