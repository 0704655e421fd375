"""What the rules do before the first job, tried without Snakemake."""

import errno
import fcntl
import logging
from pathlib import Path

import pytest

RULES = Path(__file__).parents[2] / "workflow/rules/startup.smk"


class Refused(Exception):
    pass


@pytest.fixture
def hold_lock(tmp_path, monkeypatch):
    """The function of the rules, in a folder of its own."""
    (tmp_path / ".snakemake").mkdir()
    monkeypatch.chdir(tmp_path)
    names = {"Path": Path, "WorkflowError": Refused}
    exec(compile(RULES.read_text(), RULES, "exec"), names)
    return names["hold_lock"]


def test_a_second_run_is_kept_out(hold_lock, tmp_path):
    hold_lock()
    with open(tmp_path / ".snakemake/running") as other, pytest.raises(OSError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize("number", [errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES])
def test_a_lock_that_is_held(hold_lock, monkeypatch, number):
    monkeypatch.setattr(fcntl, "flock", failing(number))
    with pytest.raises(Refused, match="another run is working in"):
        hold_lock()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EIO])
def test_a_file_system_without_locks_is_only_warned_of(
    hold_lock, monkeypatch, tmp_path, caplog, number
):
    monkeypatch.setattr(fcntl, "flock", failing(number))
    # Snakemake's logger hands nothing on to the root, where pytest listens.
    monkeypatch.setattr(logging.getLogger("snakemake.logging"), "propagate", True)
    hold_lock()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"{tmp_path}/.snakemake/running cannot be locked" in record.getMessage()
    assert "\n" not in record.getMessage()


def failing(number):
    def flock(*_):
        raise OSError(number, "No such lock")

    return flock
