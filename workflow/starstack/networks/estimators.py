"""Networks as scikit-learn estimators: clone-safe, seeded, stored without pickle."""

import inspect
import json
import logging
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    validate_data,
)

from starstack.errors import InputError
from starstack.models.classes import one_line
from starstack.networks.architectures import check_build
from starstack.networks.fitting import FitOptions, fit_network, select
from starstack.networks.heads import head_of, make_network, precision
from starstack.networks.holdout import hold_out
from starstack.networks.persistence import FittedNetwork, load_network, save_network
from starstack.networks.scaling import KINDS, Scaler, fit_scaler
from starstack.seeds import derive_seed

if TYPE_CHECKING:
    import keras

logger = logging.getLogger(__name__)

# Single precision stays as it is: spectra are read so.
_READING = {"dtype": (np.float64, np.float32), "allow_nd": True}
DTYPES = ("float32", "float64", "mixed_float16", "mixed_bfloat16")

_DESCRIPTION = """The head of the network and its loss follow from the data: {head}.
    Inputs{targets} are standardised on the rows that the network is trained on. A part of the rows
    that ``fit`` is given is held out to stop early; the weights of the best epoch are kept.

    Parameters
    ----------
    build : str or callable
        The body: ``dense``, ``starnet``, ``cnn_2d``, ``recurrent`` (their options are in
        :mod:`starstack.networks.architectures`), the dotted path of a function, or a function.
    build_params : dict, optional
        Options of the builder, such as ``units`` and ``dropout``.
    input_shape : sequence of int, optional
        Shape that each row is brought to, such as [8, 8] for an image in 64 columns; by default
        rows stay as they are.
    allowed_packages : sequence of str
        Packages that the dotted path of a builder may lead to.
    scaling : str
        Of the inputs: ``per_feature``, ``common`` or ``none``; see
        :func:`starstack.networks.scaling.fit_scaler`.
    epochs : int
        Passes over the training rows, at most.
    batch_size : int or None
        Rows of one step; None for all.
    learning_rate, beta_1, beta_2, epsilon : float
        Of the Adam optimiser.
    learning_rate_schedule : str
        ``constant``, or ``cosine``: half a cosine from the learning rate down to zero over all
        epochs.
    validation_fraction : float
        Share of the rows (of the groups, if ``fit`` is given groups) that is held out for early
        stopping; 0 for none. Too few rows to hold one out are all trained on.
    patience : int
        Epochs without progress on the held-out rows after which training stops.
    jit_compile : bool
        Compile the training step by XLA; pays where training takes minutes.
    dtype : str
        Precision of the arithmetic, one of Keras's dtype policies.
    random_state : int, RandomState instance or None
        Decides initial weights, held-out rows, order of the rows and dropout. The same integer
        gives the same network, and no global random state is set.

    Attributes
    ----------
    network_ : FittedNetwork
        The trained network with its scales.
    history_ : dict of str to list of float
        Losses by epoch.
    n_iter_ : int
        Number of epochs.
    n_features_in_ : int
        Length of the second axis of the rows seen in ``fit``.
    feature_names_in_ : ndarray of str
        Their names, if they had any."""


class _KerasEstimator(BaseEstimator):
    """What both estimators share."""

    _parameter_constraints: ClassVar[dict] = {
        "build": [str, callable],
        "build_params": [dict, None],
        "input_shape": ["array-like", None],
        "allowed_packages": ["array-like"],
        "scaling": [StrOptions(set(KINDS))],
        "epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "learning_rate_schedule": [StrOptions({"constant", "cosine"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "patience": [Interval(Integral, 0, None, closed="left")],
        "jit_compile": ["boolean"],
        "dtype": [StrOptions(set(DTYPES))],
        "random_state": ["random_state"],
    }

    # What `fit` sets beside `network_`, and a file must hold.
    _fitted: ClassVar[tuple[str, ...]] = ("history_", "n_iter_", "n_features_in_", "_row_shape")

    def __init__(
        self,
        build: "str | Callable[..., keras.Model]" = "dense",
        *,
        build_params: Mapping[str, Any] | None = None,
        input_shape: Sequence[int] | None = None,
        allowed_packages: Sequence[str] = ("starstack",),
        scaling: str = "per_feature",
        epochs: int = 100,
        batch_size: int | None = 32,
        learning_rate: float = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        learning_rate_schedule: str = "constant",
        validation_fraction: float = 0.1,
        patience: int = 10,
        jit_compile: bool = False,
        dtype: str = "float32",
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.build = build
        self.build_params = build_params
        self.input_shape = input_shape
        self.allowed_packages = allowed_packages
        self.scaling = scaling
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.learning_rate_schedule = learning_rate_schedule
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.jit_compile = jit_compile
        self.dtype = dtype
        self.random_state = random_state

    def _validate_params(self) -> None:
        super()._validate_params()
        check_build(self.build, self.build_params, self.allowed_packages)

    def _train(
        self,
        X: np.ndarray,
        target: np.ndarray,
        codes: np.ndarray | None,
        n_outputs: int,
        sample_weight: np.ndarray | None,
        groups: np.ndarray | None,
    ) -> None:
        """Hold rows out, learn the scales, train; all on rows that count."""
        if sample_weight is not None:
            used = np.flatnonzero(sample_weight)
            X, target, sample_weight = X[used], target[used], sample_weight[used]
            codes = None if codes is None else codes[used]
            groups = None if groups is None else groups[used]
        task = "regression" if codes is None else "classification"
        root = check_random_state(self.random_state).randint(2**31 - 1)
        train, validation = hold_out(
            len(X),
            self.validation_fraction,
            seed=derive_seed(root, "held-out rows"),
            codes=codes,
            groups=groups,
        )
        self._row_shape = X.shape[1:]
        shape = self._row_shape if self.input_shape is None else _lengths(self.input_shape)
        flat = X.reshape(len(X), -1)
        if np.prod(shape) != flat.shape[1]:
            raise InputError(
                f"input_shape {list(shape)} holds {np.prod(shape)} values, a row of X has "
                f"{flat.shape[1]}; correct input_shape"
            )
        weights = None if sample_weight is None else sample_weight / sample_weight[train].mean()
        counts = None if weights is None else [weights[train]]
        input_scaler = fit_scaler([flat[train]], self.scaling, counts)
        target_scaler = Scaler(0.0, 1.0)
        if codes is None:
            target_scaler = fit_scaler([target[train]], "per_feature", counts)
        with precision(self.dtype):
            network = make_network(
                self.build,
                _plain(self.build_params),
                input_shape=shape,
                task=task,
                n_outputs=n_outputs,
                seed=derive_seed(root, "weights"),
                allowed_packages=self.allowed_packages,
            )
            number = network.inputs[0].dtype
            rows = (
                input_scaler.transform(flat).astype(number).reshape(-1, *shape),
                target_scaler.transform(target).astype(number),
                *(() if weights is None else (weights.astype(number),)),
            )
            self.history_ = fit_network(
                network,
                head_of(task, n_outputs),
                select(rows, train),
                select(rows, validation) if len(validation) else None,
                FitOptions(
                    **{item.name: _plain(getattr(self, item.name)) for item in fields(FitOptions)}
                ),
                seed=derive_seed(root, "order of the rows"),
            )
        self.n_iter_ = len(self.history_["loss"])
        self.network_ = FittedNetwork(
            model=network,
            task=task,
            target_names=(),
            classes=tuple(self.classes_.tolist()) if codes is not None else (),
            input_shape=shape,
            input_scaler=input_scaler,
            target_scaler=target_scaler,
        )
        logger.info(
            "%s: %d epochs on %d rows, %d held out",
            type(self).__name__,
            self.n_iter_,
            len(train),
            len(validation),
        )

    def _check_new_rows(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, **_READING)
        if X.shape[1:] != tuple(self._row_shape):
            raise InputError(
                f"expected rows of shape {tuple(self._row_shape)}, as in fit; got {X.shape[1:]}"
            )
        return X

    def _check_extras(self, X: np.ndarray, sample_weight: Any, groups: Any) -> tuple[Any, Any]:
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        if groups is not None:
            groups = column_or_1d(groups)
            check_consistent_length(X, groups)
            try:
                np.unique(groups)
            except TypeError as error:
                raise InputError(
                    f"groups: expected labels of one type, got several ({error}); give each row "
                    "the name or the number of its group"
                ) from error
        return sample_weight, groups

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    # Files.

    def save(self, path: str | Path) -> None:
        """Write the fitted estimator as ``<path>.keras`` and ``<path>.json``.

        Parameters
        ----------
        path : path
            Both files without their endings.

        Raises
        ------
        InputError
            If a parameter cannot be written as JSON, such as a function as builder.
        """
        check_is_fitted(self)
        state = {key: value for key, value in vars(self).items() if key != "network_"}
        arrays = {
            key: {"dtype": value.dtype.str, "values": value.tolist()}
            for key, value in state.items()
            if isinstance(value, np.ndarray)
        }
        plain = {key: value for key, value in state.items() if key not in arrays}
        stored = {"class": type(self).__name__, "values": plain, "arrays": arrays}
        try:
            stored = json.loads(json.dumps(_plain(stored)))
        except TypeError as error:
            raise InputError(
                f"{path}: a parameter cannot be written as JSON ({error}); name the builder by "
                "its dotted path, and give an integer as random_state"
            ) from error
        provenance = self.network_.provenance | {"estimator": stored}
        network = replace(self.network_, provenance=provenance)
        save_network(network, f"{path}.keras", f"{path}.json")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote, without running code from the files.

        Raises
        ------
        InputError
            As `starstack.networks.persistence.load_network`, or if the files are those of
            another estimator.
        """
        network = load_network(f"{path}.keras", f"{path}.json")
        stored = network.provenance.get("estimator", {})
        try:
            name = stored.get("class", "a network")
            values = cls._read_state(stored, network) if name == cls.__name__ else {}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"{path}.json: the estimator in it is damaged, or of another version of "
                f"starstack ({type(error).__name__}: {one_line(error)}); save it again"
            ) from error
        if name != cls.__name__:
            raise InputError(
                f"{path}.json: expected a {cls.__name__}, got {name}; read it with the class that "
                "wrote it"
            )
        estimator = cls()
        vars(estimator).update(values)
        estimator.network_ = network
        return estimator

    @classmethod
    def _read_state(cls, stored: Mapping[str, Any], network: FittedNetwork) -> dict[str, Any]:
        """Give parameters and fitted attributes, all of them and no others."""
        values = stored["values"] | {
            key: np.array(array["values"], dtype=array["dtype"])
            for key, array in stored["arrays"].items()
        }
        needed = {*inspect.signature(cls).parameters, *cls._fitted}
        if unknown := values.keys() - needed - {"feature_names_in_"}:
            raise ValueError(f"unknown {min(unknown)!r}")
        if missing := needed - values.keys():
            raise ValueError(f"no {min(missing)!r}")
        shape = tuple(operator.index(length) for length in values["_row_shape"])
        agreements = {
            "classes_": list(network.classes) == np.ravel(values.get("classes_", ())).tolist(),
            "_row_shape": math.prod(shape) == math.prod(network.input_shape),
            "n_features_in_": shape[0] == values["n_features_in_"],
            "feature_names_in_": len(values.get("feature_names_in_", range(shape[0]))) == shape[0],
        }
        for key, agrees in agreements.items():
            if not agrees:
                raise ValueError(f"{key!r} does not fit the network")
        return values | {"_row_shape": shape}


def _plain(value: Any) -> Any:
    """Turn numbers and arrays of NumPy into those of Python, also inside of lists and dicts."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _lengths(input_shape: Sequence[int]) -> tuple[int, ...]:
    lengths = tuple(_plain(list(input_shape)))
    if not all(isinstance(length, int) and length > 0 for length in lengths):
        raise InputError(
            f"input_shape: expected positive integers, got {list(lengths)}; give the shape of one "
            "row"
        )
    return lengths


class KerasClassifier(ClassifierMixin, _KerasEstimator):
    """Classify by a network of Keras.

    {description}
    classes_ : ndarray of shape (C,)
        The classes, sorted.
    """

    _fitted = (*_KerasEstimator._fitted, "classes_")

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None
    ) -> "KerasClassifier":
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n, p), or (n, …) for images and sequences
            Rows, without NaN.
        y : array-like of shape (n,)
            Classes, of any type.
        sample_weight : array-like of shape (n,), optional
            How much each row counts; rows of weight zero are left out.
        groups : array-like of shape (n,), optional
            Rows of one group are held out together for early stopping.

        Returns
        -------
        self
        """
        self._validate_params()
        X, y = validate_data(self, X, y, **_READING)
        check_classification_targets(y)
        sample_weight, groups = self._check_extras(X, sample_weight, groups)
        self.classes_, codes = np.unique(y, return_inverse=True)
        present = np.unique(codes if sample_weight is None else codes[sample_weight > 0])
        if len(present) < 2:
            raise InputError(
                f"{type(self).__name__} needs rows of at least two classes, got one class: "
                f"{self.classes_[present[0]]!r}"
            )
        self._train(X, codes[:, None], codes, len(self.classes_), sample_weight, groups)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Predict the probabilities of the classes.

        Parameters
        ----------
        X : array-like of shape (n, p), or (n, …)
            Rows.

        Returns
        -------
        ndarray of shape (n, C)
            One column per class, in the order of ``classes_``.
        """
        X = self._check_new_rows(X)
        return self.network_.predict_proba(X)

    def predict(self, X: Any) -> np.ndarray:
        """Predict the most probable class of each row."""
        codes = self.predict_proba(X).argmax(axis=1)
        return self.classes_[codes]


class KerasRegressor(RegressorMixin, _KerasEstimator):
    """Predict one or several numbers by a network of Keras.

    {description}
    """

    _fitted = (*_KerasEstimator._fitted, "_one_target")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None
    ) -> "KerasRegressor":
        """Train the network.

        Parameters
        ----------
        X : array-like of shape (n, p), or (n, …) for images and sequences
            Rows, without NaN.
        y : array-like of shape (n,) or (n, k)
            Targets; each counts the same, whatever its units.
        sample_weight : array-like of shape (n,), optional
            How much each row counts; rows of weight zero are left out.
        groups : array-like of shape (n,), optional
            Rows of one group are held out together for early stopping.

        Returns
        -------
        self
        """
        self._validate_params()
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=True, **_READING)
        sample_weight, groups = self._check_extras(X, sample_weight, groups)
        self._one_target = y.ndim == 1
        target = y.reshape(len(y), -1).astype(np.float64)
        self._train(X, target, None, target.shape[1], sample_weight, groups)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Predict the targets of each row, shape (n,) or (n, k) as in ``fit``."""
        X = self._check_new_rows(X)
        values = self.network_.predict(X)
        return values[:, 0] if self._one_target else values


def _describe(cls: type, head: str, targets: str) -> None:
    # The parameters are the same, and are written once.
    text = _DESCRIPTION.format(head=head, targets=targets)
    cls.__doc__ = inspect.cleandoc(cls.__doc__.replace("{description}", text))


_describe(KerasClassifier, "one sigmoid for two classes, a softmax for more", "")
_describe(KerasRegressor, "linear, squared error", " and targets")
