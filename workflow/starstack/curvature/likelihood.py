"""What the data say of the outputs: the likelihood behind a loss, and its curvature.

Squared error is the negative log-likelihood of normal noise of standard deviation σ_c in output c,
up to its scale (Keras's ``mse`` is a mean over rows and outputs; the posterior needs the sum over
rows and the true σ, so the scale of the loss plays no part). Cross-entropies are those of Bernoulli
and categorical labels. Their curvature is taken at the logits,

    Λ = diag(1/σ_c²),    diag(p_c (1 − p_c)),    diag(p) − p pᵀ,

where it does not depend on the labels, and where Gauss–Newton equals the Fisher matrix [1]_. Of a
network that ends in a sigmoid or a softmax, these are what goes into it
(`starstack.autodiff.inference.inference_function`).

References
----------
.. [1] J. Martens, "New insights and perspectives on the natural gradient method", JMLR 21 (2020),
   no. 146, sections 8 and 9.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit, log_softmax, softmax

from starstack.autodiff.inference import inference_function
from starstack.curvature.loss_reading import check_link, read_loss
from starstack.curvature.targets import (
    class_codes,
    class_shares,
    finite_targets,
    values_by_row,
)
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Likelihood:
    """The likelihood of the rows that a network was fitted to, at its weights.

    Attributes
    ----------
    family : str
        ``gaussian``, ``bernoulli`` or ``categorical``.
    n_outputs : int
        Number k of outputs.
    n_rows : int
        Rows of positive weight.
    total_weight : float
        Sum of the rows' weights.
    squared_residuals : tuple of float
        Σ_n w_n (y_nc − f_nc)² of each output; empty unless gaussian.
    log_probability : float
        Σ_n w_n log p(y_n); 0 if gaussian.
    label_smoothing : float
        Share of each label that the loss spreads evenly over the classes; in `log_probability`.
    """

    family: str
    n_outputs: int
    n_rows: int
    total_weight: float
    squared_residuals: tuple[float, ...] = ()
    log_probability: float = 0.0
    label_smoothing: float = 0.0

    @property
    def is_gaussian(self) -> bool:
        """Whether there is a noise σ."""
        return self.family == "gaussian"

    def log_likelihood(self, noise: np.ndarray | None = None) -> float:
        """Return Σ_n w_n log p(y_n | f_n), for the given σ of each output if gaussian.

        Examples
        --------
        >>> seen = Likelihood("gaussian", 1, 2, 2.0, squared_residuals=(2.0,))
        >>> seen.log_likelihood(np.array([1.0])), float(-1.0 - np.log(2 * np.pi))
        (-2.8378770664, -2.8378770664)
        """
        if not self.is_gaussian:
            return self.log_probability
        variance = self.check_noise(noise) ** 2
        squares = np.asarray(self.squared_residuals)
        normal = self.total_weight * np.log(2 * np.pi * variance)
        return float(-0.5 * (squares / variance + normal).sum())

    def residual_noise(self) -> np.ndarray:
        """Return the most likely σ of each output, √(Σ w r² / Σ w).

        Of the rows that were fitted it is too small where the network overfits; see
        `starstack.curvature.hyperparameters.residual_noise` for other rows.
        """
        if not self.is_gaussian:
            raise InputError(f"noise: a {self.family} likelihood has none")
        found = np.sqrt(np.asarray(self.squared_residuals) / self.total_weight)
        if not found.all():
            exact = ", ".join(str(c) for c in np.flatnonzero(found == 0))
            raise InputError(
                f"noise: expected residuals to take it from, got zeros in output(s) {exact}, which "
                "the network fits exactly; give the standard deviations as noise"
            )
        return found

    def check_noise(self, noise: Any) -> np.ndarray | None:
        """Return σ of each output, shape (k,), or None where there is none.

        Raises
        ------
        InputError
            If it is not positive, of the wrong length, or given where there is none.
        """
        if not self.is_gaussian:
            if noise is not None:
                raise InputError(
                    f"noise: a {self.family} likelihood has none, got {noise!r}; leave it out"
                )
            return None
        try:
            # A copy: the caller's array may change, and what was derived from it would not.
            values = np.array(noise, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(
                f"noise: expected {self.n_outputs} positive standard deviation(s), one for each "
                f"output, got {noise!r}; give numbers"
            ) from None
        if values.ndim == 0:
            values = np.full(self.n_outputs, float(values))
        if values.shape != (self.n_outputs,) or not (np.isfinite(values) & (values > 0)).all():
            raise InputError(
                f"noise: expected {self.n_outputs} positive standard deviation(s), one for each "
                f"output, got {np.array2string(values, separator=', ')}"
            )
        values.setflags(write=False)
        return values

    def to_json(self) -> dict[str, Any]:
        """Return plain numbers and lists."""
        return asdict(self) | {"squared_residuals": list(self.squared_residuals)}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Likelihood":
        """Read what `to_json` gave."""
        return cls(**content | {"squared_residuals": tuple(content["squared_residuals"])})


@dataclass
class LikelihoodSums:
    """Adds up the likelihood over batches of rows.

    Parameters
    ----------
    family, label_smoothing
        As in `Likelihood`.
    """

    family: str
    label_smoothing: float = 0.0
    _n_rows: int = 0
    _weight: float = 0.0
    _log_probability: float = 0.0
    _squares: np.ndarray = field(default_factory=lambda: np.zeros(1))

    def add(self, outputs: np.ndarray, y: np.ndarray, weight: np.ndarray) -> None:
        """Add rows: logits or values (n, …), as many targets or codes (n,), weights (n,)."""
        outputs = np.asarray(outputs, dtype=np.float64)
        # Whatever the rank of the outputs, each row has k numbers.
        outputs = outputs.reshape(len(outputs), -1)
        y = finite_targets(y)
        weight = np.asarray(weight, dtype=np.float64)
        self._n_rows += int((weight != 0).sum())
        self._weight += float(weight.sum())
        if self.family == "gaussian":
            residuals = values_by_row(y, outputs.shape[1]) - outputs
            self._squares = self._squares + weight @ residuals**2
        else:
            self._log_probability += float(weight @ self._log_probabilities(outputs, y))
            self._squares = np.zeros(outputs.shape[1])

    def _log_probabilities(self, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
        found = log_probability(self.family, logits, y)
        if not self.label_smoothing:
            return found
        # log p is linear in the label.
        even = np.full(logits.shape, 0.5 if self.family == "bernoulli" else 1 / logits.shape[1])
        share = self.label_smoothing
        return (1 - share) * found + share * log_probability(self.family, logits, even)

    def total(self) -> Likelihood:
        """Return the sums.

        Raises
        ------
        InputError
            If no row had a positive weight.
        """
        if not self._weight > 0:
            raise InputError(
                "likelihood: expected rows of positive weight, got none; give some rows a weight"
            )
        gaussian = self.family == "gaussian"
        return Likelihood(
            family=self.family,
            n_outputs=len(self._squares),
            n_rows=self._n_rows,
            total_weight=self._weight,
            squared_residuals=tuple(self._squares.tolist()) if gaussian else (),
            log_probability=self._log_probability,
            label_smoothing=self.label_smoothing,
        )


def begin_likelihood(model: "keras.Model", data: Iterable, loss: Any) -> LikelihoodSums:
    """Return empty sums for a loss, after a look at what the network ends in.

    Parameters
    ----------
    model : keras.Model
        The network.
    data : Batches
        Its rows, of which the first batch is tried.
    loss : str, keras.losses.Loss or callable
        See `starstack.curvature.loss_reading.read_loss`.

    Raises
    ------
    InputError
        If the likelihood of the loss is not known, or not that of the network's logits.
    """
    reading = read_loss(loss)
    if reading.family != "gaussian":
        check_link(model, next(iter(data)).x, reading)
    return LikelihoodSums(reading.family, reading.label_smoothing)


def measure_likelihood(model: "keras.Model", data: Iterable, loss: Any) -> Likelihood:
    """Pass over the data once and return the likelihood at the network's weights.

    Parameters
    ----------
    model : keras.Model
        The network.
    data : Batches
        Rows, targets and weights.
    loss : str, keras.losses.Loss or callable
        See `starstack.curvature.loss_reading.read_loss`.
    """
    sums = begin_likelihood(model, data, loss)
    if not data.has_targets:
        raise InputError("likelihood: expected rows with targets, got rows alone; give y as well")
    infer = inference_function(model, logits=sums.family != "gaussian")
    for batch in data:
        sums.add(np.asarray(infer(batch.x)), batch.y, batch.weight)
    return sums.total()


def log_probability(family: str, logits: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return log p(y | logits) of each row, shape (n,).

    Labels are codes of shape (n,) or (n, 1), or shares of the classes of shape (n, k).

    Raises
    ------
    InputError
        If labels are of another shape, or no codes, shares or probabilities.
    """
    y = np.asarray(y)
    if family == "bernoulli":
        y = values_by_row(y, logits.shape[1])
        if y.min(initial=0) < 0 or y.max(initial=0) > 1:
            raise InputError(
                f"labels: expected 0, 1 or probabilities between, got {y.min():g} to "
                f"{y.max():g}; code the classes as 0 and 1"
            )
        # log p = z y − log(1 + eᶻ)
        return (logits * y - np.logaddexp(0.0, logits)).sum(axis=1)
    scores = log_softmax(logits, axis=1)
    if y.shape == logits.shape:
        return (class_shares(y) * scores).sum(axis=1)
    codes = class_codes(y, *logits.shape)
    return scores[np.arange(len(codes)), codes]


def precision_roots(family: str, logits: np.ndarray) -> np.ndarray:
    """Return L of shape (m, n, k) with Λ_n = Σ_m L_mn L_mnᵀ, for a cross-entropy.

    √(p_m (1 − p_m)) e_m for Bernoulli outputs, √p_m (e_m − p) for classes.

    Examples
    --------
    >>> p = np.array([0.5, 0.25, 0.25])
    >>> root = precision_roots("categorical", np.log(p)[None])[:, 0]
    >>> np.allclose(root.T @ root, np.diag(p) - np.outer(p, p))
    True
    """
    logits = np.asarray(logits, dtype=np.float64)
    unit = np.eye(logits.shape[1])[:, None, :]
    if family == "bernoulli":
        p = expit(logits)
        return np.sqrt(p * (1 - p)).T[:, :, None] * unit
    p = softmax(logits, axis=1)
    return np.sqrt(p).T[:, :, None] * (unit - p[None])


def output_precision(family: str, outputs: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
    """Return Λ_n for each row, shape (n, k, k)."""
    if family == "gaussian":
        one = np.diag(1 / np.asarray(noise, dtype=np.float64) ** 2)
        return np.broadcast_to(one, (len(outputs), *one.shape))
    roots = precision_roots(family, outputs)
    return np.einsum("mni,mnj->nij", roots, roots)
