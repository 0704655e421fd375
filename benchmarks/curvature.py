"""Posteriors of the full-size network of stellar labels: time, memory and rate of error bars.

    python benchmarks/curvature.py                      about six minutes on two cores
    python benchmarks/curvature.py --python PYTHON      beside laplace-torch and curvlinops

Every measurement is a process of its own on the same cores. Seconds of the clock stand beside
seconds of the processor: where there are fewer of these than cores, something else was running.
The rate of predictive covariances is compared with what the peak of a product of matrices, measured
in the same process just before and after, allows for the operations counted in `operations`.

PyTorch, laplace-torch and curvlinops are no dependencies of starstack; ``--python`` names an
interpreter that has them. One table then has theirs and ours, of the same weights and spectra
(`parts/curvature_peers.py`). They are given few spectra: both form a Jacobian of 211 MB for each. A
library that fails, or is not done within ``--limit``, has a line that says so. The diagonal of
laplace-torch takes 18 GB of memory and is left out without ``--heavy``. Predictive covariances of
a small network are compared with laplace-torch's as well.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from parts.label_network import LABELS, PIXELS, WIDTHS, has, keras_model, own_threads

NOISE, PRIOR = 0.5, 100.0
# Memory that the diagonal of laplace-torch takes, in GB.
HEAVY_GB = 19
# The goals for 4,000 spectra on two cores.
GOAL_SECONDS, GOAL_GB, GOAL_SHARE = 180, 3.0, 0.5


def spectra(n_rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n_rows, PIXELS), dtype=np.float32)
    return X, rng.standard_normal((n_rows, LABELS), dtype=np.float32)


def operations(n_rows: int, structure: str) -> float:
    """Count additions and multiplications for the covariance of one row."""
    total = 0.0
    for number, (n_in, n_out) in enumerate(pairwise(WIDTHS)):
        total += 2 * n_in * n_out  # forward
        if number:
            total += LABELS * 2 * n_in * n_out  # back, once per output
        rank = n_in + 1 if structure == "diagonal" else min(n_in + 1, n_rows)
        total += 2 * rank * n_out  # squares times variances
        if structure != "diagonal":
            total += 2 * (n_in + 1) * rank + LABELS * 2 * n_out**2  # into the bases
            if rank < n_in + 1:
                total += 2 * (n_in + 1) * rank  # and out of them, for what they do not span
    return total


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Return seconds of the clock and of the processor."""
    started, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - started, time.process_time() - cpu


def matmul_rate(repeats: int = 3) -> float:
    """Return the rate of a square product in single precision, in operations per second."""
    import tensorflow as tf

    n = 4096
    a = tf.random.normal((n, n))
    product = tf.function(lambda a: tf.reduce_sum(tf.matmul(a, a)), autograph=False)
    product(a)
    return max(2 * n**3 / timed(lambda: product(a).numpy())[0] for _ in range(repeats))


def ours(structure: str, n_rows: int, n_predicted: int) -> dict:
    from starstack.autodiff.batches import Batches
    from starstack.curvature.structures import laplace

    model = keras_model()
    X, y = spectra(n_rows)
    found = {}

    def fit() -> None:
        posterior = laplace(
            model, Batches(X, y), structure=structure, noise=NOISE, prior_precision=PRIOR
        )
        found["posterior"] = posterior
        # All that a prediction needs: the bases of the outputs' factors are found when asked for.
        found["logdet"] = posterior.log_determinant()

    seconds, processor = timed(fit)
    fit_gb = peak_gb()
    at, _ = spectra(n_predicted, seed=1)
    predict = found["posterior"].predictive_covariance
    predict(at[:256])  # compiles
    peak = matmul_rate()
    runs = [timed(lambda: predict(at)) for _ in range(3)]
    peak = max(peak, matmul_rate())
    fastest, predict_cpu = min(runs)
    counted = operations(n_rows, structure)
    variance = np.diagonal(predict(at[:COMPARED_SPECTRA]), axis1=1, axis2=2)
    return {
        "fit": seconds,
        "fit_cpu": processor,
        "fit_gb": fit_gb,
        "predict": fastest / n_predicted,
        "predict_cpu": predict_cpu / n_predicted,
        "peak_gb": peak_gb(),
        "mega_operations": counted / 1e6,
        "matmul_peak": peak / 1e9,
        "share_of_peak": n_predicted / fastest * counted / peak,
        "sigma": np.sqrt(variance).tolist(),
    }


# Spectra whose errors are compared with those of other libraries.
COMPARED_SPECTRA = 16
PEERS_MODULE = "parts.curvature_peers"
# Library, structure, its package, and GB of memory where it takes most of a machine.
PEERS = (
    ("laplace-torch", "kfac", "laplace", 0),
    ("curvlinops", "kfac", "curvlinops", 0),
    ("laplace-torch", "diagonal", "laplace", HEAVY_GB),
)

SMALL = (12, 10, 8, 3)
COMPARED = {"exact": "full", "kfac": "kron", "diagonal": "diag", "last_layer": "last_layer"}


def small_problem() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    weights = {}
    for number, (n_in, n_out) in enumerate(pairwise(SMALL)):
        weights[f"kernel{number}"] = rng.standard_normal((n_in, n_out)) / np.sqrt(n_in)
        weights[f"bias{number}"] = 0.1 * rng.standard_normal(n_out)
    X, y = rng.standard_normal((60, SMALL[0])), rng.standard_normal((60, SMALL[-1]))
    return weights | {"X": X, "y": y, "at": rng.standard_normal((9, SMALL[0]))}


def small_ours(problem: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import keras

    from starstack.autodiff.batches import Batches
    from starstack.curvature.structures import laplace

    keras.config.set_floatx("float64")
    found = {}
    for structure in COMPARED:
        # laplace-torch has a factor of its own for each bias, we have one for both.
        bias = structure != "kfac"
        layers = [keras.layers.Dense(n, "tanh", use_bias=bias) for n in SMALL[1:-1]]
        last = keras.layers.Dense(SMALL[-1], use_bias=bias)
        model = keras.Sequential([keras.Input((SMALL[0],)), *layers, last])
        names = ("kernel", "bias") if bias else ("kernel",)
        model.set_weights(
            [problem[f"{name}{number}"] for number in range(len(SMALL) - 1) for name in names]
        )
        posterior = laplace(
            model,
            Batches(problem["X"], problem["y"]),
            structure=structure,
            noise=0.3,
            prior_precision=0.7,
        )
        found[structure] = posterior.predictive_covariance(problem["at"])
    return found


def measure(command: list[str], limit: float | None = None) -> tuple[dict, str]:
    """Return what a process measured, as far as it came, and why it came no further."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(
        command, env=own_threads(), cwd=Path(__file__).parent, **pipes
    ) as process:
        try:
            printed, errors = process.communicate(timeout=limit)
            reason = ""
        except subprocess.TimeoutExpired:
            process.kill()
            printed, errors = process.communicate()
            reason = f"stopped after {limit:.0f} s"
    if process.returncode and not reason:
        lines = errors.strip().splitlines() or [f"ended with {process.returncode}"]
        reason = "killed" if process.returncode == -9 else lines[-1][:100]
    found = [line for line in printed.splitlines() if line.startswith("{")]
    return (json.loads(found[-1]) if found else {}), reason


def measure_ours(structure: str, n_rows: int, n_predicted: int) -> dict:
    numbers = map(str, (n_rows, n_predicted))
    found, reason = measure([sys.executable, __file__, "--measure", structure, *numbers])
    if reason:
        raise SystemExit(f"starstack, {structure}: {reason}")
    return found


def free_gb() -> float:
    with open("/proc/meminfo", encoding="ascii") as stream:
        (line,) = (line for line in stream if line.startswith("MemAvailable"))
    return int(line.split()[1]) / 2**20


def compare_speed(structures: list[str], n_rows: int) -> None:
    for structure in structures:
        found = measure_ours(structure, n_rows, 1024)
        print(
            f"starstack {structure:9} {n_rows:6,} rows  fit {found['fit']:7.1f} s "
            f"({found['fit_cpu']:.0f} s of processor, {found['fit_gb']:.2f} GB)  "
            f"{1 / found['predict']:.0f} covariances/s  peak {found['peak_gb']:.2f} GB"
        )
        print(
            f"{'':9} {found['mega_operations']:.0f} million operations each: "
            f"{found['share_of_peak']:.2f} of {found['matmul_peak']:.0f} GFLOP/s, the peak of a "
            f"product of matrices ({found['predict_cpu'] / found['predict']:.1f} cores)"
        )
        if structure == "kfac" and n_rows == 4000:
            reached = [
                ("fit", found["fit"] <= GOAL_SECONDS),
                ("memory", found["fit_gb"] <= GOAL_GB),
                ("rate", found["share_of_peak"] >= GOAL_SHARE),
            ]
            print(", ".join(f"{name} {'reached' if yes else 'MISSED'}" for name, yes in reached))


def compare_peers(python: str, n_rows: int, n_predicted: int, limit: float, heavy: bool) -> None:
    print(
        f"{'-'.join(map(str, WIDTHS))}, {n_rows} spectra; times in seconds (of the processor); "
        "σ: median ratio to ours"
    )
    print(
        f"{'':24} {'fit':>17} {'per covariance':>21} {'rate':>9} {'peak':>8} {'ours: rate':>12} "
        f"{'fit':>7} {'memory':>7} {'σ':>7}"
    )
    for structure in ("kfac", "diagonal"):
        own = measure_ours(structure, n_rows, 1024)
        line("starstack", structure, own, own, "")
        for library, of, package, needed in PEERS:
            if of != structure:
                continue
            if not has(python, "torch", package):
                reason = "not installed (give --python)"
            elif needed and not heavy:
                reason = f"not run: takes {needed} GB; give --heavy"
            elif free_gb() < needed:
                reason = f"not run: takes {needed} GB, {free_gb():.0f} GB are free"
            else:
                numbers = map(str, (n_rows, n_predicted))
                command = [python, "-m", PEERS_MODULE, library, structure, *numbers]
                found, reason = measure(command, limit)
                line(library, structure, found, own, reason)
                continue
            line(library, structure, {}, own, reason)


def line(title: str, structure: str, found: dict, own: dict, reason: str) -> None:
    """Print a row of the table; a dash for what was not measured."""

    def cell(text: str, width: int, *needs: str) -> str:
        values = {name: found[name] for name in needs} if all(n in found for n in needs) else None
        return f"{text.format(**values) if values else '–':>{width}}"

    def ratio(name: str, width: int) -> str:
        return f"{f'{found[name] / own[name]:,.1f} ×' if name in found else '–':>{width}}"

    sigma = "–"
    if "sigma" in found:
        theirs, ours_ = (np.array(each["sigma"]) for each in (found, own))
        sigma = f"{np.median(theirs / ours_[: len(theirs)]):.3f}"
    rate = f"{1 / found['predict']:,.2f}/s" if "predict" in found else "–"
    print(
        f"{title:14} {structure:9} {cell('{fit:.1f} ({fit_cpu:.0f})', 17, 'fit', 'fit_cpu')} "
        f"{cell('{predict:.5f} ({predict_cpu:.5f})', 21, 'predict', 'predict_cpu')} {rate:>9} "
        f"{cell('{peak_gb:.1f} GB', 8, 'peak_gb')} {ratio('predict', 12)} {ratio('fit', 7)} "
        f"{ratio('peak_gb', 7)} {sigma:>7}  {reason}",
        flush=True,
    )


def compare_values(python: str) -> None:
    if not has(python, "torch", "laplace"):
        print("values: laplace-torch is not there (give --python); not compared")
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("problem.npz", "ours.npz", "theirs.npz")]
        np.savez(paths[0], **small_problem())
        for command in (
            [sys.executable, __file__, "--values", *paths[:2]],
            [python, "-m", PEERS_MODULE, "small", paths[0], paths[2]],
        ):
            if reason := measure(command)[1]:
                raise SystemExit(f"{' '.join(command)}: {reason}")
        ours_, theirs = (np.load(path) for path in paths[1:])
        for structure in COMPARED:
            worst = np.abs(ours_[structure] - theirs[structure]).max()
            worst /= np.abs(theirs[structure]).max()
            verdict = "agrees" if worst < 1e-5 else "DIFFERS"
            print(f"{structure:10} predictive covariance {verdict} with laplace-torch: {worst:.1e}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="interpreter with laplace-torch")
    parser.add_argument("--structures", nargs="+", default=["kfac", "diagonal"])
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--rows-of-peers", type=int, default=512)
    parser.add_argument("--predictions-of-peers", type=int, default=2)
    parser.add_argument("--limit", type=float, default=600, help="seconds for each library")
    parser.add_argument("--heavy", action="store_true", help="what takes 18 GB of memory, too")
    parser.add_argument("--only", choices=("values", "speed", "peers"), help="one of the parts")
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--values", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        structure, *numbers = given.measure
        print(json.dumps(ours(structure, *map(int, numbers))))
        sys.exit()
    if given.values:
        read, written = given.values
        with np.load(read) as problem:
            np.savez(written, **small_ours(dict(problem)))
        sys.exit()
    if given.only in (None, "values"):
        compare_values(given.python)
    if given.only in (None, "speed"):
        compare_speed(given.structures, given.rows)
    if given.only in (None, "peers"):
        numbers = given.rows_of_peers, given.predictions_of_peers
        compare_peers(given.python, *numbers, given.limit, given.heavy)
