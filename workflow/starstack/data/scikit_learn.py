"""Data sets that come with scikit-learn, or that it makes from a seed; none needs a download."""

import inspect
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import sklearn
from sklearn import datasets

from starstack.data.columns import Columns
from starstack.data.names import not_among
from starstack.errors import InputError

# Those of sklearn.datasets that return rows of numbers with a target. Left out are the makers of
# matrices without a target, of images, and what reads files (use the source table or hdf5).
LOADERS = (
    "load_breast_cancer",
    "load_diabetes",
    "load_digits",
    "load_iris",
    "load_linnerud",
    "load_wine",
    "make_blobs",
    "make_circles",
    "make_classification",
    "make_friedman1",
    "make_friedman2",
    "make_friedman3",
    "make_gaussian_quantiles",
    "make_hastie_10_2",
    "make_moons",
    "make_regression",
    "make_s_curve",
    "make_sparse_uncorrelated",
    "make_swiss_roll",
)

# These change the form of what is returned, which is not the user's to choose.
_FIXED = ("return_X_y", "as_frame", "coef", "return_centers")


def read_scikit_learn(
    where: str, task: str, *, loader: str, params: Mapping[str, Any] | None = None
) -> Columns:
    """Call a loader or maker of ``sklearn.datasets``.

    Parameters
    ----------
    where : str
        The data set, for the messages.
    task : str
        Unused: the loader decides what it returns.
    loader : str
        One of `LOADERS`.
    params : mapping, optional
        Its parameters; makers must be given their ``random_state``.

    Raises
    ------
    InputError
        If the loader is unknown or needs a download, a parameter is unknown or refused, or a
        maker has no seed.
    """
    params = dict(params or {})
    if loader not in LOADERS:
        raise _unknown_loader(where, loader)
    function = getattr(datasets, loader)
    known = [name for name in inspect.signature(function).parameters if name not in _FIXED]
    for name in params:
        if name not in known:
            raise not_among(f"{where}: {loader}", "parameter", name, known)
    if "random_state" in known and not _is_seed(params.get("random_state")):
        raise InputError(
            f"{where}: {loader} draws random data, and random_state is "
            f"{params.get('random_state')}; give a whole number, so that each run has the same data"
        )
    try:
        made = function(**params)
    except (TypeError, ValueError) as error:
        # InvalidParameterError of scikit-learn is one of these.
        raise InputError(f"{where}: {loader} refuses: {' '.join(str(error).split())}") from error
    provenance = {
        "source": "scikit-learn",
        "loader": loader,
        "params": json.dumps(params, sort_keys=True),
        "scikit_learn_version": sklearn.__version__,
    }
    bunch = made if isinstance(made, dict) else {"data": made[0], "target": made[1]}
    X, y = np.asarray(bunch["data"], dtype=np.float64), np.asarray(bunch["target"])
    given = [str(name) for name in bunch.get("target_names", ())]
    targets = [y] if y.ndim == 1 else list(y.T)
    # scikit-learn's target_names are the classes of a label, or the columns of several targets.
    several = [f"y{index}" for index in range(len(targets))]
    return Columns(
        X=X,
        feature_names=[str(f) for f in bunch.get("feature_names", _numbered(X.shape[1]))],
        targets=targets,
        target_names=["target"] if y.ndim == 1 else given or several,
        class_names=given if y.ndim == 1 else (),
        provenance=provenance,
    )


def _is_seed(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _numbered(n_columns: int) -> list[str]:
    return [f"x{index}" for index in range(n_columns)]


def _unknown_loader(where: str, loader: str) -> InputError:
    if str(loader).startswith("fetch_"):
        return InputError(
            f"{where}: loader '{loader}' needs a download, which a job must not; save its data as "
            "a file and use source: table or source: hdf5"
        )
    return not_among(where, "loader", loader, LOADERS)
