"""Splits made: equal to scikit-learn's, whole in their groups and times, or refused."""

import warnings

import numpy as np
import pytest
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    train_test_split,
)

from starstack.errors import InputError
from starstack.seeds import derive_seed
from starstack.splits.splitters import SPLITTERS, Split, make_split

N = 90


def data(seed=0, n=N, n_groups=20, n_classes=3):
    """Return random rows: ids in no order, unequal classes, groups of unequal size, tied times."""
    rng = np.random.default_rng(seed)
    shares = np.arange(1, n_classes + 1) / sum(range(1, n_classes + 1))
    sizes = rng.dirichlet(np.full(n_groups, 2.0))
    return {
        "row_id": np.array([f"star {number}" for number in rng.permutation(n)]),
        "y": rng.choice(n_classes, size=n, p=shares),
        "group": np.array([f"field {number}" for number in rng.choice(n_groups, n, p=sizes)]),
        "time": np.round(rng.uniform(0, 30, n)),
    }


def make(rows, method, *, task="classification", use=(), **options):
    chosen = {name: rows[name] for name in use}
    options = {"n_folds": 4, "seed": 11} | chosen | options
    return make_split(row_id=rows["row_id"], y=rows["y"], task=task, method=method, **options)


def folds_of(splitter, rows, groups=None):
    """Return, for each row, which fold of scikit-learn's splitter holds it out, from 1."""
    found = np.zeros(len(rows["y"]), dtype=int)
    for number, (_, held_out) in enumerate(splitter.split(rows["y"], rows["y"], groups), start=1):
        found[held_out] = number
    return found


PLAIN = {
    "k-fold": (KFold, ()),
    "stratified": (StratifiedKFold, ()),
    "grouped": (GroupKFold, ("group",)),
    "stratified-grouped": (StratifiedGroupKFold, ("group",)),
}


@pytest.mark.parametrize("data_seed", range(4))
@pytest.mark.parametrize("n_folds", [2, 5])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("method", PLAIN)
def test_folds_equal_those_of_scikit_learn(method, shuffle, n_folds, data_seed):
    rows, (splitter, use) = data(data_seed), PLAIN[method]
    split = make(
        rows, method, use=use, n_folds=n_folds, shuffle=shuffle, test_size=0, seed=data_seed + 5
    )
    theirs = splitter(n_folds, shuffle=shuffle, random_state=data_seed + 5 if shuffle else None)
    groups = rows["group"] if use else None
    expected = folds_of(theirs, rows, groups)
    np.testing.assert_array_equal(split.folds[:, 0], expected)
    pairs = list(theirs.split(rows["y"], rows["y"], groups))
    for (fit, held_out), (their_fit, their_held_out) in zip(split.cv(), pairs, strict=True):
        np.testing.assert_array_equal(fit, their_fit)
        np.testing.assert_array_equal(held_out, their_held_out)


@pytest.mark.parametrize(
    ("method", "bound"), [("k-fold", "grouped"), ("stratified", "stratified-grouped")]
)
def test_groups_bind_methods_that_do_not_name_them(method, bound):
    rows = data()
    ours, theirs = (make(rows, name, use=("group",)) for name in (method, bound))
    np.testing.assert_array_equal(ours.folds, theirs.folds)
    np.testing.assert_array_equal(ours.is_test, theirs.is_test)
    without = make(rows, method)
    assert not np.array_equal(ours.folds, without.folds)


@pytest.mark.parametrize("test_size", [0.1, 0.25, 1 / 3])
@pytest.mark.parametrize("method", ["k-fold", "stratified"])
def test_test_rows_equal_those_of_train_test_split(method, test_size):
    rows = data()
    split = make(rows, method, test_size=test_size, seed=3)
    stratify = rows["y"] if method == "stratified" else None
    train, test = train_test_split(
        np.arange(N), test_size=test_size, random_state=3, stratify=stratify
    )
    assert np.flatnonzero(split.is_test).tolist() == sorted(test)
    assert split.train_rows().tolist() == sorted(train)


@pytest.mark.parametrize("test_size", [0.1, 0.25, 0.5])
def test_without_shuffling_the_last_rows_are_tested_on(test_size):
    split = make(data(), "k-fold", test_size=test_size, shuffle=False, n_folds=3)
    n_test = int(np.ceil(test_size * N))
    assert np.flatnonzero(split.is_test).tolist() == list(range(N - n_test, N))


@pytest.mark.parametrize("data_seed", range(20))
@pytest.mark.parametrize("shuffle", [True, False])
def test_stratified_test_sets_and_folds_keep_class_shares(shuffle, data_seed):
    rows = data(data_seed, n=200)
    split = make(rows, "stratified", shuffle=shuffle, test_size=0.3, n_folds=3)
    for code in range(3):
        members = rows["y"] == code
        # Ten parts, of which three are tested on, each within one row of its share.
        assert abs(members[split.is_test].sum() - 0.3 * members.sum()) <= (1 if shuffle else 3)
        for fold in (1, 2, 3):
            share = members[split.folds[:, 0] == fold].sum()
            assert abs(share - members[~split.is_test].sum() / 3) <= 1


@pytest.mark.parametrize("data_seed", range(20))
@pytest.mark.parametrize("shuffle", [True, False])
def test_stratified_groups_keep_class_shares_roughly(shuffle, data_seed):
    rows = data(data_seed, n=600, n_groups=60)
    split = make(rows, "stratified-grouped", use=("group",), shuffle=shuffle, test_size=0.25)
    assert abs(split.is_test.mean() - 0.25) < 0.06
    for code in range(3):
        share = (rows["y"][split.is_test] == code).mean()
        assert abs(share - (rows["y"] == code).mean()) < 0.06


@pytest.mark.parametrize("test_size", [0.1, 0.2, 0.25, 0.3, 0.5])
def test_share_of_groups_that_are_tested_on(test_size):
    rows = data(n=400, n_groups=40)
    rows["group"] = np.repeat([f"field {number}" for number in range(40)], 10)
    split = make(rows, "grouped", use=("group",), test_size=test_size)
    assert split.is_test.mean() == pytest.approx(test_size, abs=0.01)


SHARES = [0, 0.1, 0.25, 0.5]


@pytest.mark.parametrize("data_seed", range(25))
@pytest.mark.parametrize("method", SPLITTERS)
def test_properties_of_random_splits(tmp_path, method, data_seed):
    rng = np.random.default_rng([data_seed, 99])
    rows = data(data_seed, n=int(rng.integers(200, 400)), n_groups=int(rng.integers(25, 60)))
    ordered = method == "time-ordered"
    use = ("time",) if ordered else ("group",) * bool("grouped" in method or rng.integers(2))
    options = {
        "n_folds": int(rng.integers(2, 5)),
        "n_repeats": 1 if ordered else int(rng.integers(1, 4)),
        "test_size": SHARES[data_seed % 4],
        "seed": data_seed,
    }
    split = make(rows, method, use=use, **options)
    n, y = len(rows["y"]), rows["y"]

    assert split.row_id.tolist() == rows["row_id"].tolist()
    assert split.is_test.any() == (options["test_size"] > 0)
    assert (split.n_folds, split.n_repeats) == (options["n_folds"], options["n_repeats"])
    assert len(split.fold_names) == options["n_folds"] * options["n_repeats"]
    test_rows = set(np.flatnonzero(split.is_test))
    held_out_times = np.zeros(n, dtype=int)
    for name in split.fold_names:
        fit, held_out = split.fold(name)
        assert len(held_out) > 0
        assert np.all(np.diff(fit) > 0)
        assert np.all(np.diff(held_out) > 0)
        assert not set(fit) & set(held_out)
        assert not test_rows & (set(fit) | set(held_out))
        assert set(y[fit]) == set(y)
        held_out_times[held_out] += 1
        if "group" in use:
            assert not set(rows["group"][fit]) & set(rows["group"][held_out])
        if ordered:
            assert rows["time"][fit].max() < rows["time"][held_out].min()
        else:
            assert set(fit) | set(held_out) | test_rows == set(range(n))
    if "group" in use:
        train_groups = set(rows["group"][~split.is_test])
        assert not train_groups & set(rows["group"][split.is_test])
    if ordered:
        assert held_out_times.max() == 1
        burn_in = (held_out_times == 0) & ~split.is_test
        assert burn_in.any()
        if split.is_test.any():
            assert rows["time"][~split.is_test].max() < rows["time"][split.is_test].min()
        for moment in np.unique(rows["time"]):
            here = rows["time"] == moment
            assert len(np.unique(split.folds[here])) == 1
            assert len(np.unique(split.is_test[here])) == 1
    else:
        np.testing.assert_array_equal(held_out_times, np.where(split.is_test, 0, split.n_repeats))

    split.to_csv(tmp_path / "split.csv")
    back = Split.from_csv(tmp_path / "split.csv")
    again = make(rows, method, use=use, **options)
    for other in (back, again):
        assert other.scheme == split.scheme
        for part in ("row_id", "is_test", "folds"):
            np.testing.assert_array_equal(getattr(other, part), getattr(split, part))


def test_repeats_have_derived_seeds():
    rows = data()
    split = make(rows, "stratified", test_size=0, n_repeats=3, seed=8)
    seeds = [8, derive_seed(8, "repeat", 2), derive_seed(8, "repeat", 3)]
    for repeat, seed in enumerate(seeds):
        theirs = StratifiedKFold(4, shuffle=True, random_state=seed)
        np.testing.assert_array_equal(split.folds[:, repeat], folds_of(theirs, rows))
    assert not np.array_equal(split.folds[:, 0], split.folds[:, 1])
    assert not np.array_equal(split.folds[:, 1], split.folds[:, 2])


def test_more_repeats_leave_the_first_ones_and_the_test_set_alone():
    rows = data()
    few, many = (make(rows, "k-fold", n_repeats=number) for number in (2, 4))
    np.testing.assert_array_equal(many.is_test, few.is_test)
    np.testing.assert_array_equal(many.folds[:, :2], few.folds)


@pytest.mark.parametrize("method", list(PLAIN))
def test_seed_and_shuffle(method):
    rows, use = data(), PLAIN[method][1]
    splits = [make(rows, method, use=use, seed=seed).folds for seed in (1, 1, 2)]
    np.testing.assert_array_equal(splits[0], splits[1])
    assert not np.array_equal(splits[0], splits[2])
    fixed = [make(rows, method, use=use, seed=seed, shuffle=False).folds for seed in (1, 2)]
    np.testing.assert_array_equal(*fixed)


def test_no_global_random_state_is_used():
    rows = data()
    state = np.random.get_state()[1].copy()
    make(rows, "stratified", n_repeats=2)
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_no_warning_escapes():
    rows = data(n=60, n_groups=30)
    rows["y"] = np.array([0] * 54 + [1] * 6)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        split = make(rows, "stratified", shuffle=False, n_folds=2, test_size=0.1)
    assert caught == []
    assert split.is_test.sum() == 6


def test_a_test_set_smaller_than_one_row_of_each_class_is_one_part_of_the_largest():
    rows = data(n=12) | {"y": np.array([0, 1] * 6)}
    split = make(rows, "stratified", shuffle=False, n_folds=2, test_size=0.05)
    assert np.flatnonzero(split.is_test).tolist() == [10, 11]


def test_several_targets_are_split_as_one():
    rows = data()
    one = make(rows | {"y": np.arange(1.0 * N)}, "k-fold", task="regression")
    many = make(rows | {"y": np.ones((N, 3))}, "k-fold", task="regression")
    np.testing.assert_array_equal(one.folds, many.folds)


TIMES = {"use": ("time",)}
GROUPS = {"use": ("group",)}


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (
            "kfold",
            {},
            "method 'kfold' is unknown; expected one of k-fold, stratified, grouped, str",
        ),
        ("k-fold", {"n_folds": 1}, "n_folds is 1; expected a whole number of at least 2"),
        ("k-fold", {"n_folds": 2.5}, "n_folds is 2.5; expected a whole number"),
        ("k-fold", {"n_folds": True}, "n_folds is True; expected a whole number"),
        ("k-fold", {"n_repeats": 0}, "n_repeats is 0; expected a whole number of at least 1"),
        ("k-fold", {"test_size": 1}, "test_size is 1; expected a share of the rows"),
        ("k-fold", {"test_size": -0.1}, "test_size is -0.1; expected a share"),
        ("k-fold", {"test_size": 20}, "test_size is 20; expected a share"),
        ("k-fold", {"test_size": "0.2"}, "test_size is '0.2'; expected a share"),
        ("k-fold", {"test_size": float("nan")}, "test_size is nan; expected a share"),
        (
            "k-fold",
            {"n_repeats": 2, "shuffle": False},
            "shuffle is false, which would repeat the s",
        ),
        ("k-fold", {"n_folds": 91, "test_size": 0}, "90 rows to train on are fewer than the 91"),
        ("k-fold", {"n_folds": 91, "test_size": 0.5}, "90 rows in all are fewer than the 91 folds"),
        ("k-fold", {"n_folds": 60, "test_size": 0.5}, "45 rows to train on are fewer than the 60"),
        ("k-fold", {"n_folds": 80, "test_size": 0}, "class '0' has fewer rows to train on"),
        ("grouped", {}, "method 'grouped' needs the group of each row; name its column in data"),
        ("stratified-grouped", {}, "method 'stratified-grouped' needs the group of each row"),
        ("time-ordered", {}, "method 'time-ordered' needs the time of each row"),
        (
            "grouped",
            {"n_folds": 21, **GROUPS},
            r"\d\d groups in all are fewer than the 21 fol",
        ),
        ("grouped", {"n_folds": 15, "test_size": 0.5, **GROUPS}, "10 groups to train on are fewer"),
        (
            "stratified",
            {"task": "regression"},
            "needs classes but the task is regression; use 'k-f",
        ),
        ("stratified-grouped", {"task": "regression", **GROUPS}, "regression; use 'grouped'"),
        ("stratified", {"n_folds": 70}, "class '0' has fewer rows in all .13. than there are"),
        ("stratified", {"n_folds": 12}, "class '0' has fewer rows to train on .10. than there are"),
        (
            "stratified",
            {"test_size": 0.01},
            "a test set of 0.01 of the 90 rows cannot be drawn: "
            "The test_size = 1 should be greater or equal to the number of classes = 3; change",
        ),
        (
            "time-ordered",
            {"n_repeats": 2, **TIMES},
            "'time-ordered' has one repeat only; set it to",
        ),
        (
            "time-ordered",
            {"n_folds": 40, **TIMES},
            r"31 distinct times cannot make 42 blocks \(burn"
            r"-in, 40 folds, test\), as rows of equal time stay together",
        ),
        (
            "time-ordered",
            {"n_folds": 31, "test_size": 0, **TIMES},
            "31 distinct times cannot make "
            r"32 blocks \(burn-in, 31 folds\)",
        ),
        ("time-ordered", {"use": ("time", "group")}, "all rows of a group must be on one side"),
        ("k-fold", {"group": np.array(["a"])}, "1 group values for 90 row ids"),
        ("time-ordered", {"time": np.arange(3)}, "3 time values for 90 row ids"),
        (
            "time-ordered",
            {"time": np.full(N, np.nan)},
            "the time of row '.+' is missing; expected f",
        ),
    ],
)
def test_what_cannot_be_split(method, options, message):
    with pytest.raises(InputError, match=message) as caught:
        make(data(), method, **options)
    assert str(caught.value).startswith("split: ")
    assert "\n" not in str(caught.value)


def test_rows_that_cannot_be_split():
    rows = data()
    with pytest.raises(InputError, match="row id 'a' occurs 90 times"):
        make(rows | {"row_id": np.full(N, "a")}, "k-fold")
    with pytest.raises(InputError, match="30 target values for 90 row ids"):
        make(rows | {"y": rows["y"][:30]}, "k-fold")
    with pytest.raises(InputError, match=r"class 'hot' has fewer rows in all \(2\)"):
        make(
            rows | {"y": np.array([0, 1] * 44 + [2] * 2)},
            "stratified",
            classes=("cool", "warm", "hot"),
        )


def test_a_class_that_lives_in_one_group_is_refused():
    rows = data()
    rows["y"] = np.where(rows["group"] == "field 3", 2, rows["y"] % 2)
    assert (rows["y"] == 2).sum() >= 4
    with pytest.raises(InputError, match="class '2' is missing from the rows that fold"):
        make(rows, "stratified-grouped", use=("group",), test_size=0)
