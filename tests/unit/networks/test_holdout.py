import numpy as np
import pytest

from starstack.networks.holdout import hold_out


def parts(*args, **options):
    train, validation = hold_out(*args, **options)
    together = np.concatenate([train, validation])
    assert sorted(together) == list(range(args[0]))
    return train, validation


@pytest.mark.parametrize("seed", range(20))
def test_groups_stay_whole(seed):
    groups = np.random.default_rng(seed).integers(0, 6, size=40)
    train, validation = parts(40, 0.3, seed=seed, codes=groups % 2, groups=groups)
    assert len(validation)
    assert not set(groups[train]) & set(groups[validation])


def test_classes_keep_their_shares():
    codes = np.repeat([0, 1, 2], [80, 10, 10])
    train, validation = parts(100, 0.2, seed=0, codes=codes)
    assert np.bincount(codes[validation]).tolist() == [16, 2, 2]
    assert np.bincount(codes[train]).tolist() == [64, 8, 8]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize(
    ("codes", "fraction", "held_out"),
    [
        ([0] * 9 + [1], 0.2, 2),  # the one row of a class is trained on
        (list(range(5)) * 2, 0.2, 2),  # fewer held-out rows than classes
        ([0] * 9 + [1], 0.9, 8),
        ([0] * 90 + [1] * 2, 0.9, 83),
        (list(range(5)) * 2, 0.9, 5),  # one row of each class is left to train on
    ],
)
def test_every_class_stays_in_training(codes, fraction, held_out, seed):
    codes = np.array(codes)
    train, validation = parts(len(codes), fraction, seed=seed, codes=codes)
    assert set(codes[train]) == set(codes)
    assert len(validation) == held_out


def test_any_row_of_a_class_may_be_held_out():
    codes = np.repeat([0, 1], 4)
    seen = {row for seed in range(60) for row in hold_out(8, 0.25, seed=seed, codes=codes)[1]}
    assert seen == set(range(8))


@pytest.mark.parametrize("seed", range(20))
def test_groups_are_held_out_only_while_every_class_stays(seed):
    # Class 2 is in one group only, class 1 in two.
    groups = np.repeat(np.arange(6), 5)
    codes = np.where(groups == 5, 2, np.where(groups >= 3, 1, 0))
    for fraction in (0.2, 0.5, 0.99):
        train, validation = parts(30, fraction, seed=seed, codes=codes, groups=groups)
        assert set(codes[train]) == {0, 1, 2}
        assert not set(groups[train]) & set(groups[validation])
        assert len(validation) == 5 * min(int(np.ceil(6 * fraction)), 3)


@pytest.mark.parametrize("groups", [None, [0, 1, 2]])
def test_where_the_classes_forbid_it_the_log_says_so(groups, caplog):
    size = 1 if groups is None else 10
    codes = np.repeat([0, 1, 2], size)
    groups = None if groups is None else np.repeat(groups, size)
    with caplog.at_level("WARNING"):
        assert not len(parts(3 * size, 0.5, seed=0, codes=codes, groups=groups)[1])
    assert "nothing is held out" in caplog.text


@pytest.mark.parametrize("fraction", [0.5, 0.99])
def test_one_group_is_always_left_to_train_on(fraction):
    train, validation = parts(6, fraction, seed=0, groups=np.array([1, 2] * 3))
    assert len(train) == len(validation) == 3


@pytest.mark.parametrize(
    ("n_rows", "fraction", "groups"),
    [(100, 0.0, None), (4, 0.1, None), (1, 0.9, None), (6, 0.5, [1] * 6), (6, 0.0, [1, 2] * 3)],
)
def test_where_nothing_can_be_held_out_everything_is_trained_on(n_rows, fraction, groups, caplog):
    groups = None if groups is None else np.array(groups)
    train, validation = parts(n_rows, fraction, seed=0, groups=groups)
    assert len(train) == n_rows and len(validation) == 0
    assert not caplog.text


def test_the_seed_decides():
    first, again, other = (hold_out(50, 0.2, seed=seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other
