"""Rows that were trained on get their out-of-fold meta-features, in whatever form they come."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import KFold, TimeSeriesSplit
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from starstack.stacking.estimators import StackingClassifier, StackingRegressor
from starstack.stacking.seen_rows import row_keys

# Noise: what is in-sample is right, what is out-of-fold is a guess, so the two cannot be mixed up.
# Multiples of 1/64 survive a conversion to float32.
X = np.random.default_rng(0).integers(-300, 300, size=(80, 4)) / 64
Y = np.random.default_rng(1).permutation(np.arange(80) % 2)
NEW = np.random.default_rng(2).normal(size=(10, 4))
BASES = [("tree", DecisionTreeClassifier(random_state=0)), ("near", KNeighborsClassifier(1))]
CONTAINERS = {
    "array": np.asarray,
    "list": np.ndarray.tolist,
    "frame": pd.DataFrame,
    "csr": sparse.csr_array,
    "csc": sparse.csc_array,
    "float32": lambda values: values.astype(np.float32),
    "fortran": np.asfortranarray,
}


@pytest.fixture(scope="module")
def stack():
    return StackingClassifier(BASES, LogisticRegression()).fit(X, Y)


def in_sample(rows):
    return np.column_stack([base.fit(X, Y).predict_proba(rows)[:, 1] for _, base in BASES])


def test_the_data_tell_out_of_fold_from_in_sample(stack):
    assert (in_sample(X) == Y[:, None]).all()
    assert (stack.oof_meta_features_ != Y[:, None]).mean() > 0.3


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("fitted", ["array", "csr"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_trained_rows_in_any_order_and_container(container, fitted):
    stack = StackingClassifier(BASES, LogisticRegression()).fit(CONTAINERS[fitted](X), Y)
    order = np.random.default_rng(3).permutation(80)[:50]
    found = stack.transform(CONTAINERS[container](X[order]))
    np.testing.assert_array_equal(found, stack.oof_meta_features_[order])


def test_a_stack_fitted_on_a_frame_knows_its_rows():
    frame = pd.DataFrame(X, columns=list("abcd"))
    stack = StackingClassifier(BASES, LogisticRegression()).fit(frame, Y)
    np.testing.assert_array_equal(stack.transform(frame.iloc[7:9]), stack.oof_meta_features_[7:9])
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        found = stack.transform(X[7:9])
    np.testing.assert_array_equal(found, stack.oof_meta_features_[7:9])


def test_new_rows_are_predicted_and_mixed_rows_are_told_apart(stack):
    np.testing.assert_array_equal(stack.transform(NEW), in_sample(NEW))
    mixed = np.vstack([NEW[:3], X[5:8], NEW[3:5], X[5:6]])
    expected = np.vstack(
        [in_sample(NEW[:3]), stack.oof_meta_features_[5:8], in_sample(NEW[3:5]),
         stack.oof_meta_features_[5:6]]
    )  # fmt: skip
    np.testing.assert_array_equal(stack.transform(mixed), expected)
    # A row that differs in its last bit is another row.
    nearly = np.nextafter(X, np.inf)
    np.testing.assert_array_equal(stack.transform(nearly), in_sample(nearly))


@pytest.mark.parametrize("container", ["array", "csr", "frame"])
def test_kept_features_stay_beside_the_meta_features(container):
    given = CONTAINERS[container]
    stack = StackingClassifier(BASES, LogisticRegression(), keep_features=True).fit(given(X), Y)
    mixed = np.vstack([X[5:8], NEW])
    Z = stack.transform(given(mixed))
    assert sparse.issparse(Z) == (container == "csr")
    Z = Z.toarray() if sparse.issparse(Z) else Z
    oof = stack.oof_meta_features_
    oof = oof.toarray() if sparse.issparse(oof) else oof
    np.testing.assert_array_equal(Z, np.hstack([np.vstack([oof[5:8, :2], in_sample(NEW)]), mixed]))


def test_fit_transform_gives_what_the_meta_learner_saw():
    stack = StackingClassifier(BASES, LogisticRegression())
    Z = stack.fit_transform(X, Y)
    np.testing.assert_array_equal(Z, stack.oof_meta_features_)
    np.testing.assert_array_equal(
        LogisticRegression().fit(Z, Y).coef_, stack.final_estimator_.coef_
    )
    Z[:] = 0
    assert stack.oof_meta_features_.any()


def test_in_a_pipeline_the_stack_is_a_leak_free_transformer():
    stack = StackingClassifier(BASES, LogisticRegression(C=3))
    piped = make_pipeline(StackingClassifier(BASES), LogisticRegression(C=3)).fit(X, Y)
    expected = stack.fit(X, Y).predict_proba(NEW)
    np.testing.assert_array_equal(piped.predict_proba(NEW), expected)


def test_rows_that_no_fold_predicted_are_nan():
    y = X[:, 0]
    bases = [("tree", DecisionTreeRegressor(random_state=0))]
    stack = StackingRegressor(bases, Ridge(), cv=TimeSeriesSplit(4)).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Z = stack.transform(X)
    assert np.isnan(Z[:16]).all()
    np.testing.assert_array_equal(Z[16:], stack.oof_meta_features_[16:])
    assert np.isfinite(stack.predict(X)).all()


def test_a_row_that_stands_twice_gets_the_mean():
    twice, y = np.vstack([X, X[:4]]), np.concatenate([Y, 1 - Y[:4]])
    stack = StackingClassifier(BASES, LogisticRegression(), drop_first=False).fit(twice, y)
    oof = stack.oof_meta_features_
    means = (oof[:4] + oof[80:]) / 2
    np.testing.assert_array_equal(stack.transform(X[:4]), means)
    np.testing.assert_array_equal(stack.transform(X[4:]), oof[4:80])
    assert (oof[:4] != oof[80:]).any()


def test_a_row_that_stands_twice_and_was_predicted_once_gets_that_prediction():
    y = X[:, 0]
    rows = np.vstack([X, X[:2]])
    stack = StackingRegressor([("near", KNeighborsRegressor(1))], Ridge(), cv=TimeSeriesSplit(4))
    stack.fit(rows, np.concatenate([y, y[:2]]))
    assert not stack.has_oof_[:2].any()
    np.testing.assert_array_equal(stack.transform(X[:2]), stack.oof_meta_features_[80:])


def test_rows_of_text_are_recognised():
    frame = pd.DataFrame({"colour": np.array(["red", "blue", "green"])[np.arange(80) % 3], "n": Y})
    frame["n"] = np.arange(80)
    base = [("tree", make_pipeline(OneHotEncoder(handle_unknown="ignore"), BASES[0][1]))]
    stack = StackingClassifier(base, LogisticRegression()).fit(frame, Y)
    shuffled = frame.sample(frac=1, random_state=0)
    expected = stack.oof_meta_features_[shuffled.index]
    np.testing.assert_array_equal(stack.transform(shuffled), expected)
    as_float = shuffled.astype({"n": float})
    np.testing.assert_array_equal(stack.transform(as_float), expected)


@pytest.mark.parametrize("fitted", [True, False])
def test_names_and_frames_come_out(fitted):
    frame = pd.DataFrame(X, columns=list("abcd"), index=[f"row-{i}" for i in range(80)])
    stack = StackingClassifier(BASES, LogisticRegression(), keep_features=True)
    stack.set_output(transform="pandas")
    Z = stack.fit(frame, Y).transform(frame) if fitted else stack.fit_transform(frame, Y)
    assert isinstance(Z, pd.DataFrame)
    assert Z.columns.tolist() == ["tree__1", "near__1", "a", "b", "c", "d"]
    assert Z.index.tolist() == frame.index.tolist()
    np.testing.assert_array_equal(Z.to_numpy(), stack.oof_meta_features_)


def test_three_classes_and_names_of_classes():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    stack = StackingClassifier(BASES, LogisticRegression()).fit(X, names)
    expected = [f"{base}__{name}" for base in ("tree", "near") for name in names[[50, 100]]]
    assert stack.get_feature_names_out().tolist() == expected
    with pytest.raises(ValueError, match="input_features should have length"):
        stack.get_feature_names_out(["a"])


@pytest.mark.parametrize("change", [
    lambda X: X.astype(np.float32),
    lambda X: pd.DataFrame(X).astype("float32"),
    lambda X: pd.DataFrame(X.astype(np.float32)).astype("Float32"),
    lambda X: sparse.csr_array(X.astype(np.float32)),
])  # fmt: skip
def test_training_rows_rounded_to_single_precision_are_known(change):
    """An unpruned tree says a training row's label: in-sample, it would be right every time."""
    rng = np.random.default_rng(3)
    X, y = rng.normal(size=(200, 4)), rng.integers(0, 2, 200)
    stack = StackingClassifier([("tree", DecisionTreeClassifier(random_state=0))]).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Z = stack.transform(change(X))
    assert np.array_equal(Z, stack.oof_meta_features_)
    single = StackingClassifier([("tree", DecisionTreeClassifier(random_state=0))])
    single.fit(X.astype(np.float32), y)
    assert np.array_equal(single.transform(X), single.oof_meta_features_)


def test_missing_values_of_every_kind_are_the_same_row():
    X = np.array([[1.0, np.nan], [np.nan, 2.0], [3.0, 4.0]])
    nullable = pd.DataFrame(X).astype("Float64")
    nullable[nullable.isna()] = pd.NA
    assert np.array_equal(row_keys(X), row_keys(nullable))


def test_minus_zero_beside_text_is_zero():
    frame = pd.DataFrame({"a": [0.0, -0.0], "b": ["x", "x"]})
    keys = row_keys(frame)
    assert keys[0] == keys[1]


def test_rows_of_no_weight_count_as_left_out():
    rng = np.random.default_rng(4)
    X, y = rng.normal(size=(60, 3)), rng.normal(size=60)
    weight = np.ones(60)
    weight[:10] = 0
    folds = list(KFold(3).split(X[10:]))
    everything = [(fit + 10, np.r_[np.arange(10), held + 10]) for fit, held in folds[:1]]
    everything += [(fit + 10, held + 10) for fit, held in folds[1:]]
    bases = [("ridge", Ridge()), ("line", LinearRegression())]
    weighted = StackingRegressor(bases, Ridge(), cv=everything).fit(X, y, sample_weight=weight)
    without = StackingRegressor(bases, Ridge(), cv=folds).fit(X[10:], y[10:])
    np.testing.assert_allclose(weighted.transform(X), without.transform(X), rtol=1e-8)
