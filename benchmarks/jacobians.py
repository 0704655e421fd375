"""Input Jacobians and propagated noise of the dense network of stellar labels, per second.

    python benchmarks/jacobians.py                 about three minutes on two cores
    python benchmarks/jacobians.py --full          about half an hour: ten starts of all processes

Each method is a process of its own on the same cores. All processes stay alive and take turns in
random order, so that what else runs on the machine falls on all of them alike; a turn is four
batches, one after another as in a stream of spectra. The ratios of a start are medians of the
ratios within a turn. One process is faster than another of the same program by some 4 %, for as
long as it lives; differences smaller than that need several starts, whose ratios are averaged and
given with the standard error. Beside them stand the same ratios of processor time, which a
disturbance moves less, and the rate that the measured peak of matrix products would allow for the
arithmetic of one forward and three backward passes.
PyTorch and JAX are no dependencies of starstack; ``--python`` names an interpreter that has them.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
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
# Of a turn, back to back.
BATCHES = 4
# Products of one row: each multiplication and each addition counts.
FORWARD = sum(2 * before * after for before, after in pairwise(WIDTHS))
FIRST_LAYER = 2 * WIDTHS[0] * WIDTHS[1]
# The Gram matrix of the first layer is symmetric; half of it is multiplied.
GRAM = FORWARD + LABELS * (FORWARD - FIRST_LAYER + UNITS[0] ** 2)
JACOBIAN = FORWARD + LABELS * FORWARD
PRODUCT = LABELS * FIRST_LAYER

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

    noise, x = NoisePropagation(keras_model()), np.tile(rows(), (BATCHES, 1))
    variance = np.full(x.shape, 1e-4, dtype=np.float32)
    return lambda: noise.by_rows(x, variance)


def noise_by_gram() -> Run:
    from starstack.autodiff.propagation import NoisePropagation

    noise, x = NoisePropagation(keras_model()), np.tile(rows(), (BATCHES, 1))
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


@dataclass(frozen=True)
class Method:
    """What is timed: its title, the package that it needs, how it is made, arithmetic per row."""

    title: str
    package: str
    make: Callable[[], Run]
    flop: int
    batches_per_run: int = 1


# fmt: off
METHODS = {
    "tf": Method("product of matrices, TF", "tensorflow", products_tensorflow, PRODUCT),
    "numpy": Method("product of matrices, NumPy", "numpy", products_numpy, PRODUCT),
    "ours": Method("starstack", "tensorflow", ours, JACOBIAN),
    "graph": Method("batch_jacobian", "tensorflow", partial(batch_jacobian, True, False), JACOBIAN),
    "jit": Method(
        "batch_jacobian, XLA", "tensorflow", partial(batch_jacobian, True, True), JACOBIAN
    ),
    "eager": Method(
        "batch_jacobian, eager", "tensorflow", partial(batch_jacobian, False, False), JACOBIAN
    ),
    "torch": Method("torch vmap(jacrev)", "torch", torch_jacrev, JACOBIAN),
    "jax": Method("JAX vmap(jacrev)", "jax", jax_jacrev, JACOBIAN),
    "forward": Method("forward pass", "tensorflow", forward, FORWARD),
    "rows": Method("noise by rows", "tensorflow", noise_by_rows, JACOBIAN, BATCHES),
    "gram": Method("noise by Gram matrix", "tensorflow", noise_by_gram, GRAM, BATCHES),
}
# fmt: on
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
    method = METHODS[name]
    run, times = method.make(), BATCHES // method.batches_per_run
    for _ in range(3):
        run()
    for _ in sys.stdin:
        started, cpu = time.perf_counter(), time.process_time()
        for _ in range(times):
            run()
        print(time.perf_counter() - started, time.process_time() - cpu, flush=True)


# Seconds of the clock and of the processor of each turn, by method.
Turns = dict[str, np.ndarray]


def take_turns(python: str, names: list[str], turns: int) -> Turns:
    """Start one process per method, and return times of shape (turns, 2) of each."""
    workers = {}
    for name in names:
        method = METHODS[name]
        interpreter = python if method.package in ("torch", "jax") else sys.executable
        if has(interpreter, method.package):
            workers[name] = Worker(name, interpreter)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in workers}
    rng = np.random.default_rng()
    for _ in range(turns):
        for name in rng.permutation(list(workers)):
            found[name].append(workers[name].turn())
            time.sleep(PAUSE)
    for worker in workers.values():
        worker.process.terminate()
        worker.process.wait()
    return {name: np.array(times) for name, times in found.items()}


def against_peak(times: Turns) -> np.ndarray:
    """Return the ratios of our rate of arithmetic to the faster library's of the same turn."""
    peak = np.max([METHODS[name].flop / times[name] for name in PEAKS], axis=0)
    return np.median(METHODS["ours"].flop / times["ours"] / peak, axis=0)


def against(other: str, times: Turns) -> np.ndarray:
    return np.median(times[other] / times["ours"], axis=0)


def gram_gain(times: Turns) -> np.ndarray:
    return np.median(times["rows"] / times["gram"], axis=0)


def gram_gain_beyond(times: Turns) -> np.ndarray:
    forward = times["forward"]
    return np.median((times["rows"] - forward) / (times["gram"] - forward), axis=0)


def show(
    what: str, starts: list[Turns], ratio: Callable[[Turns], np.ndarray], least: float | None = None
) -> None:
    """Print a ratio by the clock and of the processor, averaged over starts on a logarithm."""
    logarithms = np.log([ratio(times) for times in starts])
    mean = np.exp(logarithms.mean(axis=0))
    error = np.full(2, np.nan)
    if len(starts) > 1:
        error = mean * logarithms.std(axis=0, ddof=1) / np.sqrt(len(starts))
    clock, cpu = (
        f"{m:.2f}" if np.isnan(e) else f"{m:.3f} ± {e:.3f}"
        for m, e in zip(mean, error, strict=True)
    )
    asked = ""
    if least is not None:
        asked = f"  (at least {least}): {'yes' if mean[0] >= least else 'NO'}"
    print(f"  {what:42} {clock}{asked}; of the processor {cpu}")


def main(python: str, names: list[str], turns: int, restarts: int) -> None:
    starts = []
    for number in range(restarts):
        starts.append(take_turns(python, names, turns))
        print(f"start {number + 1} of {restarts} is done", file=sys.stderr)
    for name in set(names) - set(starts[0]):
        print(f"{METHODS[name].title} is skipped: not installed")
    names = list(starts[0])

    clock = {name: np.concatenate([times[name][:, 0] for times in starts]) for name in names}
    network = "-".join(map(str, WIDTHS))
    print(f"{network}, batch {BATCH}, {restarts} starts of {turns} turns of {BATCHES} batches")
    print(
        f"one row: forward {FORWARD / 1e6:.1f} MFLOP, Jacobian {JACOBIAN / 1e6:.1f}, noise by "
        f"the Gram matrix {GRAM / 1e6:.1f}"
    )
    print(f"{'':28} rows/s: median  best   GFLOP/s: median  best")
    for name, seconds in clock.items():
        rates = BATCHES * BATCH / np.median(seconds), BATCHES * BATCH / seconds.min()
        flop = METHODS[name].flop / 1e9
        print(
            f"  {METHODS[name].title:28} {rates[0]:10.0f} {rates[1]:6.0f} "
            f"{rates[0] * flop:16.0f} {rates[1] * flop:6.0f}"
        )
    peak = max(BATCHES * BATCH / np.median(clock[name]) * METHODS[name].flop for name in PEAKS)
    print(f"  the peak allows {peak / JACOBIAN:.0f} Jacobians per second")
    print("ratios of rates")
    show("starstack / what the peak allows", starts, against_peak, 0.9)
    for name in OTHERS:
        if name in names:
            show(f"starstack / {METHODS[name].title}", starts, partial(against, name), 1.0)
    show("noise by Gram matrix / by rows", starts, gram_gain)
    show("the same beyond the forward pass", starts, gram_gain_beyond, 3.0)
    without = (JACOBIAN - FORWARD) / (GRAM - FORWARD)
    print(f"  (arithmetic allows {JACOBIAN / GRAM:.2f}, and {without:.2f} beyond the forward pass)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="10 starts of all processes")
    parser.add_argument("--turns", type=int, help="so many turns of each method per start")
    parser.add_argument("--starts", type=int, help="start all processes so many times")
    parser.add_argument("--python", default=sys.executable, help="interpreter with torch, jax")
    parser.add_argument("--without", help=f"of {','.join(OTHERS)}: leave these out")
    parser.add_argument("--measure", choices=METHODS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure)
    else:
        turns, starts = (6, 10) if arguments.full else (6, 1)
        left_out = (arguments.without or "").split(",")
        names = [name for name in METHODS if name not in left_out]
        main(arguments.python, names, arguments.turns or turns, arguments.starts or starts)
