"""What every script does around its one library call: log, errors, whole outputs, runtime.

A script is ::

    with job(snakemake) as output:
        library_function(..., output.table)

`output` names temporary files beside the declared outputs. They are moved in place together when
the block has ended without an error, so that a job that is killed or fails leaves nothing behind
that looks finished.
"""

import hashlib
import json
import logging
import os
import resource
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from starstack import __version__
from starstack.errors import InputError

logger = logging.getLogger("starstack.job")

# Scripts import this module first, so that the time of their imports counts.
STARTED = time.perf_counter()


@contextmanager
def job(snakemake) -> Iterator[SimpleNamespace]:
    """Run the body of a script with its log, its outputs and its runtime record in order.

    The output named ``runtime``, if the rule declares one, is written here: wall-clock and CPU
    seconds, and the peak of resident memory, of this job.
    """
    log = open(snakemake.log[0], "w", buffering=1)  # noqa: SIM115 - open until the process ends
    sys.stdout = sys.stderr = log
    logging.basicConfig(
        stream=log, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    logging.captureWarnings(True)
    # Names every glyph that it puts into a PDF.
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    warnings.simplefilter("default")
    # Keras asks NumPy for arrays in a way that NumPy 2 warns about, in every job with a network.
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="keras")
    _limit_tensorflow(snakemake.threads)
    final = {name: Path(path) for name, path in snakemake.output.items()}
    partial = {name: _partial(path) for name, path in final.items()}
    try:
        yield SimpleNamespace(**{name: str(path) for name, path in partial.items()})
        if "runtime" in partial:
            partial["runtime"].write_text(json.dumps(_runtime(snakemake), indent=2) + "\n")
        if _run_has_ended():
            raise InputError(
                "the run that started this job has ended, and another one may be at work; "
                "nothing is written: run the workflow again"
            )
        for name, path in final.items():
            os.replace(partial[name], path)
    except InputError as error:
        logger.error("%s", error)
        sys.exit(1)
    except Exception:
        logger.exception("rule %s failed", snakemake.rule)
        sys.exit(1)
    finally:
        for path in partial.values():
            path.unlink(missing_ok=True)
    logger.info("done in %.1f s", time.perf_counter() - STARTED)


def _limit_tensorflow(threads: int) -> None:
    """Give TensorFlow the threads of the rule, as Snakemake does for OpenMP, and quiet its start.

    By itself it takes all cores, so that two jobs of one thread each would share four.
    """
    for pool in ("INTRAOP", "INTEROP"):
        os.environ.setdefault(f"TF_NUM_{pool}_THREADS", str(threads))
    # Level 2 would still report, as an error, that a machine without a GPU has none.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def one_thread_per_block() -> None:
    """Keep linear algebra to one thread, in a job that has several of them at work itself.

    Otherwise each starts as many again, and they wait for each other: ten times the time was seen
    on two busy cores. Has to be called before NumPy is imported.
    """
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ[f"{library}_NUM_THREADS"] = "1"


def cpu_only() -> None:
    """Keep the models of this job off any GPU, and their operations to deterministic ones.

    Jobs of small models run side by side, and each would take the whole memory of the GPU.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["TF_DETERMINISTIC_OPS"] = "1"


def _run_has_ended() -> bool:
    """Whether the Snakemake process that started this job is gone.

    A job outlives a Snakemake that is killed. Were it to move its files in place then, it could
    overwrite those of a later run with another configuration (seen with a slow forest).
    """
    pid = os.environ.get("SNAKEMAKE_PID")
    if pid is None:
        return False
    try:
        os.kill(int(pid), 0)  # sends nothing: asks whether the process is there
    except ProcessLookupError:
        return True
    return False


def _partial(path: Path) -> Path:
    """Name a temporary file beside ``path``; what a killed job left there is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".partial-*-{path.name}"):
        left.unlink(missing_ok=True)
    return path.with_name(f".partial-{os.getpid()}-{path.name}")


def _runtime(snakemake) -> dict[str, object]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    wildcards = dict(snakemake.wildcards.items())
    return {
        "study": wildcards.pop("study", ""),
        "rule": snakemake.rule,
        "job": "/".join(wildcards.values()),
        "seconds": round(time.perf_counter() - STARTED, 3),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "max_rss_mb": round(_peak_memory(usage.ru_maxrss) / 1e6, 1),
        "threads": snakemake.threads,
    }


def _peak_memory(max_rss: int) -> int:
    """Peak of resident memory in bytes.

    On Linux `ru_maxrss` survives exec: it starts at what Snakemake itself held when it made this
    process (230 MB was seen in jobs of 120 MB), so the kernel's own mark is read instead.
    """
    status = Path("/proc/self/status")
    if status.exists():
        mark = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(mark.split()[1]) * 1024
    return max_rss  # bytes on macOS


def provenance(snakemake, dataset=None) -> dict[str, str]:
    """State what made an artefact: study, seed, rule, library version, checksums."""
    section = json.dumps(dict(snakemake.params.items()), sort_keys=True)
    stated = {
        "study": snakemake.wildcards.study,
        "rule": snakemake.rule,
        "seed": str(snakemake.params.get("seed", "")),
        "library_version": __version__,
        "config_sha256": hashlib.sha256(section.encode()).hexdigest(),
    }
    if dataset is not None:
        stated["data_sha256"] = dataset.sha256()
    return stated
