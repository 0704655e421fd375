"""The columns of the meta-feature matrix: who predicted what, and in which order.

One function, :func:`assemble_meta_features`, lays the columns out for training and for
prediction, so that the two cannot drift apart. Columns are named ``<model>__<class or target>``;
the order is model by model, then the kept input features, as in scikit-learn's ``passthrough``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse

from starstack.errors import InputError

# A member's columns hold: the probability of each class, its decision function, one-hot labels
# (a classifier that can only predict), or values (a regressor). "feature" is a kept input.
PER_CLASS_KINDS = ("probability", "decision", "label")


@dataclass(frozen=True)
class MetaColumn:
    """One column of the meta-feature matrix.

    Attributes
    ----------
    model : str
        Name of the base model; empty for a kept input feature.
    output : str
        Class or target that the column speaks of; the feature's name for a kept feature.
    kind : str
        ``probability``, ``decision``, ``label``, ``value`` or ``feature``.
    """

    model: str
    output: str
    kind: str

    @property
    def name(self) -> str:
        """Name of the column: ``<model>__<output>``, or the feature's own name."""
        return f"{self.model}__{self.output}" if self.model else self.output


@dataclass(frozen=True)
class MetaFeatureLayout:
    """All columns of a meta-feature matrix, and the outputs (classes or targets) they speak of.

    Attributes
    ----------
    columns : tuple of MetaColumn
        In the order of the matrix.
    outputs : tuple of str
        Classes in code order, or targets.
    """

    columns: tuple[MetaColumn, ...]
    outputs: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Column names, in the order of the matrix."""
        return [column.name for column in self.columns]

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the base models, in the order of the matrix."""
        return tuple(dict.fromkeys(c.model for c in self.columns if c.model))

    def members(self, Z: np.ndarray) -> np.ndarray:
        """Give every member's full prediction, restoring a dropped class.

        Parameters
        ----------
        Z : ndarray of shape (n, number of columns)
            Meta-features in this layout.

        Returns
        -------
        ndarray of shape (n, members, outputs)
            Probabilities of every class, or values of every target.

        Raises
        ------
        InputError
            If a member gives no probabilities (classification), or inputs were kept: a weighted
            mean of members is then undefined. If ``Z`` is not in this layout.
        """
        if np.ndim(Z) != 2 or np.shape(Z)[1] != len(self.columns):
            raise InputError(
                f"blend: expected meta-features of shape (rows, {len(self.columns)}), got "
                f"{np.shape(Z)}; give the columns that it was fitted on"
            )
        blocks = [self._member(Z, model) for model in self.models]
        return np.stack(blocks, axis=1)

    def _member(self, Z: np.ndarray, model: str) -> np.ndarray:
        if any(c.kind == "feature" for c in self.columns):
            raise InputError(
                "a blend weighs whole models, but keep_features=True adds input features to the "
                "meta-features; use keep_features=False or another meta-learner"
            )
        positions = [i for i, c in enumerate(self.columns) if c.model == model]
        kind = self.columns[positions[0]].kind
        block = np.asarray(Z)[:, positions]
        dropped = kind in PER_CLASS_KINDS and block.shape[1] == len(self.outputs) - 1
        if kind == "decision" or not (dropped or block.shape[1] == len(self.outputs)):
            raise InputError(
                "a blend weighs class probabilities, or in regression values, but base model "
                f"{model!r} gives a {kind} ({block.shape[1]} column(s)); wrap it in "
                "sklearn.calibration.CalibratedClassifierCV or use another meta-learner"
            )
        if dropped:
            # Rounding must not make a probability negative: scikit-learn's metrics refuse it.
            first = np.maximum(1.0 - block.sum(axis=1, keepdims=True), 0.0)
            block = np.hstack([first, block])
        return block


def member_columns(
    model: str, predictions: np.ndarray, kind: str, outputs: Sequence[str]
) -> tuple[MetaColumn, ...]:
    """Name the columns of one member's predictions.

    Parameters
    ----------
    model : str
        Name of the base model.
    predictions : ndarray of shape (n, c)
        Its predictions.
    kind : str
        See :class:`MetaColumn`.
    outputs : sequence of str
        Classes in code order, or targets.

    Returns
    -------
    tuple of MetaColumn
        ``c`` columns. A binary decision function is the second class's; a width that matches
        neither classes nor targets (one-vs-one decisions, a regressor among classifiers) is
        numbered.
    """
    width = predictions.shape[1]
    if width == len(outputs):
        names = list(outputs)
    elif kind == "decision" and width == 1 and len(outputs) == 2:
        names = [outputs[1]]
    elif width == 1:
        names = [kind]
    else:
        names = [f"{kind}-{i + 1}" for i in range(width)]
    return tuple(MetaColumn(model, output, kind) for output in names)


def assemble_meta_features(
    predictions: Mapping[str, np.ndarray],
    kinds: Mapping[str, str],
    outputs: Sequence[str],
    *,
    drop_first: bool,
    X: np.ndarray | sparse.spmatrix | None = None,
    feature_names: Iterable[str] = (),
) -> tuple[np.ndarray | sparse.spmatrix, MetaFeatureLayout]:
    """Lay out the meta-features of some rows: members one after the other, then kept features.

    Parameters
    ----------
    predictions : mapping of name to ndarray of shape (n, c)
        Each member's predictions for the same rows, in the same order.
    kinds : mapping of name to str
        What each member's columns hold, see :class:`MetaColumn`.
    outputs : sequence of str
        Classes in code order, or targets.
    drop_first : bool
        Drop the first class's column of every member that has one column per class (two or more).
    X : array of shape (n, p), optional
        Input features to keep, appended on the right.
    feature_names : iterable of str
        Names of the kept features.

    Returns
    -------
    Z : ndarray or sparse matrix of shape (n, columns)
        The meta-features; sparse only if ``X`` is.
    layout : MetaFeatureLayout
        What each column is.

    Examples
    --------
    >>> import numpy as np
    >>> P = np.array([[0.2, 0.8], [0.6, 0.4]])
    >>> Z, layout = assemble_meta_features(
    ...     {"tree": P}, {"tree": "probability"}, ["no", "yes"], drop_first=True)
    >>> layout.names
    ['tree__yes']
    >>> np.array_equal(Z, P[:, 1:])
    True
    """
    columns: list[MetaColumn] = []
    blocks: list[np.ndarray | sparse.spmatrix] = []
    for model, block in predictions.items():
        named = member_columns(model, block, kinds[model], outputs)
        per_class = kinds[model] in PER_CLASS_KINDS and len(named) == len(outputs)
        first = int(drop_first and per_class)
        columns.extend(named[first:])
        blocks.append(block[:, first:])
    if X is not None:
        columns.extend(MetaColumn("", str(name), "feature") for name in feature_names)
        blocks.append(X)
    layout = MetaFeatureLayout(tuple(columns), tuple(outputs))
    if sparse.issparse(X):
        return sparse.hstack(blocks, format=X.format), layout
    # Columns of a DataFrame lie one behind the other; solvers round by the order in memory.
    return np.ascontiguousarray(np.hstack(blocks)), layout
