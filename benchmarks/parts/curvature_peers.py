"""Posteriors by laplace-torch and curvlinops, as `curvature.py` measures them beside ours.

    cd benchmarks && PYTHON -m parts.curvature_peers laplace-torch kfac 512 2

PYTHON has PyTorch and the library. After the fit and after the predictions a line of JSON is
printed, so that what was measured before a time limit is not lost.
"""

import argparse
import json
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from curvature import COMPARED, NOISE, PRIOR, SMALL, peak_gb, spectra, timed
from parts.label_network import torch_model


def data(n_rows: int):
    import torch

    return tuple(torch.from_numpy(array) for array in spectra(n_rows))


def report(fit: Callable[[], None], predict: Callable[[np.ndarray], np.ndarray], n: int) -> None:
    """Measure a fit, and predictions of single spectra: several at once do not fit in memory."""
    seconds, processor = timed(fit)
    found = {"fit": seconds, "fit_cpu": processor, "peak_gb": peak_gb()}
    print(json.dumps(found), flush=True)
    at, _ = spectra(n, seed=1)
    covariances: list[np.ndarray] = []

    def run() -> None:
        covariances.extend(predict(at[row : row + 1]) for row in range(n))

    seconds, processor = timed(run)
    found |= {
        "predict": seconds / n,
        "predict_cpu": processor / n,
        "peak_gb": peak_gb(),
        "sigma": [np.sqrt(np.diag(c.reshape(3, 3))).tolist() for c in covariances],
    }
    print(json.dumps(found), flush=True)


def laplace_torch(structure: str, n_rows: int, n_predicted: int) -> None:
    import torch
    from laplace import Laplace

    dataset = torch.utils.data.TensorDataset(*data(n_rows))
    loader = torch.utils.data.DataLoader(dataset, batch_size=128)
    posterior = Laplace(
        torch_model(),
        "regression",
        subset_of_weights="all",
        hessian_structure={"kfac": "kron", "diagonal": "diag"}[structure],
        sigma_noise=NOISE,
        prior_precision=PRIOR,
    )

    def predict(x: np.ndarray) -> np.ndarray:
        return posterior(torch.from_numpy(x))[1].detach().numpy()

    report(lambda: posterior.fit(loader), predict, n_predicted)


def curvlinops(structure: str, n_rows: int, n_predicted: int) -> None:
    """KFAC and its damped inverse, applied to the rows of each spectrum's Jacobian."""
    import torch
    from curvlinops import KFACInverseLinearOperator, KFACLinearOperator

    model, (X, y) = torch_model(), data(n_rows)
    params = list(model.parameters())
    found = {}

    def fit() -> None:
        # The Hessian of this loss is 2 JᵀJ, that of the posterior JᵀJ / σ² + δ.
        loss = torch.nn.MSELoss(reduction="sum")
        operator = KFACLinearOperator(model, loss, params, [(X, y)], fisher_type="type-2")
        found["inverse"] = KFACInverseLinearOperator(
            operator, damping=2 * PRIOR * NOISE**2, use_exact_damping=True
        )

    def predict(x: np.ndarray) -> np.ndarray:
        outputs = model(torch.from_numpy(x))[0]
        rows = [torch.autograd.grad(value, params, retain_graph=True) for value in outputs]
        J = torch.stack([torch.cat([part.flatten() for part in parts]) for parts in rows])
        return 2 * NOISE**2 * (J @ (found["inverse"] @ J.T.contiguous())).numpy()

    report(fit, predict, n_predicted)


def small(problem: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return predictive covariances of the small network by laplace-torch."""
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


LIBRARIES: dict[str, Callable[[str, int, int], None]] = {
    "laplace-torch": laplace_torch,
    "curvlinops": curvlinops,
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("library", choices=[*LIBRARIES, "small"])
    parser.add_argument("arguments", nargs="+", help="structure, rows, predictions; or two files")
    given = parser.parse_args()
    if given.library == "small":
        read, written = given.arguments
        with np.load(read) as problem:
            np.savez(written, **small(dict(problem)))
    else:
        structure, *numbers = given.arguments
        LIBRARIES[given.library](structure, *map(int, numbers))
