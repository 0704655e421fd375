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
from sklearn.base import BaseEstimator, TransformerMixin, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
)
from sklearn.utils import Bunch, _safe_indexing, assert_all_finite, get_tags
from sklearn.utils._param_validation import HasMethods, StrOptions
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.parallel import Parallel, delayed
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
from starstack.stacking.layout import PER_CLASS_KINDS, assemble_meta_features
from starstack.stacking.members import (
    Member,
    align_classes,
    combine_folds,
    fit_member,
    make_member,
    predict_member,
)
from starstack.stacking.meta_learners import build_meta_learner, fit_meta_learner
from starstack.stacking.risk import check_folds, risk_table
from starstack.stacking.seen_rows import row_keys
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
        names = self._check_estimators(oof_predictions)
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
        if groups is not None and len(groups) != n_rows:
            raise InputError(f"X has {n_rows} rows, groups has {len(groups)}; give one per row")
        self._features = self._input_feature_names()
        self._members = {
            name: make_member(estimator, task=self._task, n_outputs=len(self._outputs))
            for name, estimator in self.estimators
        }
        if has_fit_parameter(final, "layout"):
            self._check_blend()
        if not self.refit:
            folds = None
            predictions, predicted = self._stored_predictions(oof_predictions, n_rows)
            self.estimators_ = [estimator for _, estimator in self.estimators]
        else:
            folds = self._make_folds(X, y, groups)
            predictions, predicted = self._cross_fit(X, y, folds, sample_weight, groups)
        self.named_estimators_ = Bunch(**dict(zip(names, self.estimators_, strict=True)))
        self.stack_method_ = [member.method for member in self._members.values()]
        Z, self.layout_ = self._assemble(predictions, X)
        self.oof_meta_features_, self.has_oof_ = Z, predicted
        self._training = Bunch(
            row_keys=row_keys(X), y=y, groups=groups, sample_weight=sample_weight, folds=folds
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

    def _check_estimators(self, oof_predictions: Mapping[str, object] | None) -> list[str]:
        others = [p for p in self.estimators if not isinstance(p, (tuple, list)) or len(p) != 2]
        if others or not self.estimators:
            raise InputError(
                "estimators: expected a list of (name, estimator) pairs, at least one; got "
                + (f"a {type(others[0]).__name__} in it" if others else "an empty list")
            )
        names = [name for name, _ in self.estimators]
        self._validate_names(names)
        for name, estimator in self.estimators:
            if not hasattr(estimator, "fit") or not hasattr(estimator, "predict"):
                raise InputError(
                    f"base model {name!r}: expected an estimator with fit and predict, got "
                    f"{type(estimator).__name__} {str(estimator)[:40]!r}; leave it out of "
                    "estimators if it is not wanted"
                )
            if self._task == "regression" and is_classifier(estimator):
                raise InputError(
                    f"base model {name!r}: expected a regressor, got the classifier "
                    f"{type(estimator).__name__}; use a regressor or StackingClassifier"
                )
        thawed = [n for n, e in self.estimators if _holds_fitted_model(e)]
        if self.refit and thawed:
            raise InputError(
                f"base model(s) {', '.join(thawed)} are or hold a frozen (already fitted) model, "
                "but refit=True fits base models anew on each fold; pass unfitted ones, or "
                "refit=False with oof_predictions"
            )
        frozen = [n for n, e in self.estimators if isinstance(e, FrozenEstimator)]
        if not self.refit and len(frozen) < len(names):
            bare = [n for n in names if n not in frozen]
            raise InputError(
                f"refit=False takes already-fitted base models: wrap {', '.join(bare)} in "
                "sklearn.frozen.FrozenEstimator"
            )
        if not self.refit:
            _check_fitted(self.estimators)
        if not self.refit and self.member_predictions == "fold_mean":
            raise InputError(
                "member_predictions='fold_mean' needs the models of the folds, which refit=False "
                "does not fit; use member_predictions='refit'"
            )
        if not self.refit and set(oof_predictions or ()) != set(names):
            given = ", ".join(sorted(oof_predictions or ())) or "none"
            raise InputError(
                "refit=False: the base models may have seen these rows, and a meta-learner fitted "
                "on such in-sample predictions overfits; pass oof_predictions={name: predictions "
                f"by models that had not seen the row}} for {', '.join(names)} (got {given})"
            )
        if self.refit and oof_predictions is not None:
            raise InputError("oof_predictions are used with refit=False only; leave them out")
        return names

    def _make_folds(
        self, X: object, y: np.ndarray, groups: np.ndarray | None
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        cv = 5 if self.cv is None else self.cv
        classification = self._task == "classification"
        if isinstance(cv, (int, np.integer)) and groups is not None:
            cv = (StratifiedGroupKFold if classification else GroupKFold)(int(cv))
        elif isinstance(cv, (int, np.integer)):
            cv = (StratifiedKFold if classification else KFold)(int(cv))
        # Drawn once: an unseeded splitter would give each base model other folds.
        folds = [
            (np.asarray(fit), np.asarray(held_out))
            for fit, held_out in check_cv(cv, y, classifier=classification).split(X, y, groups)
        ]
        check_folds(folds, y, self._outputs if classification else None, groups)
        return folds

    def _cross_fit(
        self,
        X: object,
        y: np.ndarray,
        folds: Sequence[tuple[np.ndarray, np.ndarray]],
        sample_weight: np.ndarray | None,
        groups: np.ndarray | None,
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Fit every (base model, fold) in one pool of tasks; refit on all rows if asked for."""
        keep = self.member_predictions == "fold_mean"
        everything = [(None, None)]
        tasks = [
            (member, fit, held_out)
            for member in self._members.values()
            for fit, held_out in (list(folds) if keep else everything + list(folds))
        ]
        results = iter(
            Parallel(n_jobs=self.n_jobs)(
                delayed(_fit_and_predict)(member, X, y, fit, held_out, sample_weight, groups, keep)
                for member, fit, held_out in tasks
            )
        )
        predictions, self.estimators_, self.fold_estimators_ = {}, [], []
        for name in self._members:
            if not keep:
                self.estimators_.append(next(results)[0])
            fitted = [next(results) for _ in folds]
            predictions[name], predicted = combine_folds(
                len(y), [(h, p) for (_, h), (_, p) in zip(folds, fitted, strict=True)]
            )
            if keep:
                self.fold_estimators_.append([model for model, _ in fitted])
        if keep:
            self.estimators_ = self.fold_estimators_
        else:
            del self.fold_estimators_
        return predictions, predicted

    def _stored_predictions(
        self, oof_predictions: Mapping[str, object], n_rows: int
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        stored, predicted = {}, np.ones(n_rows, dtype=bool)
        for name, member in self._members.items():
            block = check_array(
                oof_predictions[name], ensure_2d=False, ensure_all_finite="allow-nan", copy=True
            )
            block = block[:, None] if block.ndim == 1 else block
            if len(block) != n_rows:
                raise InputError(
                    f"oof_predictions[{name!r}] has {len(block)} rows, X has {n_rows}; give one "
                    "prediction per row, NaN where there is none"
                )
            if member.kind == "label":
                raise InputError(
                    f"base model {name!r} gives labels only; stored out-of-fold predictions need "
                    "predict_proba or decision_function"
                )
            stored[name] = self._align(member, name, block)
            if block.shape[1] != self._width(member) and member.kind != "decision":
                raise InputError(
                    f"oof_predictions[{name!r}] has {block.shape[1]} column(s), expected "
                    f"{self._width(member)}; give what {member.method} gives"
                )
            predicted &= ~np.isnan(block).any(axis=1)
        if not predicted.any():
            raise InputError("oof_predictions hold no row without NaN; nothing to fit on")
        return stored, predicted

    def _width(self, member: Member) -> int:
        """Columns of a member: one per class or target; one of a decision among two classes."""
        if self._task == "classification" and member.kind == "value":
            return 1
        return 1 if member.kind == "decision" and member.n_outputs == 2 else member.n_outputs

    def _check_blend(self) -> None:
        """Let a blend look at columns of the right names: it refuses what it cannot weigh."""
        row = {name: np.zeros((1, self._width(m))) for name, m in self._members.items()}
        kinds = {name: member.kind for name, member in self._members.items()}
        kept = np.zeros((1, 1)) if self.keep_features else None
        Z, layout = assemble_meta_features(
            row, kinds, self._outputs, drop_first=self.drop_first, X=kept, feature_names=("x",)
        )
        layout.members(Z)

    def _align(self, member: Member, name: str, block: np.ndarray) -> np.ndarray:
        per_class = member.kind in PER_CLASS_KINDS and block.shape[1] == self._width(member)
        if self.refit or not per_class:
            return block
        return align_classes(block, member.estimator.classes_, self.classes_, name)

    # Predicting.

    def _member_predictions(self, X: object) -> dict[str, np.ndarray]:
        predictions = {}
        for (name, member), fitted in zip(self._members.items(), self.estimators_, strict=True):
            if self.member_predictions == "fold_mean":
                blocks = [predict_member(member, model, X) for model in fitted]
                predictions[name] = np.mean(blocks, axis=0)
            else:
                predictions[name] = self._align(member, name, predict_member(member, fitted, X))
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

        Rows that were trained on (recognised by their content as float64 numbers, wherever they
        stand) get their out-of-fold meta-features, the mean of them if the training rows hold a
        row twice, and NaN if no fold predicted it; all other rows get the predictions of the
        fitted base models. In-sample predictions are never returned.

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
        keys, known = row_keys(X), self._training.row_keys
        seen = np.isin(keys, known)
        if not seen.any():
            return self._meta_features(X)
        width = sum(1 for column in self.layout_.columns if column.model)
        values = np.empty((len(keys), width))
        stored = self.oof_meta_features_[:, :width]
        stored = stored.toarray() if sparse.issparse(stored) else stored
        unique, owner = np.unique(known, return_inverse=True)
        total, count = np.zeros((len(unique), width)), np.zeros((len(unique), 1))
        np.add.at(total, owner[self.has_oof_], stored[self.has_oof_])
        np.add.at(count, owner[self.has_oof_], 1)
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


def _holds_fitted_model(estimator: BaseEstimator) -> bool:
    """Whether fitting would leave a predictor in it as it is: the last step of a pipeline, say."""
    parts = [estimator, *estimator.get_params(deep=True).values()]
    return any(
        isinstance(part, FrozenEstimator) and (is_classifier(part) or is_regressor(part))
        for part in parts
    )


def _check_fitted(frozen: Sequence[tuple[str, FrozenEstimator]]) -> None:
    for name, estimator in frozen:
        try:
            check_is_fitted(estimator)
        except NotFittedError:
            raise InputError(
                f"base model {name!r}: expected a fitted model in the FrozenEstimator, got an "
                f"unfitted {type(estimator.estimator).__name__}; fit it first"
            ) from None


def _fit_and_predict(
    member: Member,
    X: object,
    y: np.ndarray,
    fit_rows: np.ndarray | None,
    held_out: np.ndarray | None,
    sample_weight: np.ndarray | None,
    groups: np.ndarray | None,
    keep: bool,
) -> tuple[BaseEstimator | None, np.ndarray | None]:
    fitted = fit_member(member, X, y, fit_rows, sample_weight, groups)
    if held_out is None:
        return fitted, None
    return (fitted if keep else None), predict_member(member, fitted, X, held_out)
