"""The same products from torch.func and from JAX on the same weights, where these are installed.

Closed forms and differences, in the other files, need neither. The others run in a process of
their own: PyTorch 2.15 and TensorFlow 2.20 in one process end in a segmentation fault.
"""

import json
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise

import numpy as np
import pytest

RNG = np.random.default_rng(0)
N, WIDTHS = 21, (5, 7, 6, 3)
X = RNG.normal(size=(N, WIDTHS[0]))
CODES = RNG.integers(0, WIDTHS[-1], N)
TARGETS = {"mse": RNG.normal(size=(N, WIDTHS[-1])), "categorical_crossentropy": np.eye(3)[CODES]}
WEIGHTS = [
    part
    for n_in, n_out in pairwise(WIDTHS)
    for part in (RNG.normal(size=(n_in, n_out)) / np.sqrt(n_in), 0.1 * RNG.normal(size=n_out))
]
V = [RNG.normal(size=part.shape) for part in WEIGHTS]


def flat(parts):
    return np.concatenate([np.asarray(part).reshape(-1) for part in parts])


def ours(loss):
    import keras

    from starstack.autodiff.batches import Batches
    from starstack.autodiff.products import Products

    last = "softmax" if "cross" in loss else None
    layers = [
        keras.layers.Dense(WIDTHS[1], "tanh", dtype="float64"),
        keras.layers.Dense(WIDTHS[2], "relu", dtype="float64"),
        keras.layers.Dense(WIDTHS[3], last, dtype="float64"),
    ]
    model = keras.Sequential([keras.Input((WIDTHS[0],), dtype="float64"), *layers])
    model.set_weights(WEIGHTS)
    products = Products(model, loss, Batches(X, TARGETS[loss], batch_size=8), jit_compile=False)
    v = products.parameters.pack(V)
    return (
        products.gradient(),
        products.hessian_vector_product(v),
        products.gauss_newton_vector_product(v),
    )


def by_torch(loss):
    import torch

    x, y = torch.from_numpy(X), torch.from_numpy(TARGETS[loss])
    theta, v = (tuple(map(torch.from_numpy, parts)) for parts in (WEIGHTS, V))

    def outputs(theta):
        h = torch.tanh(x @ theta[0] + theta[1])
        return torch.relu(h @ theta[2] + theta[3]) @ theta[4] + theta[5]

    def of_outputs(z):
        if loss == "mse":
            return ((z - y) ** 2).mean()
        return -(y * torch.log_softmax(z, dim=1)).sum() / N

    gradient = torch.func.grad(lambda theta: of_outputs(outputs(theta)))
    slopes, Hv = torch.func.jvp(gradient, (theta,), (v,))
    z, Jv = torch.func.jvp(outputs, (theta,), (v,))
    curved = torch.func.jvp(torch.func.grad(of_outputs), (z,), (Jv,))[1]
    return flat(slopes), flat(Hv), flat(torch.func.vjp(outputs, theta)[1](curved)[0])


def by_jax(loss):
    import jax

    jax.config.update("jax_enable_x64", True)
    y = TARGETS[loss]

    def outputs(theta):
        h = jax.numpy.tanh(X @ theta[0] + theta[1])
        return jax.nn.relu(h @ theta[2] + theta[3]) @ theta[4] + theta[5]

    def of_outputs(z):
        if loss == "mse":
            return ((z - y) ** 2).mean()
        return -(y * jax.nn.log_softmax(z)).sum() / N

    gradient = jax.grad(lambda theta: of_outputs(outputs(theta)))
    slopes, Hv = jax.jvp(gradient, (WEIGHTS,), (V,))
    z, Jv = jax.jvp(outputs, (WEIGHTS,), (V,))
    curved = jax.jvp(jax.grad(of_outputs), (z,), (Jv,))[1]
    return flat(slopes), flat(Hv), flat(jax.vjp(outputs, WEIGHTS)[1](curved)[0])


THEIRS = {"torch": by_torch, "jax": by_jax}


@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize("library", THEIRS)
def test_gradient_hessian_and_gauss_newton_products(library, loss):
    if find_spec(library) is None:
        pytest.skip(f"{library} is no dependency of starstack, and is not installed")
    command = [sys.executable, __file__, library, loss]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    for found, expected in zip(ours(loss), json.loads(ran.stdout), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-13)


if __name__ == "__main__":
    print(json.dumps([part.tolist() for part in THEIRS[sys.argv[1]](sys.argv[2])]))
