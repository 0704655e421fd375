"""How good an inverse Hessian do SciPy's minimisers leave behind?

    python benchmarks/optimization.py             about a minute

A dense network of 5 inputs, one hidden layer of 8 tanh units and 2 outputs (66 weights), with a
weight decay of 0.003 that makes its minimum strict, is fitted to 200 rows in float64. The estimate
of the inverse Hessian after some iterations is compared with the inverse of the exact Hessian where
that iteration stands, if it has one, and with that at the minimum. Variances are the diagonal.
"""

import argparse
import time

import numpy as np

N, INPUTS, HIDDEN, OUTPUTS, PENALTY = 200, 5, 8, 2, 3e-3


def network():
    import keras

    keras.utils.set_random_seed(0)
    l2 = keras.regularizers.L2(PENALTY)
    options = {"dtype": "float64", "kernel_regularizer": l2, "bias_regularizer": l2}
    layers = [keras.layers.Dense(HIDDEN, "tanh", **options), keras.layers.Dense(OUTPUTS, **options)]
    return keras.Sequential([keras.Input((INPUTS,), dtype="float64"), *layers])


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, INPUTS))
    y = np.stack([np.sin(X[:, 0]) + X[:, 1] * X[:, 2], np.tanh(X[:, 3]) - X[:, 4]], axis=1)
    return X, y + 0.1 * rng.standard_normal(y.shape)


def compare(iterations: tuple[int, ...], method: str) -> None:
    from starstack.autodiff.scipy_bridge import inverse_hessian_error, minimize
    from starstack.errors import InputError

    best = minimize(network(), "mse", data(), "trust-ncg", tol=1e-8)
    minimum = best.products.hessian_vector_product(np.eye(len(best.x)))
    smallest, *_, largest = np.linalg.eigvalsh(minimum)
    print(
        f"\n{method}: {len(best.x)} weights; eigenvalues at the minimum {smallest:.1e} to "
        f"{largest:.1e}"
    )
    print("               largest   ‖estimate − H⁻¹‖ / ‖H⁻¹‖   variance / true one at the minimum")
    print("  iterations   slope     here      at the minimum   median   worst       seconds")
    for most in iterations:
        started = time.perf_counter()
        options = {"maxiter": most, "gtol": 1e-7} | ({"ftol": 0.0} if "L-" in method else {})
        result = minimize(network(), "mse", data(), method, options=options)
        seconds = time.perf_counter() - started
        at_minimum = minimum
        if result.success:  # perhaps another minimum
            at_minimum = result.products.hessian_vector_product(np.eye(len(result.x)))
        final = inverse_hessian_error(result, at_minimum)
        try:
            here = f"{inverse_hessian_error(result).frobenius:.3f}"
        except InputError:
            here = "indefinite"
        slope = np.abs(result.jac).max()
        print(
            f"  {result.nit:<12} {slope:.1e}   {here:10} {final.frobenius:<14.3f} "
            f"{final.median_ratio:7.3f}   {final.worst_ratio:9.3g}   {seconds:6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args()
    for name in ("BFGS", "L-BFGS-B"):
        compare((1, 10, 100, 5000), name)
    for name in ("Newton-CG", "trust-ncg", "trust-krylov"):
        from starstack.autodiff.scipy_bridge import inverse_hessian_error, minimize

        result = minimize(network(), "mse", data(), name, tol=1e-7)
        print(
            f"\n{name}: {result.nit} iterations, loss {result.fun:.6g}, largest slope "
            f"{np.abs(result.jac).max():.1e}; inverse by conjugate gradients, relative error "
            f"{inverse_hessian_error(result).frobenius:.1e}"
        )
