"""The full-size network of stellar labels, with the same weights in each library."""

import os
import subprocess
from itertools import pairwise

import numpy as np

PIXELS, LABELS = 7213, 3
UNITS = (2048, 1024, 512, 256, 128, 32)
WIDTHS = (PIXELS, *UNITS, LABELS)


def weights() -> list[np.ndarray]:
    """Return kernel and bias of each layer in turn."""
    rng = np.random.default_rng(1)
    parts = []
    for n_in, n_out in pairwise(WIDTHS):
        parts.append(rng.standard_normal((n_in, n_out), dtype=np.float32) * (2 / n_in) ** 0.5)
        parts.append(np.zeros(n_out, dtype=np.float32))
    return parts


def keras_model():
    import keras

    layers = [keras.layers.Dense(n, "relu") for n in UNITS]
    model = keras.Sequential([keras.Input((PIXELS,)), *layers, keras.layers.Dense(LABELS)])
    model.set_weights(weights())
    return model


def torch_model():
    import torch

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    layers = []
    for n_in, n_out in pairwise(WIDTHS):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for parameter, part in zip(model.parameters(), weights(), strict=True):
            parameter.copy_(torch.from_numpy(part.T))
    return model


def jax_outputs(x, theta):
    """Return the outputs of rows, or of one row, for the weights as `weights` has them."""
    import jax

    for place in range(0, len(theta), 2):
        x = x @ theta[place] + theta[place + 1]
        x = jax.nn.relu(x) if place < len(theta) - 2 else x
    return x


def own_threads() -> dict[str, str]:
    """Return an environment in which libraries choose their own number of threads.

    As they do where nothing is set; Snakemake, for one, sets it.
    """
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("OMP_NUM_THREADS", None)
    return environment


def has(python: str, *packages: str) -> bool:
    """Whether an interpreter has some packages."""
    code = (
        "import sys; from importlib.util import find_spec; "
        f"sys.exit(not all(map(find_spec, {packages!r})))"
    )
    return subprocess.run([python, "-c", code]).returncode == 0
