"""Seeds depend on what they are for, and on nothing else."""

import hashlib
import random

import numpy as np
import pytest

from starstack.seeds import derive_seed


@pytest.mark.parametrize("parts", [(), (1,), (1, "wine"), (20240531, "wine", "forest", "3")])
def test_seed_is_the_first_31_bits_of_sha256(parts):
    text = "/".join(str(part) for part in parts)
    expected = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) // 2
    assert derive_seed(*parts) == expected


def test_every_part_and_their_order_count():
    base = derive_seed(1, "wine", "forest", "3")
    others = [
        derive_seed(2, "wine", "forest", "3"),
        derive_seed(1, "digits", "forest", "3"),
        derive_seed(1, "wine", "tree", "3"),
        derive_seed(1, "wine", "forest", "4"),
        derive_seed(1, "forest", "wine", "3"),
        derive_seed(1, "wine", "forest"),
    ]
    assert len({base, *others}) == 7


def test_parts_count_through_their_text():
    assert derive_seed(1, "wine", 3) == derive_seed("1", "wine", "3")


def test_seeds_are_spread_over_the_whole_range():
    seeds = np.array([derive_seed(0, "repeat", number) for number in range(2000)])
    assert len(np.unique(seeds)) == 2000
    # The mean of 2000 uniform draws is within 5 standard errors, 2**31 / sqrt(12 * 2000).
    assert abs(seeds.mean() - 2**30) < 5 * 2**31 / np.sqrt(12 * 2000)
    assert seeds.min() >= 0
    assert seeds.max() < 2**31


def test_no_global_state_is_read_or_changed():
    random.seed(1)
    np.random.seed(1)
    first = derive_seed(5, "a")
    state = random.getstate()
    random.seed(2)
    assert derive_seed(5, "a") == first
    random.setstate(state)
    assert random.getstate() == state


def test_numpy_and_scikit_learn_take_the_seed():
    for number in range(50):
        np.random.RandomState(derive_seed(number))
