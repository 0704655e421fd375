"""The same products from torch.func and from JAX on the same weights, where these are installed.

``STARSTACK_PEER_PYTHON`` names the interpreter that has PyTorch or JAX, by default this one; the
library and NumPy are all it needs. Closed forms and differences, in the other files, need neither.
The others run in a process of their own: PyTorch 2.15 and TensorFlow 2.20 in one process end in a
segmentation fault.
"""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

PYTHON = os.environ.get("STARSTACK_PEER_PYTHON", sys.executable)
SCRIPT = Path(__file__).with_name("peer_products.py")
HAS = "import sys, importlib.util as u; sys.exit(u.find_spec(sys.argv[1]) is None)"
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
    return {
        "gradient": products.gradient(),
        "hessian": products.hessian_vector_product(v),
        "gauss_newton": products.gauss_newton_vector_product(v),
    }


@pytest.mark.parametrize("loss", TARGETS)
@pytest.mark.parametrize("library", ["torch", "jax"])
def test_gradient_hessian_and_gauss_newton_products(library, loss, tmp_path):
    if subprocess.run([PYTHON, "-c", HAS, library]).returncode:
        pytest.skip(f"{PYTHON} has no {library}; STARSTACK_PEER_PYTHON may name one that has")
    data, result = tmp_path / "data.npz", tmp_path / "result.npz"
    parts = {f"weights_{number}": part for number, part in enumerate(WEIGHTS)}
    parts |= {f"vectors_{number}": part for number, part in enumerate(V)}
    np.savez(data, x=X, y=TARGETS[loss], **parts)
    command = [PYTHON, SCRIPT, library, loss, data, result]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    with np.load(result) as theirs:
        for name, found in ours(loss).items():
            np.testing.assert_allclose(found, theirs[name], rtol=1e-10, atol=1e-13)
