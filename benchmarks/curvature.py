"""Posteriors of the full-size network of stellar labels: time, memory and rate of error bars.

    python benchmarks/curvature.py                      about six minutes on two cores
    python benchmarks/curvature.py --python PYTHON      beside laplace-torch and curvlinops

Every measurement is a process of its own on the same cores. Beside each stands the number of cores
that the process really had: where it is far below that of the machine, something else was running.
The rate of predictive covariances is compared with what the peak of a product of matrices, measured
in the same process just before and after, allows for the operations counted in `operations`.
PyTorch, laplace-torch and curvlinops are no dependencies of starstack; ``--python`` names an
interpreter that has them. It is given few spectra: laplace-torch forms a Jacobian of 211 MB for
each. With it, predictive covariances of a small network are compared with laplace-torch's as well.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np

PIXELS, LABELS = 7213, 3
UNITS = (2048, 1024, 512, 256, 128, 32)
WIDTHS = (PIXELS, *UNITS, LABELS)
NOISE, PRIOR = 0.5, 100.0
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
    return total


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Return seconds, and the number of busy cores."""
    started, cpu = time.perf_counter(), time.process_time()
    run()
    seconds = time.perf_counter() - started
    return seconds, (time.process_time() - cpu) / seconds


def matmul_rate(repeats: int = 3) -> float:
    """Return the rate of a square product in single precision, in operations per second."""
    import tensorflow as tf

    n = 4096
    a = tf.random.normal((n, n))
    product = tf.function(lambda a: tf.reduce_sum(tf.matmul(a, a)), autograph=False)
    product(a)
    return max(2 * n**3 / timed(lambda: product(a).numpy())[0] for _ in range(repeats))


def ours(structure: str, n_rows: int, n_predicted: int) -> dict:
    import keras

    from starstack.autodiff.batches import Batches
    from starstack.curvature.structures import laplace

    keras.utils.set_random_seed(1)
    layers = [keras.layers.Dense(n, "relu", kernel_initializer="he_normal") for n in UNITS]
    model = keras.Sequential([keras.Input((PIXELS,)), *layers, keras.layers.Dense(LABELS)])
    X, y = spectra(n_rows)
    found = {}

    def fit() -> None:
        posterior = laplace(
            model, Batches(X, y), structure=structure, noise=NOISE, prior_precision=PRIOR
        )
        found["posterior"] = posterior
        # All that a prediction needs: the bases of the outputs' factors are found when asked for.
        found["logdet"] = posterior.log_determinant()

    seconds, cores = timed(fit)
    fit_gb = peak_gb()
    at, _ = spectra(n_predicted, seed=1)
    predict = found["posterior"].predictive_covariance
    predict(at[:256])  # compiles
    peak = matmul_rate()
    runs = [timed(lambda: predict(at)) for _ in range(3)]
    peak = max(peak, matmul_rate())
    fastest, predict_cores = min(runs)
    rate = n_predicted / fastest
    counted = operations(n_rows, structure)
    return {
        "fit": seconds,
        "fit_cores": cores,
        "fit_gb": fit_gb,
        "rate": rate,
        "predict_cores": predict_cores,
        "peak_gb": peak_gb(),
        "mega_operations": counted / 1e6,
        "matmul_peak": peak / 1e9,
        "share_of_peak": rate * counted / peak,
    }


def torch_network():
    import torch

    torch.manual_seed(1)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    layers = []
    for before, after in pairwise((PIXELS, *UNITS)):
        layers += [torch.nn.Linear(before, after), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(UNITS[-1], LABELS))


def torch_data(n_rows: int):
    import torch

    return tuple(torch.from_numpy(array) for array in spectra(n_rows))


def laplace_torch(structure: str, n_rows: int, n_predicted: int) -> dict:
    import torch
    from laplace import Laplace

    model, (X, y) = torch_network(), torch_data(n_rows)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, y), batch_size=128)
    posterior = Laplace(
        model,
        "regression",
        subset_of_weights="all",
        hessian_structure={"kfac": "kron", "diagonal": "diag"}[structure],
        sigma_noise=NOISE,
        prior_precision=PRIOR,
    )
    seconds, cores = timed(lambda: posterior.fit(loader))
    fit_gb = peak_gb()
    predicted, _ = timed(lambda: [posterior(X[i : i + 1]) for i in range(n_predicted)])
    return {
        "fit": seconds,
        "fit_cores": cores,
        "fit_gb": fit_gb,
        "rate": n_predicted / predicted,
        "peak_gb": peak_gb(),
    }


def curvlinops(structure: str, n_rows: int, n_predicted: int) -> dict:
    """KFAC and its damped inverse, applied to the rows of each spectrum's Jacobian."""
    import torch
    from curvlinops import KFACInverseLinearOperator, KFACLinearOperator

    model, (X, y) = torch_network(), torch_data(n_rows)
    params = list(model.parameters())
    found = {}

    def fit() -> None:
        loss = torch.nn.MSELoss(reduction="sum")
        operator = KFACLinearOperator(model, loss, params, [(X, y)], fisher_type="type-2")
        found["inverse"] = KFACInverseLinearOperator(
            operator, damping=PRIOR * NOISE**2, use_exact_damping=True
        )

    seconds, cores = timed(fit)
    fit_gb = peak_gb()

    def predict() -> None:
        for row in range(n_predicted):
            outputs = model(X[row : row + 1])[0]
            rows = [torch.autograd.grad(value, params, retain_graph=True) for value in outputs]
            J = torch.stack([torch.cat([part.flatten() for part in parts]) for parts in rows])
            J @ (found["inverse"] @ J.T.contiguous())

    predicted, _ = timed(predict)
    return {
        "fit": seconds,
        "fit_cores": cores,
        "fit_gb": fit_gb,
        "rate": n_predicted / predicted,
        "peak_gb": peak_gb(),
    }


# What it is called, the packages it needs, how it is measured.
METHODS: dict[str, tuple[str, tuple[str, ...], Callable[..., dict]]] = {
    "ours": ("starstack", (), ours),
    "laplace": ("laplace-torch", ("torch", "laplace"), laplace_torch),
    "curvlinops": ("curvlinops", ("torch", "curvlinops"), curvlinops),
}

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


def small_theirs(problem: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    import torch
    from laplace import Laplace
    from laplace.curvature import CurvlinopsGGN

    torch.set_default_dtype(torch.float64)
    X, y, at = (torch.from_numpy(problem[name]) for name in ("X", "y", "at"))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, y), batch_size=60)
    found = {}
    for structure, theirs in COMPARED.items():
        bias, layers = structure != "kfac", []
        for number, (n_in, n_out) in enumerate(pairwise(SMALL)):
            linear = torch.nn.Linear(n_in, n_out, bias=bias)
            linear.weight.data = torch.from_numpy(problem[f"kernel{number}"].T.copy())
            if bias:
                linear.bias.data = torch.from_numpy(problem[f"bias{number}"].copy())
            layers += [linear, torch.nn.Tanh()]
        model = torch.nn.Sequential(*layers[:-1])
        last = theirs == "last_layer"
        posterior = Laplace(
            model,
            "regression",
            subset_of_weights="last_layer" if last else "all",
            hessian_structure="full" if last else theirs,
            sigma_noise=0.3,
            prior_precision=0.7,
            backend=CurvlinopsGGN,
        )
        posterior.fit(loader)
        _, variance = posterior(at)
        found[structure] = variance.detach().numpy()
    return found


def in_process(python: str, *arguments: str) -> str:
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    # Libraries choose their own number of threads, as they do where nothing is set.
    environment.pop("OMP_NUM_THREADS", None)
    command = [python, __file__, *arguments]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"{' '.join(command)}: {ran.stderr[-3000:]}")
    return ran.stdout


def measure(name: str, python: str, structure: str, n_rows: int, n_predicted: int) -> dict:
    numbers = map(str, (n_rows, n_predicted))
    return json.loads(in_process(python, "--measure", name, structure, *numbers).splitlines()[-1])


def has(python: str, packages: tuple[str, ...]) -> bool:
    code = (
        "import sys; from importlib.util import find_spec; "
        f"sys.exit(not all(map(find_spec, {packages!r})))"
    )
    return subprocess.run([python, "-c", code]).returncode == 0


def show(title: str, structure: str, n_rows: int, found: dict) -> None:
    print(
        f"{title:14} {structure:9} {n_rows:6,} rows  fit {found['fit']:7.1f} s "
        f"({found['fit_cores']:.1f} cores, {found['fit_gb']:.2f} GB)  "
        f"{found['rate']:9.2f} covariances/s  peak {found['peak_gb']:.2f} GB"
    )
    if "share_of_peak" in found:
        print(
            f"{'':14} {found['mega_operations']:.0f} million operations each: "
            f"{found['share_of_peak']:.2f} of {found['matmul_peak']:.0f} GFLOP/s, the peak of a "
            f"product of matrices ({found['predict_cores']:.1f} cores)"
        )


def compare_speed(python: str, structures: list[str], n_rows: int, n_small: int) -> None:
    for structure in structures:
        found = measure("ours", sys.executable, structure, n_rows, 1024)
        show("starstack", structure, n_rows, found)
        if structure == "kfac" and n_rows == 4000:
            reached = [
                ("fit", found["fit"] <= GOAL_SECONDS),
                ("memory", found["fit_gb"] <= GOAL_GB),
                ("rate", found["share_of_peak"] >= GOAL_SHARE),
            ]
            print(", ".join(f"{name} {'reached' if yes else 'MISSED'}" for name, yes in reached))
        peers = [name for name, (_, needs, _) in METHODS.items() if needs and has(python, needs)]
        rates = []
        for name in peers:
            if name == "curvlinops" and structure != "kfac":
                continue
            theirs = measure(name, python, structure, n_small, 2)
            show(METHODS[name][0], structure, n_small, theirs)
            rates.append(theirs["rate"])
            print(f"{'':14} ours {found['rate'] / theirs['rate']:,.0f} times the rate")


def compare_values(python: str) -> None:
    if not has(python, ("torch", "laplace")):
        print("values: laplace-torch is not there (give --python); not compared")
        return
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / name) for name in ("problem.npz", "ours.npz", "theirs.npz")]
        np.savez(paths[0], **small_problem())
        in_process(sys.executable, "--values", "ours", *paths[:2])
        in_process(python, "--values", "theirs", paths[0], paths[2])
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
    parser.add_argument("--only", choices=("values", "speed"), help="one of the two parts")
    parser.add_argument("--measure", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--values", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        name, structure, *numbers = arguments.measure
        print(json.dumps(METHODS[name][2](structure, *map(int, numbers))))
    elif arguments.values:
        who, read, written = arguments.values
        with np.load(read) as problem:
            compute = small_ours if who == "ours" else small_theirs
            np.savez(written, **compute(dict(problem)))
    else:
        if arguments.only != "speed":
            compare_values(arguments.python)
        if arguments.only != "values":
            compare_speed(
                arguments.python, arguments.structures, arguments.rows, arguments.rows_of_peers
            )
