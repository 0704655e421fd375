"""A network small enough for its exact curvature, to compare the structures with it.

It sees the leading principal components of the rows, standardised, and predicts the same labels.
"""

from dataclasses import replace

import numpy as np

from starstack.curvature.hyperparameters import residual_noise
from starstack.curvature.posterior import Posterior
from starstack.curvature.structures import laplace
from starstack.data.dataset import Dataset
from starstack.networks.holdout import validation_rows
from starstack.networks.options import TrainingOptions
from starstack.networks.persistence import FittedNetwork
from starstack.networks.training import train_network
from starstack.seeds import derive_seed
from starstack.uncertainty.network_rows import draw_rows, read_blocks, scaled_batches

STRUCTURES = ("block", "ekfac", "kfac", "last_layer", "diagonal", "low_rank")
COMPONENTS, UNITS, ROWS = 12, (12, 8), 2000
OPTIONS = TrainingOptions(
    epochs=30,
    batch_size=64,
    learning_rate=0.01,
    schedule="cosine",
    scale_inputs="per_feature",
    validation_fraction=0.2,
)


def components_of(dataset: Dataset, rows: np.ndarray, *, seed: int) -> Dataset:
    """Return some rows as a data set in memory, their features the leading components."""
    from sklearn.utils.extmath import randomized_svd

    X = read_blocks(dataset, "X", rows)
    X = X.reshape(len(X), -1) - X.reshape(len(X), -1).mean(axis=0, dtype=float)
    rank = min(COMPONENTS, *X.shape)
    left, singular, _ = randomized_svd(X, n_components=rank, random_state=seed)
    found = (left * singular).astype(np.float64)
    weight, group = dataset.sample_weight, dataset.group
    return replace(
        dataset,
        X=found,
        y=dataset.y[rows],
        row_id=dataset.row_id[rows],
        feature_names=tuple(f"component-{number}" for number in range(1, found.shape[1] + 1)),
        group=None if group is None else group[rows],
        time=None,
        sample_weight=None if weight is None else weight[rows],
        X_error=None,
        X_noiseless=None,
        wavelength=None,
        noise_correlation=None,
        row_values={},
        table_sha256={},
    )


def fit_small(
    dataset: Dataset, train_rows: np.ndarray, *, seed: int
) -> tuple[FittedNetwork, Dataset, dict[str, Posterior]]:
    """Train a small network, and approximate its posterior in every structure and exactly.

    Parameters
    ----------
    dataset : Dataset
        Of a regression.
    train_rows : ndarray of int
        Training rows; at most `ROWS` of them are used.
    seed : int

    Returns
    -------
    network : FittedNetwork
    components : Dataset
        What it was trained on.
    posteriors : dict of str to Posterior
        By structure, the exact one among them; of the same σ, and δ = 1.
    """
    rows = draw_rows(train_rows, ROWS, seed)
    components = components_of(dataset, rows, seed=seed)
    everything, own = np.arange(len(rows)), derive_seed(seed, "small network")
    network, _ = train_network(
        components,
        everything,
        OPTIONS,
        build="dense",
        build_params={"units": list(UNITS), "activation": "tanh"},
        seed=own,
    )
    fit, held_out = validation_rows(components, everything, OPTIONS.validation_fraction, own)
    data = scaled_batches(network, components, fit, fitted=fit)
    noise = residual_noise(network.model, scaled_batches(network, components, held_out))
    # Half of the directions; the others have the prior's precision alone.
    options = {"low_rank": {"rank": network.model.count_params() // 2, "seed": seed}}
    posteriors = {
        name: laplace(network.model, data, structure=name, noise=noise, **options.get(name, {}))
        for name in ("exact", *STRUCTURES)
    }
    return network, components, posteriors


def rows_to_predict(network: FittedNetwork, components: Dataset, n: int, seed: int) -> np.ndarray:
    """Draw rows, scaled as the network takes them."""
    data = scaled_batches(network, components, draw_rows(np.arange(components.n_rows), n, seed))
    return np.concatenate([batch.x[: batch.n] for batch in data])
