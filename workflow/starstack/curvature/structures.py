"""The structures of the curvature by name, and the Laplace approximation in any of them."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any

from starstack.autodiff.batches import Batches, as_batches
from starstack.curvature.block import BlockPosterior, fit_block
from starstack.curvature.diagonal import DiagonalPosterior, fit_diagonal
from starstack.curvature.ekfac import EigenvaluePosterior, fit_ekfac
from starstack.curvature.exact import ExactPosterior, fit_exact
from starstack.curvature.function_space import FunctionSpacePosterior, fit_function_space
from starstack.curvature.kfac import KroneckerPosterior, fit_kfac
from starstack.curvature.last_layer import LastLayerPosterior, fit_last_layer
from starstack.curvature.low_rank import LowRankPosterior, fit_low_rank
from starstack.curvature.matrix_free import MatrixFreePosterior, fit_matrix_free
from starstack.curvature.options import check_options
from starstack.curvature.persistence import read_posterior
from starstack.curvature.posterior import Posterior
from starstack.errors import InputError

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Structure:
    """One way to approximate the curvature.

    Attributes
    ----------
    posterior : type
        Subclass of `Posterior`, by which a saved one is read.
    fit : callable
        ``fit(model, data, *, loss, noise, prior_precision, scaler_digest, **options)``.
    summary : str
        What it is, in one line.
    """

    posterior: type[Posterior]
    fit: Callable[..., Posterior]
    summary: str


STRUCTURES: dict[str, Structure] = {
    "exact": Structure(
        ExactPosterior, fit_exact, "dense Gauss–Newton matrix or Hessian of a small network"
    ),
    "block": Structure(BlockPosterior, fit_block, "exact Gauss–Newton block of each layer"),
    "last_layer": Structure(
        LastLayerPosterior, fit_last_layer, "exact Gauss–Newton block of the last layer alone"
    ),
    "kfac": Structure(KroneckerPosterior, fit_kfac, "Kronecker product of two sums per layer"),
    "ekfac": Structure(
        EigenvaluePosterior, fit_ekfac, "eigenbases of kfac, second moments exact in them"
    ),
    "diagonal": Structure(
        DiagonalPosterior, fit_diagonal, "exact diagonal of the Gauss–Newton matrix"
    ),
    "low_rank": Structure(
        LowRankPosterior, fit_low_rank, "largest eigenpairs of the Gauss–Newton matrix by Lanczos"
    ),
    "cg": Structure(
        MatrixFreePosterior, fit_matrix_free, "each answer solved for by conjugate gradients"
    ),
    "function_space": Structure(
        FunctionSpacePosterior, fit_function_space, "exact, through the kernel of a few rows"
    ),
}


# Arguments of `laplace` itself, which it hands on.
_COMMON = ("loss", "noise", "prior_precision", "scaler_digest")


def laplace(
    model: "keras.Model",
    data: Batches | tuple,
    *,
    structure: str = "kfac",
    loss: Any = "mse",
    noise: Any = None,
    prior_precision: float | Mapping[str, float] = 1.0,
    scaler_digest: str = "",
    **options: Any,
) -> Posterior:
    """Approximate the posterior of a trained network's weights by a normal distribution.

    Parameters
    ----------
    model : keras.Model
        The trained network.
    data : Batches or tuple
        The rows it was trained on, with their targets: also (X, y) or (X, y, sample_weight).
    structure : str
        A key of `STRUCTURES`.
    loss : str, keras.losses.Loss or callable
        Squared error or a cross-entropy, as Keras names it, an instance or Keras's function. A
        name, and ``from_logits=False``, say that the outputs are probabilities, and the network
        must end in the sigmoid or softmax that makes them; of a network that ends in logits give
        an instance with ``from_logits=True``. Label smoothing is read.
    noise : array_like of shape (k,) or float, optional
        σ of each output in the units of the model's outputs; that of the residuals by default.
    prior_precision : float or mapping of str to float
        δ of all weights or by layer.
    scaler_digest : str
        Names the scales of inputs and targets; kept in the saved file.
    **options
        Of the structure.

    Returns
    -------
    Posterior
        ``posterior.record`` says which matrix was inverted and how. Structures that pass over the
        data once or twice (``kfac``, ``ekfac``, ``block``, ``last_layer``, ``diagonal``) leave in
        it None for eigenvalues, gradient, expected decrease and proofs, which take more passes:
        `starstack.curvature.diagnosis.diagnose` finds these.

    Raises
    ------
    InputError
        If there is no such structure, it cannot be made for this network, has no such option or not
        with such a value, or the outputs are not what the loss is taken of.

    Examples
    --------
    >>> import keras, numpy as np
    >>> from starstack.curvature import diagnose
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> x = np.linspace(-1, 1, 8)[:, None]
    >>> data = Batches(x, 2 * x)
    >>> posterior = laplace(model, data, structure="kfac", noise=0.1)
    >>> posterior.predictive_covariance(x).shape
    (8, 1, 1)
    >>> posterior.record.lambda_min is None
    True
    >>> posterior.record = diagnose(posterior, data)
    >>> posterior.record.indefinite
    False
    """
    if structure not in STRUCTURES:
        raise InputError(
            f"structure {structure!r}: expected one of {', '.join(sorted(STRUCTURES))}"
        )
    fit = STRUCTURES[structure].fit
    known = [p.name for p in inspect.signature(fit).parameters.values() if p.kind is p.KEYWORD_ONLY]
    if unknown := sorted(set(options) - set(known)):
        own = ", ".join(name for name in known if name not in _COMMON) or "none"
        raise InputError(
            f"structure {structure!r}: has the options {own}, got {', '.join(unknown)}; leave "
            "these out or take another structure"
        )
    return fit(
        model,
        as_batches(data),
        loss=loss,
        noise=noise,
        prior_precision=prior_precision,
        scaler_digest=scaler_digest,
        **check_options(fit, options, structure.replace("_", " ")),
    )


def load(
    path: str | PathLike[str], model: "keras.Model", scaler_digest: str | None = None
) -> Posterior:
    """Read a posterior that was saved, and refuse it for another network.

    Parameters
    ----------
    path : path
        What `Posterior.save` wrote.
    model : keras.Model
        The network that it was made from, with the same weights.
    scaler_digest : str, optional
        Compared with the saved one, if given.

    Raises
    ------
    InputError
        If the file is no posterior, or belongs to another architecture, other weights or other
        scales.
    """
    structure, arrays, options = read_posterior(path, model, scaler_digest)
    if structure not in STRUCTURES:
        raise InputError(
            f"posterior {path}: has structure {structure!r}, expected one of "
            f"{', '.join(sorted(STRUCTURES))}; make it again with this version"
        )
    try:
        return STRUCTURES[structure].posterior.from_arrays(arrays, model, **options)
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"posterior {path}: is not a posterior, or is damaged ({error}); make it again"
        ) from error
