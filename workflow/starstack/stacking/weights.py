"""Readable weights of a fitted meta-learner: named rows, bias apart, in the units of its inputs."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import GammaRegressor, PoissonRegressor, TweedieRegressor
from sklearn.multioutput import MultiOutputRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

# Their sum of weights is the logarithm (say) of the prediction, not the prediction.
WITH_LINK = (GammaRegressor, PoissonRegressor, TweedieRegressor)


def linear_weights(
    estimator: BaseEstimator, names: Sequence[str], outputs: Sequence[str]
) -> tuple[pd.DataFrame, pd.Series] | None:
    """Name the weights and the bias of a meta-learner that has them.

    A linear model after a ``StandardScaler`` is written in the units of the meta-features: with
    z' = (z − m)/s, weight w and bias b become w/s and b − Σ w m/s.

    Parameters
    ----------
    estimator : estimator
        A fitted meta-learner.
    names : sequence of str
        Names of the meta-features.
    outputs : sequence of str
        Classes in code order, or targets. A binary linear classifier has weights for the second
        class alone.

    Returns
    -------
    weights : DataFrame of shape (meta-features or models, outputs)
        Weight of every meta-feature (of every base model, for a blend).
    bias : Series of length outputs
        Constant term; zero for a blend.
    None
        Instead of both, if the meta-learner is not linear.
    """
    if hasattr(estimator, "member_weights_"):
        weights = estimator.weights_
        return weights, pd.Series(0.0, index=weights.columns, name="bias")
    shift, scale = np.zeros(len(names)), np.ones(len(names))
    if isinstance(estimator, Pipeline):
        *before, (_, estimator) = estimator.steps
        for _, step in before:
            if not isinstance(step, StandardScaler):
                return None
            # A scaler that does not centre keeps a mean all the same.
            mean = step.mean_ if step.with_mean else 0.0
            spread = step.scale_ if step.with_std else 1.0
            shift, scale = shift + scale * mean, scale * spread
    if isinstance(estimator, MultiOutputRegressor):
        parts = [linear_weights(each, names, ("y",)) for each in estimator.estimators_]
        if None in parts:
            return None
        coefficients = np.array([weights["y"] for weights, _ in parts])
        intercept = np.array([bias["y"] for _, bias in parts])
    elif hasattr(estimator, "coef_") and not isinstance(estimator, WITH_LINK):
        coefficients = np.atleast_2d(np.asarray(estimator.coef_, dtype=float))
        intercept = np.asarray(estimator.intercept_, dtype=float)
        if isinstance(estimator, PLSRegression):
            # Its intercept is that of centred inputs, and the centre is not public.
            intercept = intercept - coefficients @ estimator._x_mean
    else:
        return None
    columns = list(outputs)[1:] if len(outputs) == 2 and len(coefficients) == 1 else list(outputs)
    # Support vector machines have one row per pair of classes, in other numbers or (of three
    # classes) in the same.
    pairs = len(outputs) > 2 and hasattr(estimator, "decision_function_shape")
    if pairs or coefficients.shape != (len(columns), len(names)):
        return None
    coefficients = coefficients / scale
    bias = np.broadcast_to(intercept, len(coefficients))
    return (
        pd.DataFrame(coefficients.T, index=pd.Index(names, name="meta_feature"), columns=columns),
        pd.Series(bias - coefficients @ shift, index=columns, name="bias"),
    )


def describe_weights(weights: pd.DataFrame, bias: pd.Series) -> str:
    """Print weights and bias in one line per output.

    Examples
    --------
    >>> weights = pd.DataFrame({"y": [0.4, 0.6]}, index=["ridge__y", "forest__y"])
    >>> print(describe_weights(weights, pd.Series({"y": -0.1})))
    Weights: ridge__y 0.4, forest__y 0.6  Bias: -0.1
    """
    lines = []
    for output in weights.columns:
        named = ", ".join(f"{name} {value:.4g}" for name, value in weights[output].items())
        head = f"{output}: " if weights.shape[1] > 1 else ""
        lines.append(f"{head}Weights: {named}  Bias: {bias[output]:.4g}")
    return "\n".join(lines)
