"""Gradient, Hessian and Gauss–Newton products by torch.func and JAX, for test_other_libraries.py.

Run as ``python peer_products.py torch|jax loss data.npz result.npz``, by an interpreter that has
the library and NumPy; neither Keras nor pytest is needed.
"""

import sys

import numpy as np


def flat(parts):
    return np.concatenate([np.asarray(part).reshape(-1) for part in parts])


def by_torch(loss, x, y, weights, vectors):
    import torch

    x, y = torch.from_numpy(x), torch.from_numpy(y)
    theta, v = (tuple(map(torch.from_numpy, parts)) for parts in (weights, vectors))

    def outputs(theta):
        h = torch.tanh(x @ theta[0] + theta[1])
        return torch.relu(h @ theta[2] + theta[3]) @ theta[4] + theta[5]

    def of_outputs(z):
        if loss == "mse":
            return ((z - y) ** 2).mean()
        return -(y * torch.log_softmax(z, dim=1)).sum() / len(x)

    gradient = torch.func.grad(lambda theta: of_outputs(outputs(theta)))
    slopes, Hv = torch.func.jvp(gradient, (theta,), (v,))
    z, Jv = torch.func.jvp(outputs, (theta,), (v,))
    curved = torch.func.jvp(torch.func.grad(of_outputs), (z,), (Jv,))[1]
    return flat(slopes), flat(Hv), flat(torch.func.vjp(outputs, theta)[1](curved)[0])


def by_jax(loss, x, y, weights, vectors):
    import jax

    jax.config.update("jax_enable_x64", True)

    def outputs(theta):
        h = jax.numpy.tanh(x @ theta[0] + theta[1])
        return jax.nn.relu(h @ theta[2] + theta[3]) @ theta[4] + theta[5]

    def of_outputs(z):
        if loss == "mse":
            return ((z - y) ** 2).mean()
        return -(y * jax.nn.log_softmax(z)).sum() / len(x)

    gradient = jax.grad(lambda theta: of_outputs(outputs(theta)))
    slopes, Hv = jax.jvp(gradient, (weights,), (vectors,))
    z, Jv = jax.jvp(outputs, (weights,), (vectors,))
    curved = jax.jvp(jax.grad(of_outputs), (z,), (Jv,))[1]
    return flat(slopes), flat(Hv), flat(jax.vjp(outputs, weights)[1](curved)[0])


if __name__ == "__main__":
    library, loss, source, result = sys.argv[1:]
    with np.load(source) as data:
        weights, vectors = (
            [data[f"{kind}_{number}"] for number in range(6)] for kind in ("weights", "vectors")
        )
        found = {"torch": by_torch, "jax": by_jax}[library](
            loss, data["x"], data["y"], weights, vectors
        )
    np.savez(result, gradient=found[0], hessian=found[1], gauss_newton=found[2])
