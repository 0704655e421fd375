"""Checkpoints: whole or not there, and only for the run that wrote them."""

import logging

import numpy as np
import pytest

from starstack.networks.checkpoints import (
    FILE_NAME,
    fingerprint,
    read_checkpoint,
    write_checkpoint,
)

RUN = fingerprint({"seed": 1})
STATE = {"epochs": [{"epoch": 1, "loss": 0.1 + 0.2}], "best_loss": float("inf"), "stopped": False}


def arrays():
    rng = np.random.default_rng(0)
    # Keras's states: matrices, scalars, whole numbers of both kinds; and a group without any.
    values = [rng.normal(size=(30, 40)).astype(np.float32), np.float32(0.3), np.int64(7)]
    return {"model": [*values, np.arange(2, dtype=np.uint32)], "best": []}


def test_what_was_written_is_read_bit_for_bit(tmp_path):
    write_checkpoint(tmp_path / "new" / "folder", STATE, arrays(), RUN)
    found = read_checkpoint(tmp_path / "new" / "folder", RUN)
    assert found.state == STATE and found.arrays["best"] == []
    for ours, theirs in zip(found.arrays["model"], arrays()["model"], strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert [path.name for path in (tmp_path / "new" / "folder").iterdir()] == [FILE_NAME]


def test_a_checkpoint_of_another_run_is_not_used(tmp_path, caplog):
    write_checkpoint(tmp_path, STATE, arrays(), RUN)
    with caplog.at_level(logging.INFO):
        assert read_checkpoint(tmp_path, fingerprint({"seed": 2})) is None
    assert "belongs to other data, options or another seed" in caplog.text
    assert read_checkpoint(tmp_path / "nowhere", RUN) is None


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "text"])
def test_a_damaged_checkpoint_is_not_used(tmp_path, caplog, damage):
    write_checkpoint(tmp_path, STATE, arrays(), RUN)
    path = tmp_path / FILE_NAME
    content = bytearray(path.read_bytes())
    at = content.index(arrays()["model"][0][15].tobytes()[:8])
    flipped = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    damaged = {"cut": content[:-500], "empty": b"", "flipped": flipped, "text": b"no HDF5"}
    path.write_bytes(damaged[damage])
    assert read_checkpoint(tmp_path, RUN) is None
    assert "is damaged" in caplog.text and "\n" not in caplog.records[0].getMessage()


def test_a_process_that_dies_while_writing_leaves_the_old_one(tmp_path, monkeypatch):
    write_checkpoint(tmp_path, STATE, arrays(), RUN)

    class Broken:
        def __array__(self, dtype=None, copy=None):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(tmp_path, STATE, {"model": [np.zeros(3), Broken()]}, RUN)
    assert len(read_checkpoint(tmp_path, RUN).arrays["model"]) == 4
