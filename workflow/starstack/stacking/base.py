"""What both stacking estimators share: folds, out-of-fold predictions, layout, reading.

The meta-learner is fitted on out-of-fold predictions only, every base model meets the same folds,
and the rows that were trained on are known by their content, so that ``transform`` never passes
in-sample predictions off as meta-features.
"""

from abc import ABCMeta, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import sparse
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Bunch, _safe_indexing, assert_all_finite, get_tags
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import (
    _check_feature_names_in,
    _check_sample_weight,
    _num_samples,
    check_array,
    check_is_fitted,
    column_or_1d,
    has_fit_parameter,
    validate_data,
)

from starstack.errors import InputError
from starstack.stacking.already_fitted import align, check_estimators, stored_predictions
from starstack.stacking.cross_fit import cross_fit
from starstack.stacking.folds import draw_folds
from starstack.stacking.layout import assemble_meta_features
from starstack.stacking.members import fit_argument, make_member, predict_member
from starstack.stacking.meta_learners import build_meta_learner, fit_meta_learner
from starstack.stacking.risk import risk_table
from starstack.stacking.seen_rows import is_single_precision, row_keys
from starstack.stacking.weights import describe_weights, linear_weights


class BaseStacking(TransformerMixin, _BaseComposition, metaclass=ABCMeta):
    """What the classifier and the regressor share: everything but the coding of ``y``."""

    _parameter_constraints: ClassVar[dict] = {
        "estimators": [list],
        "final_estimator": [None, str, HasMethods(["fit", "predict"])],
        "cv": ["cv_object"],
        "drop_first": ["boolean"],
        "keep_features": ["boolean"],
        "refit": ["boolean"],
        "member_predictions": [StrOptions({"refit", "fold_mean"})],
        "n_jobs": [None, int],
    }

    def __init__(
        self,
        estimators,
        final_estimator=None,
        *,
        cv=5,
        drop_first=True,
        keep_features=False,
        refit=True,
        member_predictions="refit",
        n_jobs=None,
    ):
        self.estimators = estimators
        self.final_estimator = final_estimator
        self.cv = cv
        self.drop_first = drop_first
        self.keep_features = keep_features
        self.refit = refit
        self.member_predictions = member_predictions
        self.n_jobs = n_jobs

    # What differs between the tasks.

    _task: str
    _default_final_estimator: str
    _is_right_kind: staticmethod

    def _labels(self) -> Sequence[object] | None:
        """Class labels in code order; None for regression."""
        return getattr(self, "classes_", None)

    @abstractmethod
    def _encode_target(self, y: object) -> np.ndarray:
        """Check ``y``; return class codes or values and set what the task needs."""

    # scikit-learn's plumbing.

    def get_params(self, deep=True):
        """Get the parameters, and those of the base models by their names."""
        return self._get_params("estimators", deep=deep)

    def set_params(self, **params):
        """Set parameters; ``<name>`` replaces a base model, ``<name>__<parameter>`` sets in it."""
        self._set_params("estimators", **params)
        return self

    @property
    def named_estimators(self):
        """Base models by name."""
        return Bunch(**dict(self.estimators))

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        try:
            bases = [get_tags(estimator).input_tags for _, estimator in self.estimators]
            if self.keep_features:
                bases.append(get_tags(self._unfitted_final_estimator()).input_tags)
            tags.input_tags.allow_nan = all(base.allow_nan for base in bases)
            tags.input_tags.sparse = all(base.sparse for base in bases)
        except Exception:
            pass
        return tags

    def _sk_visual_block_(self):
        from sklearn.utils._repr_html.estimator import _VisualBlock

        names, estimators = zip(*self.estimators, strict=True)
        parallel = _VisualBlock("parallel", estimators, names=names, dash_wrapped=False)
        final = _VisualBlock("parallel", [self.final_estimator], names=["final_estimator"])
        return _VisualBlock("serial", (parallel, final), dash_wrapped=False)

    # Fitting.

    def fit(self, X, y, groups=None, sample_weight=None, *, oof_predictions=None):
        """Fit the base models, their out-of-fold predictions and the meta-learner.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame of shape (n, p)
            Training rows.
        y : array of shape (n,) or (n, targets)
            Class labels or values.
        groups : array of shape (n,), optional
            Rows of one group stay on one side of every fold. With an integer ``cv`` the grouped
            form of the default splitter is used.
        sample_weight : array of shape (n,), optional
            Passed to the base models and the meta-learner that accept it; the others ignore it.
        oof_predictions : mapping of name to array, optional
            With ``refit=False``: for each base model its predictions of these rows by models
            that had not seen them, as its ``predict_proba`` (or ``decision_function``, or
            ``predict``) gives them. NaN marks rows without one; they take no part in the fit of
            the meta-learner.

        Returns
        -------
        self

        Raises
        ------
        InputError
            Before anything is fitted: names that cannot be columns, a fold that lacks a class or
            whose held-out rows are fitted on, already-fitted base models without stored
            out-of-fold predictions, a meta-learner that cannot take these base models.
        """
        self._validate_params()
        check_estimators(
            self.estimators,
            oof_predictions,
            task=self._task,
            refit=self.refit,
            member_predictions=self.member_predictions,
        )
        names = [name for name, _ in self.estimators]
        self._validate_names(names)
        final = self._unfitted_final_estimator()
        X = self._check_rows(X, reset=True)
        if y is None:
            raise InputError(
                f"{type(self).__name__} requires y to be passed, but the target y is None"
            )
        y = self._encode_target(y)
        n_rows = _num_samples(X)
        if len(y) != n_rows:
            raise InputError(f"X has {n_rows} rows, y has {len(y)}; give one label per row")
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        groups = None if groups is None else column_or_1d(groups)
        if groups is not None and pd.isna(groups).any():
            row = int(np.flatnonzero(pd.isna(groups))[0])
            raise InputError(
                f"groups: row {row} has none (missing value); name the group of every row, a "
                "group of its own where there is no other"
            )
        if groups is not None and len(groups) != n_rows:
            raise InputError(f"X has {n_rows} rows, groups has {len(groups)}; give one per row")
        self._features = self._input_feature_names()
        self._check_column_names(names)
        self._members = {
            name: make_member(estimator, task=self._task, n_outputs=len(self._outputs))
            for name, estimator in self.estimators
        }
        if has_fit_parameter(final, "layout"):
            self._check_blend()
        if not self.refit:
            folds = None
            predictions, predicted = stored_predictions(
                self._members, oof_predictions, n_rows, self._labels()
            )
            self.estimators_ = [estimator for _, estimator in self.estimators]
        else:
            classes = self._outputs if self._task == "classification" else None
            folds = draw_folds(self.cv, X, y, groups, classes)
            crossed = cross_fit(
                self._members,
                X,
                y,
                folds,
                sample_weight=sample_weight,
                groups=groups,
                keep_fold_models=self.member_predictions == "fold_mean",
                n_jobs=self.n_jobs,
            )
            predictions = dict(zip(names, crossed.out_of_fold, strict=True))
            predicted, self.estimators_ = crossed.predicted, crossed.models
        self.named_estimators_ = Bunch(**dict(zip(names, self.estimators_, strict=True)))
        self.stack_method_ = [member.method for member in self._members.values()]
        Z, self.layout_ = self._assemble(predictions, X)
        self.oof_meta_features_, self.has_oof_ = Z, predicted
        self._training = Bunch(
            row_keys=row_keys(X),
            single_keys=row_keys(X, np.float32),
            single_precision=is_single_precision(X),
            row_weight=self._row_weight(n_rows, sample_weight),
            predictions=predictions,
            y=y,
            groups=groups,
            sample_weight=sample_weight,
            folds=folds,
        )
        rows = slice(None) if predicted.all() else np.flatnonzero(predicted)
        self.final_estimator_ = fit_meta_learner(
            final,
            Z[rows],
            y[rows],
            layout=self.layout_,
            sample_weight=None if sample_weight is None else sample_weight[rows],
            groups=None if groups is None else groups[rows],
        )
        return self

    def _check_column_names(self, names: Sequence[str]) -> None:
        clash = [f for f in self._features if any(f.startswith(f"{name}__") for name in names)]
        if self.keep_features and clash:
            raise InputError(
                f"keep_features: the input feature {clash[0]!r} is named like a meta-feature of "
                f"the base model {clash[0].split('__')[0]!r}; rename one of the two"
            )

    def _row_weight(self, n_rows: int, sample_weight: np.ndarray | None) -> np.ndarray:
        """How often a row counts as trained on: its weight, if every base model heeds weights."""
        if sample_weight is None or not self.refit:
            return np.ones(n_rows)
        heeded = all(fit_argument(m.estimator, "sample_weight") for m in self._members.values())
        return sample_weight if heeded else np.ones(n_rows)

    def _check_blend(self) -> None:
        """Let a blend look at columns of the right names: it refuses what it cannot weigh."""
        row = {name: np.zeros((1, m.width)) for name, m in self._members.items()}
        kinds = {name: member.kind for name, member in self._members.items()}
        kept = np.zeros((1, 1)) if self.keep_features else None
        Z, layout = assemble_meta_features(
            row, kinds, self._outputs, drop_first=self.drop_first, X=kept, feature_names=("x",)
        )
        layout.members(Z)

    # Predicting.

    def _member_predictions(self, X: object) -> dict[str, np.ndarray]:
        predictions = {}
        for (name, member), fitted in zip(self._members.items(), self.estimators_, strict=True):
            if self.member_predictions == "fold_mean":
                blocks = [predict_member(member, model, X) for model in fitted]
                predictions[name] = np.mean(blocks, axis=0)
            else:
                block = predict_member(member, fitted, X)
                classes = None if self.refit else self._labels()
                predictions[name] = align(member, name, block, classes)
        return predictions

    def _assemble(self, predictions: Mapping[str, np.ndarray], X: object):
        kept = None
        if self.keep_features:
            kept = X if sparse.issparse(X) else np.asarray(X)
            kept = kept[:, None] if kept.ndim == 1 else kept
        return assemble_meta_features(
            predictions,
            {name: member.kind for name, member in self._members.items()},
            self._outputs,
            drop_first=self.drop_first,
            X=kept,
            feature_names=self._features if self.keep_features else (),
        )

    def _check_rows(self, X: object, *, reset: bool) -> object:
        """Make X indexable by rows; its values are the business of the base models."""
        if sparse.issparse(X):
            X = X if X.format in ("csr", "csc") else X.tocsr()
        elif not hasattr(X, "columns"):
            X = check_array(
                X, dtype=None, ensure_all_finite=False, allow_nd=True, estimator=self,
                ensure_min_features=0,
            )  # fmt: skip
        validate_data(self, X=X, reset=reset, skip_check_array=True)
        if self.keep_features and not get_tags(self).input_tags.allow_nan:
            # Kept features reach the meta-learner past the base models' own checks.
            values = X.to_numpy() if hasattr(X, "to_numpy") else X
            assert_all_finite(values, estimator_name=type(self).__name__, input_name="X")
        return X

    def _meta_features(self, X: object) -> np.ndarray:
        check_is_fitted(self)
        X = self._check_rows(X, reset=False)
        return self._assemble(self._member_predictions(X), X)[0]

    def predict(self, X):
        """Predict labels or values of new rows."""
        Z = self._meta_features(X)
        return self._decode(self.final_estimator_.predict(Z))

    def _decode(self, prediction: np.ndarray) -> np.ndarray:
        return prediction

    def transform(self, X):
        """Give meta-features as the meta-learner sees them.

        Rows that were trained on (recognised by their content, wherever they stand) get their
        out-of-fold meta-features, the mean of them if the training rows hold a row twice, and NaN
        if no fold predicted it; all other rows get the predictions of the fitted base models.
        In-sample predictions of such a row are never returned. Numbers are compared as float64,
        or as float32 where ``X`` or the training rows are single precision; a row whose numbers
        were changed in another way, were it in the last digit, counts as a new one.

        Parameters
        ----------
        X : array, sparse matrix or DataFrame of shape (n, p)
            Rows.

        Returns
        -------
        ndarray of shape (n, columns), or sparse matrix if ``X`` is sparse and kept
            Columns are named by ``get_feature_names_out``.
        """
        check_is_fitted(self)
        X = self._check_rows(X, reset=False)
        if self._training.single_precision or is_single_precision(X):
            keys, known = row_keys(X, np.float32), self._training.single_keys
        else:
            keys, known = row_keys(X), self._training.row_keys
        used = self._training.row_weight > 0
        known, has_oof = known[used], self.has_oof_[used]
        weight = self._training.row_weight[used, None][has_oof]
        seen = np.isin(keys, known)
        if not seen.any():
            return self._meta_features(X)
        width = sum(1 for column in self.layout_.columns if column.model)
        values = np.empty((len(keys), width))
        stored = self.oof_meta_features_[:, :width]
        stored = (stored.toarray() if sparse.issparse(stored) else stored)[used]
        unique, owner = np.unique(known, return_inverse=True)
        total, count = np.zeros((len(unique), width)), np.zeros((len(unique), 1))
        np.add.at(total, owner[has_oof], weight * stored[has_oof])
        np.add.at(count, owner[has_oof], weight)
        mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        values[seen] = mean[np.searchsorted(unique, keys[seen])]
        if not seen.all():
            new = np.flatnonzero(~seen)
            fresh = self._meta_features(_safe_indexing(X, new))[:, :width]
            values[new] = fresh.toarray() if sparse.issparse(fresh) else fresh
        if width == len(self.layout_.columns):
            return values
        if sparse.issparse(X):
            return sparse.hstack([values, X], format=X.format)
        return np.hstack([values, np.asarray(X)])

    def fit_transform(self, X, y=None, groups=None, sample_weight=None, *, oof_predictions=None):
        """Fit, and give the out-of-fold meta-features that the meta-learner was fitted on."""
        self.fit(X, y, groups, sample_weight, oof_predictions=oof_predictions)
        return self.oof_meta_features_.copy()

    # Reading.

    def _input_feature_names(self) -> list[str]:
        if self.n_features_in_ is None:
            return []
        return [str(name) for name in _check_feature_names_in(self)]

    def get_feature_names_out(self, input_features=None):
        """Names of the meta-features, ``<model>__<class or target>``, then kept features."""
        check_is_fitted(self)
        _check_feature_names_in(self, input_features)
        return np.asarray(self.layout_.names, dtype=object)

    @property
    def meta_feature_names_(self) -> list[str]:
        """Names of the columns that the meta-learner sees."""
        check_is_fitted(self)
        return self.layout_.names

    def _linear_weights(self) -> tuple[pd.DataFrame, pd.Series]:
        check_is_fitted(self)
        named = linear_weights(self.final_estimator_, self.layout_.names, self._outputs)
        if named is None:
            raise AttributeError(
                f"{type(self.final_estimator_).__name__} has no linear weights; use a linear or "
                "blending meta-learner to read weights"
            )
        return named

    @property
    def weights_(self) -> pd.DataFrame:
        """Weights of a linear or blending meta-learner: named rows, one column per output."""
        return self._linear_weights()[0]

    @property
    def bias_(self) -> pd.Series:
        """Constant term of a linear meta-learner, per output; zero for a blend."""
        return self._linear_weights()[1]

    def describe(self) -> str:
        """Weights and bias in one line per output: ``Weights: … Bias: …``."""
        return describe_weights(*self._linear_weights())

    def risk_table(self, metric: str | None = None) -> pd.DataFrame:
        """Honest scores of the base models and of the meta-learner, with standard errors.

        Parameters
        ----------
        metric : str, optional
            A key of ``starstack.metrics.scores.METRICS``; by default ``log_loss`` or ``rmse``.

        Returns
        -------
        DataFrame
            Columns ``estimator``, ``role`` (base or meta), ``figure``, ``metric``, ``output``,
            ``value``, ``standard_error``, ``n``. The figure of a base model is ``out-of-fold``;
            that of the meta-learner ``cross-validated`` over the stored out-of-fold matrix (see
            :func:`starstack.stacking.meta_learners.cross_validated_predictions`), left out with
            ``refit=False``, where the folds are not known.
        """
        check_is_fitted(self)
        return risk_table(
            self._training.predictions,
            {name: member.kind for name, member in self._members.items()},
            self.oof_meta_features_,
            self.layout_,
            self._training.y,
            task=self._task,
            metric=metric,
            meta_learner=self._unfitted_final_estimator(),
            folds=self._training.folds,
            groups=self._training.groups,
            sample_weight=self._training.sample_weight,
        )

    def _unfitted_final_estimator(self) -> BaseEstimator:
        final = self.final_estimator
        if final is None or isinstance(final, str):
            return build_meta_learner(
                {"class": final or self._default_final_estimator}, task=self._task
            )
        if not self._is_right_kind(final):
            kind = "classifier" if self._task == "classification" else "regressor"
            raise InputError(
                f"'final_estimator' parameter should be a {kind}. Got {type(final).__name__}"
            )
        return final
