# What happens once, before the first job.

import errno
import fcntl

from snakemake.logging import logger


def wait_for_jobs_without_polling():
    """Lift the limit of 100 jobs a second where jobs run on this machine.

    To keep it, Snakemake (9.27) looks once a second whether more jobs may start, and once more for
    each job that has ended, as long as any job waits: with 250 jobs its own process came to take as
    much of a core as the jobs.
    """
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None


def hold_lock():
    """Keep a second run out of this folder; the lock ends with this process, however it ends."""
    path = Path(".snakemake") / "running"
    hold_lock.file = path.open("a")
    try:
        fcntl.flock(hold_lock.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES):
            raise WorkflowError(
                f"another run is working in {Path.cwd()}; wait until it ends, or stop it"
            ) from None
        # Some network file systems have no locks.
        logger.warning(
            f"{path.resolve()} cannot be locked ({error.strerror}): see that no second run works "
            "in this folder"
        )


def check_models_before_work():
    """Build every model of the config once, so that a misspelt one stops the run at its start."""
    try:
        from starstack.config.check import check_models
    except ModuleNotFoundError:
        # Snakemake stands alone in its environment (--sdm conda): the jobs check by themselves.
        return
    try:
        check_models(config)
    except InputError as error:
        raise WorkflowError(str(error)) from None
