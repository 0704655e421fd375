"""Columns of the meta-features: which, in which order, under which name."""

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from starstack.errors import InputError
from starstack.stacking.estimators import StackingClassifier, StackingRegressor
from starstack.stacking.layout import MetaColumn, MetaFeatureLayout, assemble_meta_features

CELLS = [(drop, keep) for drop in (True, False) for keep in (True, False)]
AS = {"dense": np.asarray, "csr": sparse.csr_array, "csc": sparse.csc_matrix}
BASES = [
    ("tree", DecisionTreeClassifier(max_depth=2, random_state=0)),
    ("near", KNeighborsClassifier(7)),
]
FINAL = DecisionTreeClassifier(max_depth=3, random_state=0)


def dense(Z):
    return Z.toarray() if sparse.issparse(Z) else Z


@pytest.mark.parametrize("container", AS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("drop_first, keep_features", CELLS)
def test_every_cell_of_drop_first_and_keep_features(
    drop_first, keep_features, n_classes, container
):
    X, y = load_iris(return_X_y=True)
    X, y = X[y < n_classes], y[y < n_classes]
    given = AS[container](X)
    stack = StackingClassifier(
        BASES, clone(FINAL), drop_first=drop_first, keep_features=keep_features
    ).fit(given, y)

    first = int(drop_first)
    blocks = [
        cross_val_predict(base, given, y, cv=5, method="predict_proba")[:, first:]
        for _, base in BASES
    ]
    names = [f"{name}__{c}" for name, _ in BASES for c in range(first, n_classes)]
    if keep_features:
        blocks.append(X)
        names += ["x0", "x1", "x2", "x3"]
    Z = stack.oof_meta_features_
    assert Z.shape[1] == 2 * (n_classes - first) + 4 * keep_features
    np.testing.assert_array_equal(dense(Z), np.hstack(blocks))
    if keep_features and container != "dense":
        assert Z.format == container
    else:
        assert isinstance(Z, np.ndarray)
    assert stack.meta_feature_names_ == names
    assert stack.get_feature_names_out().tolist() == names

    # New rows have the same columns, from base models fitted on all rows.
    values = X[:7] + 0.01
    new = AS[container](values)
    blocks = [clone(base).fit(given, y).predict_proba(new)[:, first:] for _, base in BASES]
    expected = np.hstack([*blocks, values] if keep_features else blocks)
    np.testing.assert_array_equal(dense(stack.transform(new)), expected)
    expected = clone(FINAL).fit(Z, y).predict_proba(expected)
    np.testing.assert_array_equal(stack.predict_proba(new), expected)


@pytest.mark.parametrize("container", AS)
@pytest.mark.parametrize("drop_first, keep_features", CELLS)
def test_a_regressor_drops_nothing(drop_first, keep_features, container):
    X = load_iris().data
    given, target = AS[container](X[:, :3]), X[:, 3]
    stack = StackingRegressor(
        [("ridge", Ridge()), ("tree", DecisionTreeRegressor(random_state=0))],
        Ridge(),
        drop_first=drop_first,
        keep_features=keep_features,
    ).fit(given, target)
    kept = [X[:, :3]] if keep_features else []
    columns = [cross_val_predict(base, given, target) for _, base in stack.estimators]
    np.testing.assert_array_equal(
        dense(stack.oof_meta_features_), np.hstack([np.column_stack(columns), *kept])
    )
    names = ["ridge__y", "tree__y"] + ["x0", "x1", "x2"] * keep_features
    assert stack.meta_feature_names_ == names


@pytest.mark.parametrize("drop_first", [True, False])
def test_decision_functions_drop_the_first_class_of_three_and_nothing_of_two(drop_first):
    X, y = load_iris(return_X_y=True)
    base = RidgeClassifier()
    for n_classes, kept in ((2, ["1"]), (3, ["0", "1", "2"][drop_first:])):
        rows = y < n_classes
        stack = StackingClassifier([("r", base)], drop_first=drop_first).fit(X[rows], y[rows])
        expected = cross_val_predict(base, X[rows], y[rows], cv=5, method="decision_function")
        expected = expected.reshape(rows.sum(), -1)[:, -len(kept) :]
        np.testing.assert_array_equal(stack.oof_meta_features_, expected)
        assert stack.meta_feature_names_ == [f"r__{name}" for name in kept]


def test_columns_that_are_not_one_per_class_are_never_dropped():
    # Six one-vs-one decisions of four classes: none of them is the first class's.
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(4), 25)
    X = np.eye(4)[y] + 0.3 * rng.normal(size=(100, 4))
    stack = StackingClassifier([("svm", SVC(decision_function_shape="ovo"))], cv=3).fit(X, y)
    assert stack.meta_feature_names_ == [f"svm__decision-{i}" for i in range(1, 7)]


def test_names_say_model_and_class_or_target():
    P = np.full((2, 3), 1 / 3)
    Z, layout = assemble_meta_features(
        {"a": P, "b": P[:, :1], "c": P},
        {"a": "probability", "b": "value", "c": "label"},
        ["red", "green", "blue"],
        drop_first=True,
        X=np.zeros((2, 1)),
        feature_names=["size"],
    )
    assert layout.names == ["a__green", "a__blue", "b__value", "c__green", "c__blue", "size"]
    assert Z.shape == (2, 6)
    assert layout.models == ("a", "b", "c")
    assert layout.columns[-1] == MetaColumn("", "size", "feature")


@pytest.mark.parametrize("drop_first", [True, False])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_members_restore_the_dropped_class(n_classes, drop_first):
    rng = np.random.default_rng(0)
    P = rng.dirichlet(np.ones(n_classes), size=(5, 2))
    Z, layout = assemble_meta_features(
        {"a": P[:, 0], "b": P[:, 1]},
        {"a": "probability", "b": "label"},
        [f"c{i}" for i in range(n_classes)],
        drop_first=drop_first,
    )
    np.testing.assert_allclose(layout.members(Z), P, atol=1e-15)


def test_members_of_several_targets_stay_apart():
    values = np.arange(12.0).reshape(3, 2, 2)
    Z, layout = assemble_meta_features(
        {"a": values[:, 0], "b": values[:, 1]}, dict.fromkeys("ab", "value"), ["u", "v"],
        drop_first=True,
    )  # fmt: skip
    np.testing.assert_array_equal(layout.members(Z), values)
    assert layout.names == ["a__u", "a__v", "b__u", "b__v"]


@pytest.mark.parametrize("columns, outputs, message", [
    ([MetaColumn("svm", "1", "decision")], ("0", "1"), "base model 'svm' gives a decision"),
    (
        [MetaColumn("svm", c, "decision") for c in "012"], ("0", "1", "2"),
        "base model 'svm' gives a decision",
    ),
    # A regressor's value is no probability, even where it stands for one column of two.
    ([MetaColumn("line", "value", "value")], ("0", "1"), "base model 'line' gives a value"),
    (
        [MetaColumn("a", "y", "value"), MetaColumn("", "x0", "feature")], ("y",),
        "keep_features=True adds input features",
    ),
])  # fmt: skip
def test_what_a_blend_cannot_weigh_is_refused(columns, outputs, message):
    layout = MetaFeatureLayout(tuple(columns), outputs)
    with pytest.raises(InputError, match=message) as refusal:
        layout.members(np.zeros((4, len(columns))))
    assert "\n" not in str(refusal.value)


def test_members_of_another_number_of_columns_are_refused():
    layout = MetaFeatureLayout((MetaColumn("a", "y", "value"),), ("y",))
    with pytest.raises(InputError, match=r"expected meta-features of shape \(rows, 1\)"):
        layout.members(np.zeros((4, 2)))
