"""The Laplace approximation of the weights of a trained network, in any structure.

With the prior N(0, Δ⁻¹), Δ diagonal, and the Gauss–Newton matrix of the negative log-likelihood,
the posterior of the weights θ around the trained ones θ̂ is the normal distribution of precision

    P = Σ_n J_nᵀ Λ_n J_n + Δ,

J_n = ∂f(x_n)/∂θ of shape (k, P), Λ_n the Hessian of the negative log-likelihood of row n with
respect to the k outputs [1]_. A structure approximates the sum; Δ is added to it exactly. The
predictive covariance of the outputs is that of the linearised network, J P⁻¹ Jᵀ [2]_.

References
----------
.. [1] D. J. C. MacKay, "A practical Bayesian framework for backpropagation networks", Neural
   Computation 4 (1992) 448.
.. [2] A. Immer, M. Korzepa, M. Bauer, "Improving predictions of Bayesian neural nets via local
   linearization", AISTATS 2021.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from starstack.autodiff.flat import FlatParameters
from starstack.autodiff.inference import inference_function
from starstack.autodiff.layers import trainable_layers
from starstack.curvature.likelihood import Likelihood
from starstack.curvature.options import not_negative
from starstack.curvature.persistence import weights_digest, write_posterior
from starstack.curvature.record import CurvatureRecord, describe_curvature
from starstack.curvature.rows import check_rows
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras


class Posterior(ABC):
    """Normal posterior of the weights: its inverse precision, and what it says of predictions.

    A structure says how it applies the inverse, what its log-determinant is, and what variance it
    gives to outputs; it takes `noise` and `prior_precision` from here each time, and keeps what
    follows from them only in `_derived`, which is emptied where they change. What depends on
    neither, such as compiled functions, is in `_shared`, one for all choices of them.

    Parameters
    ----------
    model : keras.Model
        The trained network; that its weights stay as they are is checked where they count.
    likelihood : Likelihood
        Of the rows that the posterior was made from.
    noise : array_like of shape (k,) or float, optional
        Standard deviation σ of each output, in the units of the model's outputs, for squared
        error; by default that of the residuals. None for other losses.
    prior_precision : float or mapping of str to float
        δ of all weights, or of the weights of each layer by its name.
    record : CurvatureRecord, optional
        How the matrix was made.
    scaler_digest : str
        Names the scales of inputs and targets, to be compared when the posterior is loaded.
    covered : sequence of str, optional
        Layers whose weights the posterior is about, the others being fixed; all by default.

    Attributes
    ----------
    structure : str
        Key of `starstack.curvature.structures.STRUCTURES`.
    parameters : FlatParameters
        All trainable weights; vectors are in this order.
    layers : dict of str to tuple of int
        Layers with trainable weights and their positions in ``parameters.slices``.
    """

    structure: ClassVar[str] = ""

    def __init__(
        self,
        model: "keras.Model",
        likelihood: Likelihood,
        *,
        noise: Any = None,
        prior_precision: float | Mapping[str, float] = 1.0,
        record: CurvatureRecord | None = None,
        scaler_digest: str = "",
        covered: tuple[str, ...] | None = None,
    ) -> None:
        self.model = model
        self.parameters = FlatParameters(model)
        self.layers = trainable_layers(model)
        self.likelihood = likelihood
        self.record = record
        self.scaler_digest = scaler_digest
        self.weights_digest = weights_digest(model)
        self.covered = tuple(self.layers) if covered is None else tuple(covered)
        if noise is None and likelihood.is_gaussian:
            noise = likelihood.residual_noise()
        self.noise = likelihood.check_noise(noise)
        self.prior_precision = self._check_prior(prior_precision)
        self._derived: dict[str, Any] = {}
        self._shared: dict[str, Any] = {}

    def with_hyperparameters(
        self, noise: Any = None, prior_precision: float | Mapping[str, float] | None = None
    ) -> "Posterior":
        """Return the posterior for another σ or δ, from the same sums over the data.

        Parameters
        ----------
        noise : array_like of shape (k,) or float, optional
            σ of each output; unchanged if None.
        prior_precision : float or mapping of str to float, optional
            δ of all weights or by layer; unchanged if None.

        Raises
        ------
        InputError
            If one is not positive, is of the wrong length, or names a layer that is not there.
        """
        other = copy(self)
        if noise is not None:
            other.noise = self.likelihood.check_noise(noise)
        if prior_precision is not None:
            other.prior_precision = self._check_prior(prior_precision)
        other._derived = {}
        if self.record is not None:
            # What was measured at the other values is not known at these: eigenvalues depend on σ.
            spectrum = ("lambda_max", "lambda_min", "indefinite", "eigenvalue_rows")
            other.record = replace(
                self.record,
                **dict.fromkeys(spectrum if noise is not None else ()),
                noise=None if other.noise is None else other.noise.tolist(),
                prior_precision=other.prior_precision,
                gradient_norm=None,
                data_gradient_norm=None,
                prior_gradient_norm=None,
                expected_decrease=None,
                log_determinant_error=None,
            )
        return other

    def prior_of(self, layer: str) -> float:
        """Return δ of the weights of one layer."""
        if isinstance(self.prior_precision, float):
            return self.prior_precision
        return self.prior_precision[layer]

    def prior_vector(self) -> np.ndarray:
        """Return δ of every weight, shape (P,)."""
        values = np.empty(self.parameters.size)
        for layer, indices in self.layers.items():
            for index in indices:
                values[self.parameters.slices[index]] = self.prior_of(layer)
        return values

    def positive_prior(self, consequence: str) -> np.ndarray:
        """Return δ of every weight, shape (P,), for a structure that divides by it.

        Parameters
        ----------
        consequence : str
            What a δ of 0 would do, for the message.

        Raises
        ------
        InputError
            If a δ is 0.
        """
        prior = self.prior_vector()
        if not (prior > 0).all():
            raise InputError(
                f"{self.structure.replace('_', ' ')}: expected positive prior precisions, got 0: "
                f"{consequence}; give a positive one"
            )
        return prior

    def is_covered(self) -> np.ndarray:
        """Return for every weight whether the posterior is about it, bool of shape (P,)."""
        found = np.zeros(self.parameters.size, dtype=bool)
        for layer in self.covered:
            for index in self.layers[layer]:
                found[self.parameters.slices[index]] = True
        return found

    def check_weights(self) -> None:
        """Refuse a network that was trained on, frozen or thawed, or changed otherwise, since."""
        self.check_layers()
        if weights_digest(self.model) != self.weights_digest:
            raise InputError(
                "posterior: expected the network's weights of the fit, got others; make the "
                "posterior again after training"
            )

    def check_layers(self) -> None:
        """Refuse a network some of whose layers were frozen or thawed since the fit."""
        now = {variable.path for variable in self.model.trainable_variables}
        if changed := sorted(now.symmetric_difference(self.parameters.names)):
            raise InputError(
                "posterior: expected the trainable weights of the fit, but layers were frozen or "
                f"thawed since, with {', '.join(changed)}; set `trainable` as it was"
            )

    def inverse_hessian_product(self, v: np.ndarray) -> np.ndarray:
        """Return P⁻¹ v for v of shape (P,) or (P, m), in float64.

        A weight that the structure does not cover is fixed: its entries are 0.
        """
        v, size = np.asarray(v, dtype=np.float64), self.parameters.size
        if v.ndim not in (1, 2) or len(v) != size:
            raise InputError(
                f"vectors: expected shape ({size},) or ({size}, m), got {v.shape}; give one entry "
                "for each trainable weight"
            )
        return self._inverse_product(v)

    def predictive_covariance(self, x: Any, batch_size: int = 256) -> np.ndarray:
        """Return J P⁻¹ Jᵀ, the covariance of the outputs that the weights cause.

        Parameters
        ----------
        x : array or h5py dataset of shape (n, *input_shape)
            Rows as the network takes them (scaled).
        batch_size : int
            Rows at once; the memory grows with it, the result does not depend on it.

        Returns
        -------
        ndarray of float64, shape (n, k, k)
            In the units of the model's outputs; of the logits for a cross-entropy.

        Raises
        ------
        InputError
            If rows are not what the network takes, or its weights have changed since the fit, or
            which of them are trained.
        """
        self.check_weights()
        check_rows(self.model, x, batch_size)
        return self._covariance(x, batch_size)

    def layer_covariances(self, x: Any, batch_size: int = 256) -> dict[str, np.ndarray] | None:
        """Return what each layer adds to the predictive covariance, by layer.

        None where layers are correlated. Each part depends on the δ of its layer alone, by which
        `starstack.curvature.hyperparameters` tries many values at the price of a few.
        """
        self.check_weights()
        check_rows(self.model, x, batch_size)
        return self._layer_covariances(x, batch_size)

    @abstractmethod
    def _inverse_product(self, v: np.ndarray) -> np.ndarray:
        """Return P⁻¹ v for a v that was checked."""

    @abstractmethod
    def _covariance(self, x: Any, batch_size: int) -> np.ndarray:
        """Return J P⁻¹ Jᵀ of rows that were checked."""

    def _layer_covariances(self, x: Any, batch_size: int) -> dict[str, np.ndarray] | None:
        return None

    def outputs(self, x: Any, batch_size: int = 256) -> np.ndarray:
        """Return the outputs at the network's weights, (n, k); the logits for a cross-entropy."""
        check_rows(self.model, x, batch_size)
        infer = inference_function(self.model, logits=not self.likelihood.is_gaussian)
        blocks = [x[start : start + batch_size] for start in range(0, len(x), batch_size)]
        found = np.concatenate([np.asarray(infer(block), dtype=np.float64) for block in blocks])
        return found.reshape(len(found), -1)

    @abstractmethod
    def log_determinant(self) -> float:
        """Return log det P of the covered weights."""

    def log_marginal_likelihood(self) -> float:
        """Return Laplace's approximation of log ∫ p(y | θ) p(θ) dθ.

        log p(y | θ̂) + ½ Σ log δ_i − ½ Σ δ_i θ̂_i² − ½ log det P over the covered weights
        (MacKay 1992). It is the evidence where the network is linear in them and θ̂ is the mode.

        Raises
        ------
        InputError
            If a δ is 0: the prior is then improper.
        """
        self.check_weights()
        covered = self.is_covered()
        prior = self.prior_vector()[covered]
        if not (prior > 0).all():
            raise InputError(
                "log marginal likelihood: expected positive prior precisions, got 0; give one that "
                "is positive"
            )
        weights = self.parameters.read()[covered]
        log_prior = 0.5 * (np.log(prior).sum() - (prior * weights**2).sum())
        return float(
            self.likelihood.log_likelihood(self.noise) + log_prior - 0.5 * self.log_determinant()
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the posterior to HDF5, to be read by `starstack.curvature.load`.

        The file holds no weights of the network, but their digest at the fit.

        Raises
        ------
        InputError
            If the weights have changed since, or which of them are trained.
        """
        self.check_weights()
        write_posterior(self, path)

    @abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """Return what `from_arrays` needs beside the arguments of the class, by HDF5 path."""

    @classmethod
    @abstractmethod
    def from_arrays(
        cls, arrays: Mapping[str, np.ndarray], model: "keras.Model", **options: Any
    ) -> "Posterior":
        """Make the posterior again from `arrays`.

        Parameters
        ----------
        arrays : mapping of str to ndarray
            What `arrays` gave.
        model : keras.Model
            The same network.
        **options
            The other arguments of `Posterior`: likelihood, noise, and so on.
        """

    def _check_prior(self, value: float | Mapping[str, float]) -> float | dict[str, float]:
        if not isinstance(value, Mapping):
            return not_negative(value, "prior precision")
        if set(value) != set(self.layers):
            raise InputError(
                f"prior precision: expected one value for each of the layers "
                f"{', '.join(self.layers)}, got {', '.join(map(str, value)) or 'none'}"
            )
        return {
            layer: not_negative(value[layer], f"prior precision of {layer!r}")
            for layer in self.layers
        }


def with_record(posterior: Posterior, started: float) -> Posterior:
    """Set a record of a Gauss–Newton matrix that was summed since `started` (``perf_counter``).

    It says what is known without another pass over the data; all else comes from
    `starstack.curvature.diagnosis.diagnose`.
    """
    posterior.record = describe_curvature(
        matrix="gauss_newton",
        structure=posterior.structure,
        n_rows=posterior.likelihood.n_rows,
        noise=posterior.noise,
        prior_precision=posterior.prior_precision,
        started=started,
    )
    return posterior
