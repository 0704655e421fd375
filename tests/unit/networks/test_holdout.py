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


@pytest.mark.parametrize(
    ("codes", "held_out"),
    [
        ([0] * 9 + [1], 2),  # one row of a class cannot be on both sides
        (list(range(5)) * 2, 2),  # fewer held-out rows than classes
        (None, 2),
    ],
)
def test_small_data_are_divided_without_classes(codes, held_out):
    codes = None if codes is None else np.array(codes)
    assert len(parts(10, 0.2, seed=0, codes=codes)[1]) == held_out


@pytest.mark.parametrize(
    ("n_rows", "fraction", "groups"),
    [(100, 0.0, None), (4, 0.1, None), (1, 0.9, None), (6, 0.5, [1] * 6), (6, 0.0, [1, 2] * 3)],
)
def test_where_nothing_can_be_held_out_everything_is_trained_on(n_rows, fraction, groups):
    groups = None if groups is None else np.array(groups)
    train, validation = parts(n_rows, fraction, seed=0, groups=groups)
    assert len(train) == n_rows and len(validation) == 0


def test_the_seed_decides():
    first, again, other = (hold_out(50, 0.2, seed=seed)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other
