"""Fitted models as skops files: no pickle, an explicit list of trusted types, stable bytes.

A file is an ordinary skops file (a zip of ``schema.json`` and arrays) of a dictionary of models,
with one more member, ``attributes.json``, that says what made it. skops names objects and arrays
by their address in memory; here they are renumbered in order of appearance, so that the same
models give the same bytes in every process. (Models that store the time of their own fits, such
as ``GridSearchCV``, are the exception.)
"""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, BadZipFile, ZipFile, ZipInfo

from starstack.errors import InputError
from starstack.models.classes import one_line

ATTRIBUTES_MEMBER = "attributes.json"
# Five forests of 200 trees on the digits: 77 MB raw, 11 MB at level 1, 10 MB at level 6.
COMPRESSION = 1

_TRUSTED_FOR = {
    "our own": (
        "starstack.projection.projected_logistic.ProjectedLogisticRegression",
        "starstack.stacking.blends.BlendClassifier",
        "starstack.stacking.blends.BlendRegressor",
        "starstack.stacking.estimators.StackingClassifier",
        "starstack.stacking.estimators.StackingRegressor",
        "starstack.stacking.layout.MetaColumn",
        "starstack.stacking.layout.MetaFeatureLayout",
        "starstack.stacking.members.Member",
    ),
    # A network is stored as the bytes of a .keras file, which is read in Keras's safe mode.
    "networks": (
        "starstack.networks.estimators.KerasClassifier",
        "starstack.networks.estimators.KerasRegressor",
        "starstack.networks.persistence.FittedNetwork",
    ),
    # skops warns that a crafted file can hold node indices that point outside a tree and crash
    # the process that predicts (it cannot run code). Our files are written by our own jobs.
    "trees": (
        "sklearn.tree._tree.Tree",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    ),
    # Arrays and numbers, behind classes that scikit-learn keeps private.
    "calibration": (
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
    ),
    "nearest neighbours": (
        "sklearn.neighbors._ball_tree.BallTree",
        "sklearn.neighbors._kd_tree.KDTree",
        "sklearn.metrics._dist_metrics.ChebyshevDistance64",
        "sklearn.metrics._dist_metrics.EuclideanDistance64",
        "sklearn.metrics._dist_metrics.ManhattanDistance64",
        "sklearn.metrics._dist_metrics.MinkowskiDistance64",
    ),
    "multilayer perceptrons": (
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    ),
    "generalised linear models": (
        "sklearn._loss.loss.HalfTweedieLoss",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
    ),
    "Gaussian processes": (
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels.CompoundKernel",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.DotProduct",
        "sklearn.gaussian_process.kernels.ExpSineSquared",
        "sklearn.gaussian_process.kernels.Exponentiation",
        "sklearn.gaussian_process.kernels.Matern",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.gaussian_process.kernels.RationalQuadratic",
        "sklearn.gaussian_process.kernels.Sum",
        "sklearn.gaussian_process.kernels.WhiteKernel",
    ),
    # A dictionary with attribute access, and a constant in the place of a one-class member.
    "compositions": (
        "sklearn.multiclass._ConstantPredictor",
        "sklearn.utils._bunch.Bunch",
    ),
    # Integers and a random state each; their split() only draws row numbers.
    "splitters": (
        "sklearn.model_selection._split.GroupKFold",
        "sklearn.model_selection._split.GroupShuffleSplit",
        "sklearn.model_selection._split.KFold",
        "sklearn.model_selection._split.LeaveOneGroupOut",
        "sklearn.model_selection._split.LeaveOneOut",
        "sklearn.model_selection._split.PredefinedSplit",
        "sklearn.model_selection._split.RepeatedKFold",
        "sklearn.model_selection._split.RepeatedStratifiedKFold",
        "sklearn.model_selection._split.ShuffleSplit",
        "sklearn.model_selection._split.StratifiedGroupKFold",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.model_selection._split.StratifiedShuffleSplit",
        "sklearn.model_selection._split.TimeSeriesSplit",
    ),
    # Score functions are called on the model's own predictions and have no side effects.
    "tuned models": (
        "sklearn.metrics._classification.accuracy_score",
        "sklearn.metrics._classification.balanced_accuracy_score",
        "sklearn.metrics._classification.brier_score_loss",
        "sklearn.metrics._classification.log_loss",
        "sklearn.metrics._ranking.roc_auc_score",
        "sklearn.metrics._regression.mean_absolute_error",
        "sklearn.metrics._regression.mean_squared_error",
        "sklearn.metrics._regression.r2_score",
        "sklearn.metrics._regression.root_mean_squared_error",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.metrics._scorer._Scorer",
    ),
    # Univariate tests, spline knots and an output type: functions of arrays, and arrays.
    "preprocessing": (
        "numpy.dtype",
        "scipy.interpolate._bsplines.BSpline",
        "scipy._lib.array_api_compat.numpy._aliases.asarray",
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
    ),
}

TRUSTED_TYPES: tuple[str, ...] = tuple(name for names in _TRUSTED_FOR.values() for name in names)

# Without mutable content, whether two such objects are one object depends on how Python interned
# a constant, which differs between a compiled and a freshly parsed module.
_VALUES = ("JsonNode", "TypeNode", "FunctionNode")


def dump_models(
    models: Mapping[str, Any],
    path: str | Path,
    attributes: Mapping[str, str],
    trusted_types: Sequence[str] | None = None,
) -> None:
    """Write fitted models to one file; the same models give the same bytes.

    Parameters
    ----------
    models : mapping of str to estimator
        For example the fold models of one base model, by fold name.
    path : path
        Where to write.
    attributes : mapping of str to str
        What made the file: study, seed, library version, checksums.
    trusted_types : sequence of str, optional
        If given, a file that `load_models` would refuse with these types is not written.

    Raises
    ------
    InputError
        If skops cannot store a model without pickle, or a type is not trusted.
    """
    import skops.io
    from skops.io.exceptions import UnsupportedTypeException

    raw = io.BytesIO()
    try:
        skops.io.dump(dict(models), raw)
    except UnsupportedTypeException as error:
        raise InputError(
            f"{path}: cannot store these models without pickle: {one_line(error)}; "
            "take another model"
        ) from error
    if trusted_types is not None:
        _check_trusted(skops.io.get_untrusted_types(data=raw.getvalue()), trusted_types, path)
    with ZipFile(raw) as source:
        schema = json.loads(source.read("schema.json"))
        numbering = _Numbering()
        numbering.rewrite(schema)
        members = {
            "schema.json": _to_json(schema),
            ATTRIBUTES_MEMBER: _to_json(dict(sorted(attributes.items()))),
        }
        with ZipFile(path, "w") as target:
            for name, content in members.items():
                write_member(target, name, content)
            for old, new in numbering.files.items():
                write_member(target, new, _without_padding(source.read(old)))


def load_models(path: str | Path, trusted_types: Sequence[str] = ()) -> dict[str, Any]:
    """Read the models of a file, building objects of trusted types only.

    Parameters
    ----------
    path : path
        A file of `dump_models`.
    trusted_types : sequence of str
        Types (or functions) to trust besides `TRUSTED_TYPES` and what skops trusts by itself.

    Raises
    ------
    InputError
        If the file is missing, is not whole, or holds other types.
    """
    import skops.io
    from skops.io.exceptions import UntrustedTypesFoundException

    trusted = [*TRUSTED_TYPES, *trusted_types]
    try:
        return skops.io.load(path, trusted=trusted)
    except UntrustedTypesFoundException:
        _check_trusted(skops.io.get_untrusted_types(file=path), trusted_types, path)
        raise
    except FileNotFoundError:
        raise InputError(
            f"{path}: there is no such file; name a model of the study, or run the workflow first"
        ) from None
    except (BadZipFile, KeyError, OSError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: is not a whole file of models ({one_line(error)}); delete it and run again"
        ) from error


def _check_trusted(
    untrusted: Sequence[str], trusted_types: Sequence[str], path: str | Path
) -> None:
    unknown = sorted(set(untrusted) - {*TRUSTED_TYPES, *trusted_types})
    if unknown:
        raise InputError(
            f"{path}: holds objects of types that are not trusted: {', '.join(unknown)}; "
            "if you know them, list them under trusted_types in the config"
        )


def read_attributes(path: str | Path) -> dict[str, str]:
    """Read what made a file of models, without building any of them."""
    with ZipFile(path) as source:
        return json.loads(source.read(ATTRIBUTES_MEMBER))


class _Numbering:
    """New names for objects and array files, in order of first appearance."""

    def __init__(self) -> None:
        self.ids: dict[int, int] = {}
        self.files: dict[str, str] = {}

    def rewrite(self, part: Any) -> None:
        """Rename in place, throughout a part of skops' schema."""
        if isinstance(part, list):
            for item in part:
                self.rewrite(item)
        elif isinstance(part, dict):
            if "__loader__" in part:
                self._rewrite_node(part)
            for item in part.values():
                self.rewrite(item)

    def _rewrite_node(self, node: dict[str, Any]) -> None:
        if _is_value(node):
            node.pop("__id__", None)
        elif "__id__" in node:
            node["__id__"] = self.ids.setdefault(node["__id__"], len(self.ids) + 1)
        if node["__loader__"] == "SetNode":
            # The order of a set of strings changes with Python's hash seed.
            node["content"].sort(key=lambda item: _to_json(_without_ids(item)))
        if isinstance(old := node.get("file"), str):
            suffix = Path(old).suffix
            node["file"] = self.files.setdefault(old, f"{len(self.files) + 1}{suffix}")


def _is_value(node: Any) -> bool:
    if node["__loader__"] == "TupleNode":
        return all(_is_value(item) for item in node["content"])
    return node["__loader__"] in _VALUES


def _without_ids(part: Any) -> Any:
    if isinstance(part, dict):
        return {key: _without_ids(value) for key, value in part.items() if key != "__id__"}
    return [_without_ids(item) for item in part] if isinstance(part, list) else part


def _without_padding(content: bytes) -> bytes:
    """Zero the bytes between the fields of a structured array.

    The nodes of a tree have seven such bytes each; in a tree that was read from a file they are
    left over from other memory.
    """
    if b"{'descr': [" not in content[:32]:
        return content
    import numpy as np

    array = np.load(io.BytesIO(content), allow_pickle=False)
    clean = np.zeros(array.shape, array.dtype)
    for name in array.dtype.names:
        clean[name] = array[name]
    buffer = io.BytesIO()
    np.save(buffer, clean, allow_pickle=False)
    return buffer.getvalue()


def _to_json(content: Any) -> bytes:
    return json.dumps(content, separators=(",", ":")).encode()


def write_member(
    target: ZipFile, name: str, content: bytes, compress_type: int = ZIP_DEFLATED
) -> None:
    """Write one member of a zip file; equal contents give equal bytes everywhere."""
    # Time, system and permissions would differ between two runs and two machines.
    info = ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.create_system, info.external_attr = 3, 0o644 << 16
    target.writestr(info, content, compress_type=compress_type, compresslevel=COMPRESSION)
