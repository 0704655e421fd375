"""Stars: where they lie, that they follow from the seed, and what is refused."""

import numpy as np
import pytest

from starstack.errors import InputError
from starstack.spectra.stars import BOX, LABELS, NUISANCES, Stars, draw_stars, make_stars


def test_same_seed_gives_the_same_stars_and_another_gives_others():
    first, again, other = (draw_stars(500, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.labels, again.labels)
    for name in NUISANCES:
        np.testing.assert_array_equal(first.nuisances[name], again.nuisances[name])
        assert (first.nuisances[name] != other.nuisances[name]).mean() > 0.9
    assert (first.labels != other.labels).mean() > 0.9


@pytest.fixture(scope="module")
def sample():
    return draw_stars(20_000, seed=0)


def test_drawn_stars_lie_within_the_box_and_rarely_on_its_edge(sample):
    for column, (low, high) in zip(sample.labels.T, BOX.values(), strict=True):
        assert (column >= low).all()
        assert (column <= high).all()
        assert ((column == low) | (column == high)).mean() < 0.02


def test_giants_and_dwarfs_lie_where_those_of_the_galaxy_do(sample):
    teff, logg, fe_h = sample.labels.T
    giants = logg < 3.8
    assert giants.mean() == pytest.approx(0.7, abs=0.01)
    # Giants are cooler higher up, and the poorer in metals the hotter.
    assert np.corrcoef(teff[giants], logg[giants])[0, 1] > 0.6
    design = np.stack([np.ones(giants.sum()), logg[giants], fe_h[giants]], axis=1)
    _, per_gravity, per_metals = np.linalg.lstsq(design, teff[giants], rcond=None)[0]
    assert per_gravity > 200.0
    assert per_metals < -100.0
    # One in four or so is in the clump, at a gravity of its own.
    clump = np.abs(logg[giants] - 2.45) < 0.15
    assert 0.3 < clump.mean() < 0.55
    # A dwarf like the Sun has its gravity, give or take its age.
    solar = ~giants & (np.abs(teff - 5772.0) < 100.0)
    assert 4.2 < np.median(logg[solar]) < 4.55
    assert -0.3 < np.median(fe_h) < 0.1
    assert 0.005 < (fe_h < -1.5).mean() < 0.05


def test_nuisances_depend_on_labels_as_known(sample):
    _, logg, fe_h = sample.labels.T
    carbon = sample.nuisances["c_n"]
    assert np.median(carbon[logg < 2.8]) == pytest.approx(-0.35, abs=0.01)
    assert np.median(carbon[logg > 3.8]) == pytest.approx(0.0, abs=0.01)
    alpha = sample.nuisances["alpha_fe"]
    assert np.median(alpha[fe_h < -1.2]) == pytest.approx(0.3, abs=0.02)
    assert abs(np.median(alpha[fe_h > 0.0])) < 0.05
    velocity = sample.nuisances["radial_velocity"]
    assert np.abs(velocity).max() <= 1.0
    assert velocity.std() == pytest.approx(3**-0.5, rel=0.03)
    assert (sample.nuisances["v_macro"] > 0.0).all()


@pytest.mark.parametrize(("giants", "n_giants"), [(0.0, 0), (0.5, 50), (1.0, 100)])
def test_share_of_giants_is_exact(giants, n_giants):
    stars = draw_stars(100, seed=1, giants=giants)
    assert (stars.labels[:, 1] < 3.75).sum() == n_giants


def test_rows_can_be_chosen():
    stars = draw_stars(10, seed=1)
    rows = np.array([4, 4, 0])
    np.testing.assert_array_equal(stars[rows].labels, stars.labels[rows])
    assert len(stars[:3]) == 3
    np.testing.assert_array_equal(stars[:3].nuisances["c_n"], stars.nuisances["c_n"][:3])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([7001.0, 4.0, 0.0], "teff: expected 3500 to 7000, got 7001 for star 0"),
        ([5000.0, -0.1, 0.0], "logg: expected 0 to 5, got -0.1 for star 0"),
        ([5000.0, 4.0, -2.6], "fe_h: expected -2.5 to 0.5, got -2.6 for star 0"),
        ([5000.0, 4.0, np.nan], "fe_h: expected -2.5 to 0.5, got nan for star 0"),
        ([5000.0, 4.0], r"labels: expected shape \(n, 3\) for teff, logg, fe_h, got \(1, 2\)"),
    ],
)
def test_labels_outside_the_box_are_refused(labels, message):
    nuisances = {name: np.zeros(1) for name in NUISANCES}
    with pytest.raises(InputError, match=message):
        Stars(np.array([labels]), nuisances)


def test_limits_themselves_are_allowed():
    corners = np.array(np.meshgrid(*BOX.values())).reshape(len(LABELS), -1).T
    assert len(make_stars(corners)) == 8


@pytest.mark.parametrize(
    ("nuisances", "message"),
    [
        ({"v_macr": 3.0}, "nuisances: expected some of alpha_fe, .*, got v_macr"),
        ({"v_macro": np.nan}, "v_macro: expected 1 finite numbers"),
    ],
)
def test_wrong_nuisances_are_refused(nuisances, message):
    with pytest.raises(InputError, match=message):
        make_stars([[5000.0, 3.0, 0.0]], **nuisances)


def test_missing_nuisances_are_refused():
    with pytest.raises(InputError, match=r"nuisances: expected alpha_fe, .*, got c_n"):
        Stars(np.array([[5000.0, 3.0, 0.0]]), {"c_n": np.zeros(1)})


@pytest.mark.parametrize(
    ("n", "giants", "message"),
    [
        (0, 0.5, "number of stars: expected at least 1, got 0"),
        (5, 1.5, "share of giants: expected 0 to 1, got 1.5"),
    ],
)
def test_impossible_draws_are_refused(n, giants, message):
    with pytest.raises(InputError, match=message):
        draw_stars(n, seed=0, giants=giants)


def test_a_negative_width_is_refused():
    with pytest.raises(InputError, match="v_macro: is -5 km/s; expected 0 or more"):
        make_stars([[4750.0, 2.4, 0.0], [4750.0, 2.4, 0.0]], v_macro=np.array([3.0, -5.0]))
    assert make_stars([[4750.0, 2.4, 0.0]], v_macro=0.0).nuisances["v_macro"] == 0
