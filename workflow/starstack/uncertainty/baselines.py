"""Error bars by other means, to compare: ensembles, dropout, a predicted variance.

* A deep ensemble (Lakshminarayanan, Pritzel & Blundell 2017, NeurIPS 30): the scatter of networks
  that differ by their seed.
* Monte Carlo dropout (Gal & Ghahramani 2016, ICML 48): the scatter of one network's predictions
  with its dropout left on.
* A predicted variance (Nix & Weigend 1994, ICNN): a network with a mean and a logarithm of the
  variance for each target, trained on the Gaussian likelihood, weighted as by Seitzer et al. 2022
  (ICLR): without the weight, rows of a large variance are hardly fitted.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.data.dataset import Dataset
from starstack.data.noise_correlation import correlation_of
from starstack.errors import InputError
from starstack.networks.heads import make_network
from starstack.networks.holdout import validation_rows
from starstack.networks.options import TrainingOptions
from starstack.networks.persistence import FittedNetwork
from starstack.networks.scaling import Scaler, fit_scaler
from starstack.networks.streaming import Noise, Stream, iter_blocks
from starstack.networks.training import train_network
from starstack.seeds import derive_seed

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

MEMBERS = 5
# Logarithms of the variance beyond ±15 on standardised targets are errors of a factor 1800.
LOG_VARIANCE_RANGE = (-15.0, 15.0)
BLOCK_ROWS = 1024


def sample_moments(draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and covariance of several predictions of the same rows.

    Parameters
    ----------
    draws : ndarray of shape (m, n, k)
        Predictions of m networks, or of one network m times.

    Returns
    -------
    mean : ndarray of shape (n, k)
    covariance : ndarray of shape (n, k, k)
        Divided by m - 1: of a single draw, not of the mean. Exactly 0 where all draws agree. Its
        rank is m - 1 at most, and even where it has an inverse, that of few draws is too large:
        eᵀ C⁻¹ e of k labels has the mean k (m - 1) / (m - k - 2) of normal errors with the
        covariance of the draws (Hotelling 1931), and none for m ≤ k + 2.

    Raises
    ------
    InputError
        If there are fewer than two draws.
    """
    draws = np.asarray(draws, dtype=float)
    if len(draws) < 2:
        raise InputError(f"ensemble: has {len(draws)} members; expected 2 or more")
    # About one of the draws: the mean of numbers that agree is not that number, by rounding.
    off = draws - draws[0]
    shift = off.mean(axis=0)
    off -= shift
    return draws[0] + shift, np.einsum("mni,mnj->nij", off, off) / (len(draws) - 1)


def ensemble_seeds(seed: int, n_members: int = MEMBERS) -> list[int]:
    """Return one seed for each member of an ensemble; more members leave the first as they are."""
    return [derive_seed(seed, "member", number) for number in range(n_members)]


def train_ensemble(
    dataset: Dataset,
    train_rows: np.ndarray,
    options: TrainingOptions,
    *,
    seed: int,
    n_members: int = MEMBERS,
    **arguments: Any,
) -> list[FittedNetwork]:
    """Train networks that differ by their seed: initial weights, order of rows, noise.

    Parameters
    ----------
    dataset, train_rows, options, **arguments
        As in `starstack.networks.training.train_network`. The validation rows are those of the
        member's own seed.
    seed : int
        Of the ensemble.
    n_members : int
        Networks.
    """
    members = []
    for number, member_seed in enumerate(ensemble_seeds(seed, n_members), start=1):
        network, _ = train_network(dataset, train_rows, options, seed=member_seed, **arguments)
        members.append(network)
        logger.info("ensemble: %d of %d networks", number, n_members)
    return members


def mc_dropout_predictions(
    network: FittedNetwork, X: np.ndarray, *, n_draws: int = 100, seed: int = 0
) -> np.ndarray:
    """Predict several times with the dropout left on, and nothing else that is random.

    Parameters
    ----------
    network : FittedNetwork
        With layers of dropout.
    X : ndarray of shape (n, p)
        Rows, unscaled.
    n_draws : int
        Predictions of each row.
    seed : int
        Of the layers' random numbers, which are left as they were.

    Returns
    -------
    ndarray of float64, shape (n_draws, n, outputs)
        In the units of the targets; for `sample_moments`.

    Raises
    ------
    InputError
        If the network has no dropout, or layers that would behave as in training otherwise.
    """
    import keras

    layers = [layer for layer in network.model.layers if getattr(layer, "rate", 0)]
    layers = [layer for layer in layers if hasattr(layer, "seed_generator")]
    if not layers:
        raise InputError(
            "Monte Carlo dropout: the network has no dropout; train one with dropout above 0"
        )
    for layer in network.model.layers:
        if isinstance(layer, keras.layers.BatchNormalization | keras.layers.GaussianNoise):
            raise InputError(
                f"Monte Carlo dropout: layer {layer.name} ({type(layer).__name__}) also differs in "
                "training; use a network without it"
            )
    states = [keras.ops.convert_to_numpy(layer.seed_generator.state) for layer in layers]
    width, shape = int(np.prod(network.input_shape)), network.input_shape
    draws = np.empty((n_draws, len(X), network.model.output_shape[-1]))
    try:
        for number, layer in enumerate(layers):
            start = [derive_seed(seed, "dropout", number), 0]
            layer.seed_generator.state.assign(np.array(start, dtype=states[number].dtype))
        for start in range(0, len(X), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            scaled = network.input_scaler.transform(np.asarray(X[rows]).reshape(-1, width))
            inputs = scaled.astype(network.model.inputs[0].dtype).reshape(-1, *shape)
            for draw in range(n_draws):
                output = keras.ops.convert_to_numpy(network.model(inputs, training=True))
                draws[draw, rows] = network.target_scaler.inverse(output)
    finally:
        for layer, state in zip(layers, states, strict=True):
            layer.seed_generator.state.assign(state)
    return draws


def variance_loss(beta: float = 0.5) -> Any:
    """Make the loss of a network with a mean and a log variance for each target.

    β = 0 is the Gaussian likelihood; with β each term is multiplied by σ^{2β}, which does not pass
    gradients, so that with β = 1 the mean is fitted as by the squared error.

    Parameters
    ----------
    beta : float
        0 to 1.

    Returns
    -------
    callable
        From (targets (n, k), outputs (n, 2 k)) to one loss per row.
    """
    from keras import ops

    if not 0 <= beta <= 1:
        raise InputError(f"variance head: beta is {beta:g}; expected 0 to 1")

    def loss(y_true: Any, output: Any) -> Any:
        mean, log_variance = ops.split(output, 2, axis=-1)
        log_variance = ops.clip(log_variance, *LOG_VARIANCE_RANGE)
        each = 0.5 * (log_variance + ops.square(y_true - mean) * ops.exp(-log_variance))
        weight = ops.stop_gradient(ops.exp(beta * log_variance))
        return ops.mean(weight * each, axis=-1)

    return loss


def decode_variance(output: np.ndarray, target_scaler: Scaler) -> tuple[np.ndarray, np.ndarray]:
    """Read means and variances from the outputs of a network with a variance head.

    Parameters
    ----------
    output : ndarray of shape (n, 2 k)
        Means and logarithms of variances of standardised targets.
    target_scaler : Scaler

    Returns
    -------
    mean, variance : ndarray of float64, shape (n, k)
        In the units of the targets.

    Examples
    --------
    >>> mean, variance = decode_variance(np.array([[1.0, 0.0]]), Scaler(mean=10.0, scale=2.0))
    >>> mean.tolist(), variance.tolist()
    ([[12.0]], [[4.0]])
    """
    mean, log_variance = np.split(np.asarray(output, dtype=float), 2, axis=1)
    variance = np.exp(np.clip(log_variance, *LOG_VARIANCE_RANGE))
    return target_scaler.inverse(mean), variance * np.square(target_scaler.scale)


@dataclass(frozen=True, eq=False)
class VarianceNetwork:
    """A network that predicts its own errors.

    Attributes
    ----------
    model : keras.Model
        With 2 k outputs.
    input_scaler, target_scaler : Scaler
    input_shape : tuple of int
    """

    model: "keras.Model"
    input_scaler: Scaler
    target_scaler: Scaler
    input_shape: tuple[int, ...]

    def predict(self, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict means (n, k) and diagonal covariances (n, k, k) of rows (n, p)."""
        width = int(np.prod(self.input_shape))
        outputs = []
        for start in range(0, len(X), BLOCK_ROWS):
            rows = np.asarray(X[start : start + BLOCK_ROWS]).reshape(-1, width)
            scaled = self.input_scaler.transform(rows).astype(np.float32)
            inputs = scaled.reshape(-1, *self.input_shape)
            outputs.append(np.asarray(self.model(inputs, training=False)))
        mean, variance = decode_variance(np.concatenate(outputs), self.target_scaler)
        return mean, variance[:, :, np.newaxis] * np.eye(variance.shape[1])


def train_variance_network(
    dataset: Dataset,
    train_rows: np.ndarray,
    options: TrainingOptions,
    *,
    build: str,
    build_params: Mapping[str, Any] | None = None,
    input_shape: Sequence[int] | None = None,
    seed: int,
    beta: float = 0.5,
) -> VarianceNetwork:
    """Train a network with a mean and a variance for each target.

    Rows, noise and schedule are those of `starstack.networks.training.train_network`; the weights
    of the last epoch are kept.

    Parameters
    ----------
    dataset, train_rows, options, build, build_params, input_shape, seed
        As there.
    beta : float
        See `variance_loss`.

    Raises
    ------
    InputError
        If the task is not regression, or the loss becomes NaN or infinite.
    """
    import keras

    from starstack.networks.optimizers import make_adam

    if dataset.task != "regression":
        raise InputError("variance head: the task is classification; expected regression")
    rows, _ = validation_rows(dataset, train_rows, options.validation_fraction, seed)
    targets = dataset.y.reshape(len(dataset.y), -1)
    shape = tuple(dataset.X.shape[1:] if input_shape is None else input_shape)
    target_scaler = fit_scaler([targets[rows]], "per_feature")
    stream = Stream(
        dataset=dataset,
        rows=rows,
        targets=target_scaler.transform(targets).astype(np.float32),
        weights=None,
        input_scaler=fit_scaler(iter_blocks(dataset.X, rows), options.scale_inputs),
        input_shape=shape,
        seed=derive_seed(seed, "order and noise"),
        batch_size=options.batch_size,
        block_rows=options.block_rows,
        buffer_rows=options.buffer_rows,
        noise=Noise(*options.noise_scale, correlation_of(dataset)) if options.noise else None,
    )
    model = make_network(
        build,
        build_params,
        input_shape=shape,
        task="regression",
        n_outputs=2 * targets.shape[1],
        seed=derive_seed(seed, "weights"),
    )
    rate: Any = options.learning_rate
    if options.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, options.epochs * stream.n_batches)
    trainer = keras.Model(model.inputs[0], model.outputs[0])
    optimizer = make_adam(
        compiled=False,
        learning_rate=rate,
        beta_1=options.beta_1,
        beta_2=options.beta_2,
        epsilon=options.epsilon,
    )
    trainer.compile(optimizer, loss=variance_loss(beta))
    for epoch in range(options.epochs):
        batches = stream.as_tensorflow(lambda at=epoch: stream.batches(at), stream.n_batches)
        record = trainer.fit(batches, epochs=1, shuffle=False, verbose=0)
        if not np.isfinite(loss := record.history["loss"][0]):
            raise InputError(
                f"variance head: the loss became {loss} in epoch {epoch + 1}; lower learning_rate"
            )
        logger.info("variance head: epoch %d of %d, loss %.4f", epoch + 1, options.epochs, loss)
    return VarianceNetwork(model, stream.input_scaler, target_scaler, shape)
