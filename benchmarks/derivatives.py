"""Gradient, Hessian-vector and Gauss–Newton-vector products of the network of stellar labels.

    python benchmarks/derivatives.py              about three minutes on two cores
    python benchmarks/derivatives.py --python /path/to/python   beside JAX, PyTorch and curvlinops

Every measurement is a process of its own on the same cores; methods take turns. Within a process
gradient and products take turns too, and the ratio is the median over the turns: what else runs on
the machine moves both. Beside seconds of the clock stand seconds of the processor, which a
disturbance moves less. ``starstack`` is measured from NumPy's float64 vectors to NumPy's float64
vectors (17.6 million weights: 70 MB to and fro); all others from their own tensors to their own.

Where the time goes: of the products of matrices the gradient needs two per first layer (84 % of the
weights) and three per other layer, the Hessian-vector product three and eight, so that counting
operations alone the ratio is 1.76; passing over the weights and activations costs both the same.
At weights that stay, as within a step of a Newton method, two and six are left (``FixedHessian``,
which keeps what the vector does not enter): 1.22.
"""

import argparse
import json
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
    WIDTHS,
    has,
    jax_outputs,
    keras_model,
    own_threads,
    torch_model,
    weights,
)

BATCH = 256
# Time of a Hessian-vector product relative to a gradient.
MOST = 1.7


def spectra() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = 1 + 0.05 * rng.standard_normal((BATCH, PIXELS), dtype=np.float32)
    return X, rng.standard_normal((BATCH, LABELS), dtype=np.float32)


def vector() -> np.ndarray:
    rng = np.random.default_rng(2)
    return rng.standard_normal(sum(a * b + b for a, b in pairwise(WIDTHS)))


def ours(jit_compile: bool | None = None) -> dict[str, Callable]:
    from starstack.autodiff.fixed_hessian import FixedHessian
    from starstack.autodiff.products import Products

    products, v = Products(keras_model(), "mse", spectra(), jit_compile=jit_compile), vector()
    fixed = FixedHessian(products)
    return {
        "gradient": products.gradient,
        "hessian": lambda: products.hessian_vector_product(v),
        "gauss_newton": lambda: products.gauss_newton_vector_product(v),
        "fixed": lambda: fixed(v),
    }


def tensors() -> dict[str, Callable]:
    """Return what ours compiles, from tensors to tensors and without XLA."""
    import tensorflow as tf

    from starstack.autodiff.flat import FlatParameters
    from starstack.autodiff.inference import inference_function
    from starstack.autodiff.kernels import Kernels
    from starstack.autodiff.losses import resolve_loss

    model = keras_model()
    flat = FlatParameters(model)
    kernels = Kernels(inference_function(model), resolve_loss("mse"), tuple(flat.variables))
    v = [tf.constant(part, dtype=tf.float32) for part in flat.unpack(vector())]
    data = (*map(tf.constant, spectra()), tf.ones(BATCH))
    names = {"gradient": (), "hessian_product": (v,), "gauss_newton_product": (v,)}
    compiled = {n: tf.function(getattr(kernels, n), autograph=False) for n in names}
    return {
        name.removesuffix("_product"): lambda name=name: compiled[name](*data, *names[name])
        for name in names
    }


def forward_over_reverse() -> dict[str, Callable]:
    import tensorflow as tf

    model = keras_model()
    variables = [variable.value for variable in model.trainable_variables]
    X, y = map(tf.constant, spectra())
    ends = np.cumsum([0, *(variable.shape.num_elements() for variable in variables)])
    v = [
        tf.constant(vector()[a:b].reshape(variable.shape), dtype=tf.float32)
        for (a, b), variable in zip(pairwise(ends), variables, strict=True)
    ]

    def gradient():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(X, training=False) - y) ** 2)
        return tape.gradient(loss, variables)

    def product():
        with tf.autodiff.ForwardAccumulator(variables, v) as forward:
            slopes = gradient()
        return forward.jvp(slopes)

    return {"gradient": tf.function(gradient, jit_compile=True), "hessian": tf.function(product)}


def in_jax() -> dict[str, Callable]:
    import jax
    import jax.numpy as jnp

    X, y = map(jnp.asarray, spectra())
    theta = [jnp.asarray(part) for part in weights()]
    ends = np.cumsum([0, *(part.size for part in theta)])
    v = [
        jnp.asarray(vector()[a:b].reshape(part.shape), dtype=jnp.float32)
        for (a, b), part in zip(pairwise(ends), theta, strict=True)
    ]

    def outputs(theta):
        return jax_outputs(X, theta)

    def loss(theta):
        return jnp.mean((outputs(theta) - y) ** 2)

    def gauss_newton(theta, v):
        z, Jv = jax.jvp(outputs, (theta,), (v,))
        return jax.vjp(outputs, theta)[1](2 / z.size * Jv)[0]

    gradient = jax.jit(jax.grad(loss))
    hessian = jax.jit(lambda theta, v: jax.jvp(jax.grad(loss), (theta,), (v,))[1])
    gauss_newton = jax.jit(gauss_newton)
    wait = jax.block_until_ready
    return {
        "gradient": lambda: wait(gradient(theta)),
        "hessian": lambda: wait(hessian(theta, v)),
        "gauss_newton": lambda: wait(gauss_newton(theta, v)),
    }


def in_torch() -> dict[str, Callable]:
    import torch

    model, (X, y) = torch_model(), map(torch.from_numpy, spectra())
    theta = list(model.parameters())
    v = [torch.randn_like(part) for part in theta]

    def gradient(create_graph: bool = False):
        loss = torch.nn.functional.mse_loss(model(X), y)
        return torch.autograd.grad(loss, theta, create_graph=create_graph)

    return {
        "gradient": gradient,
        "hessian": lambda: torch.autograd.grad(gradient(create_graph=True), theta, v),
    }


def in_curvlinops() -> dict[str, Callable]:
    import torch
    from curvlinops import GGNLinearOperator, HessianLinearOperator

    model, data = torch_model(), tuple(map(torch.from_numpy, spectra()))
    arguments = (model, torch.nn.MSELoss(), list(model.parameters()), [data])
    options = {"check_deterministic": False}
    hessian = HessianLinearOperator(*arguments, **options)
    gauss_newton = GGNLinearOperator(*arguments, **options)
    v = torch.randn(hessian.shape[0])
    return {
        "gradient": in_torch()["gradient"],
        "hessian": lambda: hessian @ v,
        "gauss_newton": lambda: gauss_newton @ v,
    }


# What it is called, the packages it needs, and what is measured.
METHODS: dict[str, tuple[str, tuple[str, ...], Callable[[], dict[str, Callable]]]] = {
    "ours": ("starstack", (), ours),
    "tensors": ("starstack, tensors only", (), tensors),
    "ours_xla": ("starstack by XLA", (), lambda: ours(jit_compile=True)),
    "forward": ("TensorFlow, forward over reverse", (), forward_over_reverse),
    "jax": ("JAX, forward over reverse", ("jax",), in_jax),
    "torch": ("PyTorch, reverse over reverse", ("torch",), in_torch),
    "curvlinops": ("curvlinops", ("curvlinops",), in_curvlinops),
}
WHAT = ("gradient", "hessian", "gauss_newton", "fixed")


def timed(functions: dict[str, Callable], turns: int) -> dict[str, list[tuple[float, float]]]:
    """Return seconds of the clock and of the processor of each function, turn by turn."""
    for function in functions.values():
        function()
        function()
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in functions}
    for _ in range(turns):
        for name, function in functions.items():
            started, cpu = time.perf_counter(), time.process_time()
            function()
            found[name].append((time.perf_counter() - started, time.process_time() - cpu))
    return found


def measure(name: str, python: str, turns: int) -> dict:
    """Run one measurement in a process of its own."""
    command = [python, __file__, "--measure", name, "--turns", str(turns)]
    ran = subprocess.run(command, env=own_threads(), capture_output=True, text=True)
    if ran.returncode:
        raise SystemExit(f"{' '.join(command)}: {ran.stderr}")
    return json.loads(ran.stdout.splitlines()[-1])


def compare(python: str, repeats: int, turns: int) -> None:
    present = [name for name, (_, needs, _) in METHODS.items() if has(python, *needs)]
    found: dict[str, list[dict]] = {name: [] for name in present}
    for _ in range(repeats):
        for name in present:
            interpreter = python if METHODS[name][1] else sys.executable
            found[name].append(measure(name, interpreter, turns))
    print(f"{'-'.join(map(str, WIDTHS))}, batch {BATCH}: seconds of the clock (of the processor)")
    print(
        f"  {'':33}gradient       Hessian        Gauss–Newton   weights stay   Hessian / gradient"
    )
    for name, (title, _, _) in METHODS.items():
        if name not in present:
            print(f"  {title:32} skipped: not installed")
            continue
        line = f"  {title:32}"
        for what in WHAT:
            times = [pair for one in found[name] for pair in one.get(what, [])]
            if times:
                wall, cpu = (statistics.median(column) for column in zip(*times, strict=True))
                line += f" {wall:.3f} ({cpu:.3f}) "
            else:
                line += f" {'–':14}"
        print(line + f" {ratio(found[name], 0):.2f} ({ratio(found[name], 1):.2f})", flush=True)
    for name, what in (("ours", "hessian"), ("tensors", "hessian"), ("ours", "fixed")):
        clock, processor = (ratio(found[name], which, what) for which in (0, 1))
        answer = "yes" if clock <= MOST else "NO"
        title = METHODS[name][0] + (", weights stay" if what == "fixed" else "")
        print(
            f"  {title}: Hessian / gradient {clock:.2f} of the clock (at most {MOST}): {answer}; "
            f"{processor:.2f} of the processor"
        )


def ratio(measured: list[dict], which: int, what: str = "hessian") -> float:
    """Return the median over the turns of a product's time over the gradient's."""
    return statistics.median(
        product[which] / gradient[which]
        for one in measured
        for gradient, product in zip(one["gradient"], one[what], strict=True)
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", default=sys.executable, help="interpreter with torch, jax")
    parser.add_argument("--repeats", type=int, default=2, help="processes per method")
    parser.add_argument("--turns", type=int, default=7, help="of each function in a process")
    parser.add_argument("--measure", choices=METHODS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(timed(METHODS[arguments.measure][2](), arguments.turns)))
        sys.exit()
    compare(arguments.python, arguments.repeats, arguments.turns)
