"""Training throughput of the dense network of stellar labels, and of streaming it from a file.

    python benchmarks/networks.py                 about four minutes on two cores
    python benchmarks/networks.py --full          50,000 spectra, more repeats

Every measurement is a process of its own on the same cores; methods take turns. A throughput is
all rows of all epochs but the first (which compiles) over all their seconds. Plain ``fit`` at batch
64 runs in two modes on two cores, the slow one at half the speed, where the threads of tf.data
contend: its median epoch, the fast mode, is compared too. Beside each rate stands the number of
cores that the process really had: where it is far below that of the others, something else was
running.
Beside it stands the rate per busy core, which such a disturbance moves less (PyTorch's threads spin
while they wait, and count as busy).
PyTorch and JAX are no dependencies of starstack; ``--python`` names an interpreter that has them.

Where the time goes, at batch 64 on two cores: products of matrices 40 ms, Adam's pass over 17.6
million weights, gradients and moments 9 to 14 ms in TensorFlow's one kernel, 30 ms as Keras writes
it, compiled by XLA or not. Keras on JAX compiles products and Adam as one program that updates its
arrays in place; it is ahead of Keras on TensorFlow by what that saves, and behind the one kernel.
"""

import argparse
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
from parts.label_network import LABELS, PIXELS, UNITS, has, own_threads

ADAM = {"learning_rate": 8e-4, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}


def spectra(n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = 1 + 0.05 * rng.standard_normal((n_rows, PIXELS), dtype=np.float32)
    return X, rng.standard_normal((n_rows, LABELS), dtype=np.float32)


def timed_epochs(run: Callable[[], None], n_rows: int, epochs: int) -> Iterator[tuple]:
    """Run epochs; give the rate and the number of busy cores of all but the first."""
    for number in range(epochs + 1):
        started, cpu = time.perf_counter(), time.process_time()
        run()
        seconds = time.perf_counter() - started
        if number:
            yield n_rows / seconds, (time.process_time() - cpu) / seconds


def keras_model():
    import keras

    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(n, "relu", kernel_initializer="he_normal") for n in UNITS]
    return keras.Sequential([keras.Input((PIXELS,)), *layers, keras.layers.Dense(LABELS)])


def keras_fit(batch: int, n_rows: int, epochs: int, jit: bool = False) -> list:
    import keras

    X, y = spectra(n_rows)
    model = keras_model()
    # Its JAX backend compiles in any case.
    jit = "auto" if keras.backend.backend() == "jax" else jit
    model.compile(keras.optimizers.Adam(**ADAM), loss="mse", jit_compile=jit)
    run = lambda: model.fit(X, y, batch_size=batch, verbose=0)  # noqa: E731
    return list(timed_epochs(run, n_rows, epochs))


def torch_loop(batch: int, n_rows: int, epochs: int, fused: bool = False) -> list:
    import torch

    torch.manual_seed(1)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    X, y = (torch.from_numpy(array) for array in spectra(n_rows))
    widths = (PIXELS, *UNITS)
    layers = []
    for before, after in pairwise(widths):
        layers += [torch.nn.Linear(before, after), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(UNITS[-1], LABELS))
    betas = (ADAM["beta_1"], ADAM["beta_2"])
    optimizer = torch.optim.Adam(
        model.parameters(), ADAM["learning_rate"], betas, ADAM["epsilon"], fused=fused
    )

    def run() -> None:
        for rows in torch.randperm(n_rows).split(batch):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(X[rows]), y[rows]).backward()
            optimizer.step()

    return list(timed_epochs(run, n_rows, epochs))


def ours(batch: int, n_rows: int, epochs: int) -> list:
    from starstack.data.dataset import Dataset

    X, y = spectra(n_rows)
    dataset = Dataset(
        name="random",
        task="regression",
        X=X,
        y=y.astype(float),
        row_id=np.arange(n_rows).astype(str),
        feature_names=tuple(map(str, range(PIXELS))),
        target_names=("teff", "logg", "fe_h"),
        provenance={"data_sha256": "random"},
    )
    return train(dataset, batch, epochs)


def train(dataset, batch: int, epochs: int, **options: object) -> list:
    """Train as the workflow does; the log says the rate of each epoch."""
    from starstack.networks.device import configure_device
    from starstack.networks.options import TrainingOptions
    from starstack.networks.training import train_network

    found, last = [], [0.0, 0.0]

    class Rates(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if str(record.msg).endswith("rows/s"):
                cpu, wall = time.process_time(), time.perf_counter()
                found.append((record.args[2], (cpu - last[0]) / (wall - last[1])))
            last[:] = time.process_time(), time.perf_counter()

    logger = logging.getLogger("starstack")
    logger.setLevel(logging.INFO)
    logger.addHandler(Rates())
    train_network(
        dataset,
        np.arange(dataset.n_rows),
        TrainingOptions(
            epochs=epochs + 1, batch_size=batch, validation_fraction=0, **ADAM, **options
        ),
        build="dense",
        build_params={"units": list(UNITS)},
        seed=1,
        device=configure_device("cpu", threads=len(os.sched_getaffinity(0))),
    )
    return found[1:]


def from_file(batch: int, n_rows: int, epochs: int, path: str, noise: bool = False) -> list:
    from starstack.data.store import open_dataset

    with open(path, "rb") as file:  # so that the first pass reads from the disk
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    with open_dataset(path) as dataset:
        return train(dataset, batch, epochs, noise=noise)


def from_memory(batch: int, n_rows: int, epochs: int, path: str, noise: bool = False) -> list:
    from starstack.data.store import read_dataset

    dataset = read_dataset(path, ("X", "X_error") if noise else ("X",))
    return train(dataset, batch, epochs, noise=noise)


# What it is called, the packages it needs, how it is measured, and on which backend of Keras.
METHODS: dict[str, tuple[str, tuple[str, ...], Callable[..., list], str]] = {
    "ours": ("starstack", (), ours, "tensorflow"),
    "fit": ("Keras fit", (), keras_fit, "tensorflow"),
    "fit_jit": ("Keras fit, XLA", (), lambda *a: keras_fit(*a, jit=True), "tensorflow"),
    "jax": ("Keras fit on JAX", ("keras", "jax"), keras_fit, "jax"),
    "torch": ("PyTorch", ("torch",), torch_loop, ""),
    "torch_fused": ("PyTorch, fused Adam", ("torch",), lambda *a: torch_loop(*a, True), ""),
}
STREAMING: dict[str, Callable[..., list]] = {
    "memory": from_memory,
    "file": from_file,
    "memory_noise": lambda *a: from_memory(*a, noise=True),
    "file_noise": lambda *a: from_file(*a, noise=True),
}


def measure(name: str, python: str, *numbers: int, path: str = "") -> dict:
    """Run one measurement in a process of its own."""
    command = [python, __file__, "--measure", name, *map(str, numbers), "--path", path]
    backend = METHODS[name][3] if name in METHODS else "tensorflow"
    environment = own_threads() | {"KERAS_BACKEND": backend}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"{' '.join(command)}: {ran.stderr}")
    return json.loads(ran.stdout.splitlines()[-1])


def compare_throughput(python: str, repeats: int, n_rows: int) -> None:
    present = [n for n, (_, needs, _, _) in METHODS.items() if has(python, *needs)]
    print(f"training throughput, {PIXELS}-{'-'.join(map(str, UNITS))}-{LABELS}, spectra per second")
    overall: dict[tuple[str, int], float] = {}
    medians: dict[tuple[str, int], float] = {}
    for batch in (64, 256):
        found: dict[str, list] = {name: [] for name in present}
        for _ in range(repeats):
            for name in present:
                interpreter = python if METHODS[name][1] else sys.executable
                found[name] += measure(name, interpreter, batch, n_rows, 3)["epochs"]
        print(f"  batch {batch:<5}         overall   median   range        busy cores   per core")
        for name, (title, _, _, _) in METHODS.items():
            if name not in present:
                print(f"    {title:20} skipped: not installed")
                continue
            rates, cores = zip(*found[name], strict=True)
            overall[name, batch] = statistics.harmonic_mean(rates)  # each epoch has as many rows
            medians[name, batch] = statistics.median(rates)
            shown = f"{min(rates):.0f}–{max(rates):.0f}"
            print(
                f"    {title:20} {overall[name, batch]:5.0f}     {medians[name, batch]:5.0f}    "
                f"{shown:12} "
                f"{statistics.median(cores):.2f}         "
                f"{statistics.median(r / c for r, c in found[name]):5.0f}",
                flush=True,
            )
    verdict("ours / Keras fit, batch 64", overall["ours", 64] / overall["fit", 64], 1.8)
    verdict("the same, median epochs", medians["ours", 64] / medians["fit", 64], 1.8)
    for name in ("torch_fused", "jax"):
        for batch in (64, 256):
            if (name, batch) in medians:
                ratio = overall["ours", batch] / overall[name, batch]
                verdict(f"ours / {METHODS[name][0]}, batch {batch}", ratio, 1.0)


def compare_streaming(n_rows: int, repeats: int, with_noise: bool) -> None:
    from starstack.data.dataset import Dataset
    from starstack.data.store import write_dataset_blocks

    print(f"\nstreaming {n_rows} × {PIXELS}, batch 64")
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "data.h5")
        rng = np.random.default_rng(0)
        header = Dataset(
            name="random",
            task="regression",
            X=None,
            y=rng.normal(size=(n_rows, LABELS)),
            row_id=np.arange(n_rows).astype(str),
            feature_names=tuple(map(str, range(PIXELS))),
            target_names=("teff", "logg", "fe_h"),
        )

        def blocks() -> Iterator[dict[str, np.ndarray]]:
            for start in range(0, n_rows, 500):
                X, _ = spectra(min(500, n_rows - start))
                error = {"X_error": np.full_like(X, 0.01)} if with_noise else {}
                yield {"X": X, **error}

        write_dataset_blocks(header, blocks(), path)
        pairs = [("memory", "file")] + ([("memory_noise", "file_noise")] if with_noise else [])
        for in_memory, in_file in pairs:
            found: dict[str, list] = {in_memory: [], in_file: []}
            peak = dict.fromkeys(found, 0.0)
            for _ in range(repeats):
                for name in found:
                    result = measure(name, sys.executable, 64, n_rows, 1, path=path)
                    found[name] += result["epochs"]
                    peak[name] = max(peak[name], result["peak_gb"])
            rate = {name: statistics.median(r for r, _ in found[name]) for name in found}
            for name in found:
                cores = statistics.median(c for _, c in found[name])
                print(
                    f"    {name:14} {rate[name]:5.0f} spectra/s, busy cores {cores:.2f}, "
                    f"peak memory {peak[name]:.2f} GB",
                    flush=True,
                )
            verdict(f"{in_file} / {in_memory}", rate[in_file] / rate[in_memory], 0.9)
            verdict("2.5 GB / peak memory from file", 2.5 / peak[in_file], 1.0)


def verdict(what: str, ratio: float, least: float) -> None:
    print(f"  {what:40} {ratio:5.2f}  (at least {least}): {'yes' if ratio >= least else 'NO'}")


def peak_gb() -> float:
    status = Path("/proc/self/status")
    if status.exists():
        mark = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(mark.split()[1]) * 1024 / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="50,000 spectra, and more repeats")
    parser.add_argument("--python", default=sys.executable, help="interpreter with torch, jax")
    parser.add_argument("--only", choices=("throughput", "streaming"), help="one of the two parts")
    parser.add_argument("--repeats", type=int, help="of the throughput; default 2, full 5")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--path", default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        name, *numbers = arguments.measure
        path = [arguments.path] if arguments.path else []
        function = STREAMING[name] if name in STREAMING else METHODS[name][2]
        epochs = function(*map(int, numbers), *path)
        print(json.dumps({"epochs": epochs, "peak_gb": peak_gb()}))
        sys.exit()
    if arguments.only != "streaming":
        repeats = arguments.repeats or (5 if arguments.full else 2)
        compare_throughput(arguments.python, repeats, n_rows=4096)
    if arguments.only != "throughput":
        n_rows = 50_000 if arguments.full else 6_000
        compare_streaming(n_rows, repeats=2, with_noise=arguments.full)
