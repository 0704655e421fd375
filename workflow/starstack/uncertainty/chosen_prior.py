"""The posterior of a network's weights with the prior precision that held-out rows choose."""

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from starstack.autodiff.batches import Batches
from starstack.autodiff.layer_factors import weight_layers
from starstack.curvature.hyperparameters import PriorChoice, choose_prior_precision
from starstack.curvature.posterior import Posterior
from starstack.curvature.structures import laplace
from starstack.errors import InputError
from starstack.uncertainty.network_rows import SOLVED

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ChosenPrior:
    """A posterior, and where its prior precision comes from.

    Attributes
    ----------
    posterior : Posterior
        In the structure that was asked for, with the chosen δ.
    choice : PriorChoice
        Of the structure `chosen_by`.
    chosen_by : str
        The structure whose error bars of held-out rows chose δ.
    """

    posterior: Posterior
    choice: PriorChoice
    chosen_by: str

    def stated(self) -> dict[str, object]:
        """Return what a record says of the choice, for JSON."""
        return {
            "prior_precision_chosen_by": self.chosen_by,
            "prior_precision_at_edge": bool(self.choice.at_edge),
            "held_out_rows": self.choice.n_rows,
            "held_out_scatter": self.choice.scatter,
            "held_out_log_likelihood": self.choice.score,
            "tried_prior_precisions": [list(pair) for pair in self.choice.tried],
        }


def choosing_structure(structure: str, model: "keras.Model") -> str:
    """Return the structure whose error bars choose δ for another.

    It is the same one, unless each of its answers is solved for: then ``kfac``, or ``low_rank``
    where a layer has no Kronecker factors.
    """
    if structure not in SOLVED:
        return structure
    try:
        weight_layers(model)
    except InputError:
        return "low_rank"
    return "kfac"


def fit_with_chosen_prior(
    model: "keras.Model",
    data: Batches,
    held_out: Batches,
    *,
    structure: str,
    known: np.ndarray | None = None,
    **options: Any,
) -> ChosenPrior:
    """Approximate the posterior of a network's weights, and choose δ by held-out rows.

    Parameters
    ----------
    model : keras.Model
        The trained network.
    data : Batches
        The rows it was trained on.
    held_out : Batches
        Other rows, with targets.
    structure : str
        A key of `starstack.curvature.structures.STRUCTURES`. For ``cg``, `choosing_structure`
        chooses δ, and is the preconditioner of the solutions.
    known : ndarray of shape (n, k, k), optional
        See `starstack.curvature.hyperparameters.choose_prior_precision`.
    **options
        ``loss``, ``noise`` and ``scaler_digest`` of `starstack.curvature.structures.laplace`.
    """
    chooser = choosing_structure(structure, model)
    first = laplace(model, data, structure=chooser, **options)
    choice = choose_prior_precision(first, held_out, known=known)
    logger.info(
        "prior precision %g by %d rows, of %d values from %g to %g, by the error bars of %s",
        choice.prior_precision,
        choice.n_rows,
        len(choice.tried),
        choice.tried[0][0],
        choice.tried[-1][0],
        chooser,
    )
    posterior = choice.posterior
    if chooser != structure:
        posterior = laplace(
            model,
            data,
            structure=structure,
            prior_precision=choice.prior_precision,
            preconditioner=choice.posterior,
            **options,
        )
    return ChosenPrior(posterior, choice, chooser)
