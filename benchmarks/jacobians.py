"""Input Jacobians and propagated noise of the dense network of stellar labels, per second.

    python benchmarks/jacobians.py                 about two minutes on two cores
    python benchmarks/jacobians.py --full          more turns

Each method is a process of its own on the same cores. All processes stay alive and take turns in
random order, a batch each, so that what else runs on the machine falls on all of them alike; ratios
are medians of the ratios within a turn. Beside them stand the same ratios of processor time, which
a disturbance moves less, and the rate that the measured peak of matrix products would allow for the
arithmetic of one forward and three backward passes.
PyTorch and JAX are no dependencies of starstack; ``--python`` names an interpreter that has them.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from parts.label_network import (
    LABELS,
    PIXELS,
    UNITS,
    WIDTHS,
    has,
    jax_outputs,
    keras_model,
    own_threads,
    weights,
)

BATCH = 256
# Products of one row: each multiplication and each addition counts.
FORWARD = sum(2 * before * after for before, after in pairwise(WIDTHS))
FIRST_LAYER = 2 * WIDTHS[0] * WIDTHS[1]
# The Gram matrix of the first layer is symmetric; half of it is multiplied.
GRAM = FORWARD + LABELS * (FORWARD - FIRST_LAYER + UNITS[0] ** 2)
JACOBIAN = FORWARD + LABELS * FORWARD

# In seconds, between turns, which are in random order: threads of OpenBLAS and OpenMP spin a while
# after their work is done, and took a tenth of the rate of whichever method was next.
PAUSE = 0.3

Run = Callable[[], object]


def rows() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((BATCH, PIXELS), dtype=np.float32)


def products_tensorflow() -> Run:
    import tensorflow as tf

    rng = np.random.default_rng(2)
    left = tf.constant(rng.standard_normal((LABELS * BATCH, UNITS[0]), dtype=np.float32))
    right = tf.constant(weights()[0])
    multiply = tf.function(lambda: tf.matmul(left, right, transpose_b=True))
    return lambda: multiply().numpy()


def products_numpy() -> Run:
    rng = np.random.default_rng(2)
    left = rng.standard_normal((LABELS * BATCH, UNITS[0]), dtype=np.float32)
    right = weights()[0]
    return lambda: left @ right.T


def ours() -> Run:
    import tensorflow as tf

    from starstack.autodiff.jacobian import InputJacobian

    function, x = InputJacobian(keras_model()), tf.constant(rows())
    return lambda: function.of_batch(x)


def forward() -> Run:
    import tensorflow as tf

    model, x = keras_model(), tf.constant(rows())
    function = tf.function(lambda x: model(x, training=False), autograph=False)
    return lambda: function(x).numpy()


def noise_by_rows() -> Run:
    from starstack.autodiff.propagation import NoisePropagation

    noise, x = NoisePropagation(keras_model()), rows()
    variance = np.full((BATCH, PIXELS), 1e-4, dtype=np.float32)
    return lambda: noise.by_rows(x, variance)


def noise_by_gram() -> Run:
    from starstack.autodiff.propagation import NoisePropagation

    noise, x = NoisePropagation(keras_model()), rows()
    gram = noise.gram(np.full(PIXELS, 1e-4, dtype=np.float32))
    return lambda: noise.by_gram(x, gram)


def batch_jacobian(compiled: bool, jit: bool) -> Run:
    import tensorflow as tf

    model, x = keras_model(), tf.constant(rows())

    def differentiate(x):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            y = model(x, training=False)
        return tape.batch_jacobian(y, x)

    function = tf.function(differentiate, jit_compile=jit) if compiled else differentiate
    return lambda: memoryview(function(x))


def torch_jacrev() -> Run:
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    theta = [torch.from_numpy(part) for part in weights()]
    x = torch.from_numpy(rows())

    def outputs(row, theta):
        for place in range(0, len(theta), 2):
            row = row @ theta[place] + theta[place + 1]
            row = torch.relu(row) if place < len(theta) - 2 else row
        return row

    function = torch.func.vmap(torch.func.jacrev(outputs), in_dims=(0, None))
    return lambda: function(x, theta)


def jax_jacrev() -> Run:
    import jax

    theta = [jax.numpy.asarray(part) for part in weights()]
    x = jax.numpy.asarray(rows())
    function = jax.jit(jax.vmap(jax.jacrev(jax_outputs), in_axes=(0, None)))
    return lambda: function(x, theta).block_until_ready()


# What it is called, the package that it needs, how it is made, and its arithmetic per row.
METHODS: dict[str, tuple[str, str, Callable[[], Run], int]] = {
    "tf": ("product of matrices, TF", "tensorflow", products_tensorflow, LABELS * FIRST_LAYER),
    "numpy": ("product of matrices, NumPy", "numpy", products_numpy, LABELS * FIRST_LAYER),
    "ours": ("starstack", "tensorflow", ours, JACOBIAN),
    "graph": ("batch_jacobian", "tensorflow", lambda: batch_jacobian(True, False), JACOBIAN),
    "jit": ("batch_jacobian, XLA", "tensorflow", lambda: batch_jacobian(True, True), JACOBIAN),
    "eager": (
        "batch_jacobian, eager",
        "tensorflow",
        lambda: batch_jacobian(False, False),
        JACOBIAN,
    ),
    "torch": ("torch vmap(jacrev)", "torch", torch_jacrev, JACOBIAN),
    "jax": ("JAX vmap(jacrev)", "jax", jax_jacrev, JACOBIAN),
    "forward": ("forward pass", "tensorflow", forward, FORWARD),
    "rows": ("noise by rows", "tensorflow", noise_by_rows, JACOBIAN),
    "gram": ("noise by Gram matrix", "tensorflow", noise_by_gram, GRAM),
}
PEAKS, OTHERS = ("tf", "numpy"), ("graph", "jit", "eager", "torch", "jax")


class Worker:
    """A process that runs one method once for each line that it is sent."""

    def __init__(self, name: str, python: str) -> None:
        self.process = subprocess.Popen(
            [python, __file__, "--measure", name],
            env=own_threads(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.turn()  # compiles

    def turn(self) -> tuple[float, float]:
        """Return seconds of the clock and of the processor."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(self.process.args)} ended early")
        seconds, processor = map(float, line.split())
        return seconds, processor


def measure(name: str) -> None:
    run = METHODS[name][2]()
    for _ in range(3):
        run()
    for _ in sys.stdin:
        started, cpu = time.perf_counter(), time.process_time()
        run()
        print(time.perf_counter() - started, time.process_time() - cpu, flush=True)


def verdict(what: str, ratio: float, least: float, processor: float | None = None) -> None:
    also = "" if processor is None else f"; of the processor {processor:.2f}"
    answer = "yes" if ratio >= least else "NO"
    print(f"  {what:46} {ratio:5.2f}  (at least {least}): {answer}{also}")


def ratio(one: list[float], other: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def beyond(one: list[float], other: list[float]) -> list[float]:
    return [a - b for a, b in zip(one, other, strict=True)]


def main(python: str, turns: int) -> None:
    seconds: dict[str, list[float]] = {}
    processor: dict[str, list[float]] = {}
    workers = {}
    for name, (title, package, _, _) in METHODS.items():
        interpreter = python if package in ("torch", "jax") else sys.executable
        if has(interpreter, package):
            workers[name] = Worker(name, interpreter)
            seconds[name], processor[name] = [], []
        else:
            print(f"{title} is skipped: not installed")
    rng = np.random.default_rng(0)
    for _ in range(turns):
        for name in rng.permutation(list(workers)):
            clock, cpu = workers[name].turn()
            seconds[name].append(clock)
            processor[name].append(cpu)
            time.sleep(PAUSE)
    for worker in workers.values():
        worker.process.terminate()

    # Rate of arithmetic of each turn; the peak is that of the faster library in the same turn.
    rate = {n: [BATCH * METHODS[n][3] / s for s in found] for n, found in seconds.items()}
    peak = [max(values) for values in zip(*(rate[n] for n in PEAKS), strict=True)]
    print(f"{'-'.join(map(str, WIDTHS))}, batch {BATCH}, {turns} turns of each")
    print(
        f"one row: forward {FORWARD / 1e6:.1f} MFLOP, Jacobian {JACOBIAN / 1e6:.1f}, noise by "
        f"the Gram matrix {GRAM / 1e6:.1f}"
    )
    print(f"{'':28} rows/s: median  best   GFLOP/s: median  best   of the peak")
    for name, found in seconds.items():
        shares = statistics.median(r / p for r, p in zip(rate[name], peak, strict=True))
        print(
            f"  {METHODS[name][0]:28} {BATCH / statistics.median(found):10.0f} "
            f"{BATCH / min(found):6.0f} {statistics.median(rate[name]) / 1e9:16.0f} "
            f"{max(rate[name]) / 1e9:6.0f} {shares:11.2f}"
        )
    allowed = statistics.median(peak) / JACOBIAN
    print(
        f"  the peak allows {allowed:.0f} Jacobians per second (median), "
        f"{max(peak) / JACOBIAN:.0f} (best)"
    )
    share = statistics.median(r / p for r, p in zip(rate["ours"], peak, strict=True))
    verdict("starstack / rate that the peak allows", share, 0.9)
    verdict("the same, best turns", max(rate["ours"]) / max(peak), 0.9)
    for name in OTHERS:
        if name in seconds:
            both = [ratio(times[name], times["ours"]) for times in (seconds, processor)]
            verdict(f"starstack / {METHODS[name][0]}", both[0], 1.0, both[1])
    both = [ratio(times["rows"], times["gram"]) for times in (seconds, processor)]
    also = f"; of the processor {both[1]:.2f}"
    print(f"  noise by Gram matrix / by rows: {both[0]:.2f}{also}")
    more = [
        ratio(beyond(times["rows"], times["forward"]), beyond(times["gram"], times["forward"]))
        for times in (seconds, processor)
    ]
    verdict("the same beyond the forward pass", more[0], 3.0, more[1])
    without = (JACOBIAN - FORWARD) / (GRAM - FORWARD)
    print(f"  (arithmetic allows {JACOBIAN / GRAM:.2f}, and {without:.2f} beyond the forward pass)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="60 turns instead of 15")
    parser.add_argument("--turns", type=int, help="so many turns")
    parser.add_argument("--python", default=sys.executable, help="interpreter with torch, jax")
    parser.add_argument("--measure", choices=METHODS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
    else:
        main(arguments.python, arguments.turns or (60 if arguments.full else 15))
