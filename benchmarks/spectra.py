"""Simulated spectra beside an empirical model of real giants: likeness, information and speed.

    make benchmark                 or            python benchmarks/spectra.py

The reference is the quadratic model of Ness et al. (2015) for the APOGEE spectra of 1801 giants,
at the labels given; pixels that APOGEE masks are left out. It is itself uncertain: `floor` is its
standard deviation in the pixels where the simulator has no lines (flux > 0.995), and `hull` says
whether labels lie within the convex hull of its training labels, outside which it extrapolates.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np
from scipy.optimize import linprog
from threadpoolctl import threadpool_limits

from starstack.spectra.conditions import conditions
from starstack.spectra.lines import atomic_lines
from starstack.spectra.molecules import molecular_lines
from starstack.spectra.simulator import draw_stars, label_derivatives, synthesise
from starstack.spectra.stars import make_stars
from starstack.spectra.synthesis import LineGrid, broaden, line_depths

# The first four: reference labels Teff, log g, [Fe/H], [α/Fe]; the others: metal-poor giants of the
# training set's own sequence.
REFERENCES = (
    (4750.0, 2.4, 0.0, 0.05),
    (4200.0, 1.5, -0.3, 0.10),
    (4800.0, 2.4, -1.0, 0.20),
    (4600.0, 2.0, -2.0, 0.25),
)
METAL_POOR = (
    (4439.0, 1.30, -1.4, 0.25),
    (4390.0, 0.90, -1.8, 0.25),
    (4600.0, 1.30, -2.1, 0.20),
    (4487.0, 0.90, -2.2, 0.20),
)
WANTED = 0.65
TERMS = [(i, j) for i in range(4) for j in range(i, 4)]


class RealGiants:
    def __init__(self, path: Path) -> None:
        data = np.load(path)
        self.coefficients = data["coeffs"].astype(np.float64)
        self.baseline, self.training = data["baseline"], data["training_labels"]
        self.good = ~data["apogee_mask"]

    def flux(self, labels: tuple[float, ...]) -> np.ndarray:
        d = np.array(labels) - self.baseline
        return np.array([1.0, *d, *(d[i] * d[j] for i, j in TERMS)]) @ self.coefficients

    def derivatives(self, labels: tuple[float, ...]) -> np.ndarray:
        d = np.array(labels) - self.baseline
        rows = []
        for k in range(3):
            pairs = [d[j] * (i == k) + d[i] * (j == k) for i, j in TERMS]
            rows.append(np.array([0.0, *np.eye(4)[k], *pairs]) @ self.coefficients)
        return np.array(rows)

    def covers(self, labels: tuple[float, ...]) -> bool:
        corners = np.c_[self.training, np.ones(len(self.training))].T
        return linprog(np.zeros(corners.shape[1]), A_eq=corners, b_eq=[*labels, 1.0]).status == 0


def spectrum(labels: tuple[float, ...], lines: LineGrid) -> np.ndarray:
    star = make_stars([labels[:3]], alpha_fe=labels[3])
    gas = conditions(star.labels, star.nuisances["alpha_fe"], star.nuisances["c_n"])
    v_macro = star.nuisances["v_macro"][0]
    return 1.0 - broaden(next(line_depths(gas, lines)), v_macro=v_macro, radial_velocity=0.0)


def bound(slopes: np.ndarray, flux: np.ndarray, snr: float = 100.0) -> np.ndarray:
    """Return the Cramér–Rao bound on the labels for independent noise flux / snr."""
    scaled = slopes / (flux / snr)
    return np.sqrt(np.diag(np.linalg.inv(scaled @ scaled.T)))


def likeness(real: RealGiants) -> None:
    good = real.good
    atoms = atomic_lines()
    lists = {
        "atoms": atoms,
        "+ CO": atoms + molecular_lines().only("CO"),
        "+ CO, OH, CN": atoms + molecular_lines(),
    }
    grids = {name: LineGrid(lines) for name, lines in lists.items()}
    print(f"flux beside that of real giants, {good.sum()} pixels; r = correlation (≥ {WANTED})")
    head = "".join(f"{'r ' + name:>15}" for name in grids)
    print(f"  {'Teff log g [Fe/H] [α/Fe]':26}{head}   rms    contrast ours/real  floor   hull")
    for labels in (*REFERENCES, *METAL_POOR):
        theirs = real.flux(labels)[good]
        fluxes = {name: spectrum(labels, grid)[good] for name, grid in grids.items()}
        r = [np.corrcoef(flux, theirs)[0, 1] for flux in fluxes.values()]
        ours = fluxes["+ CO, OH, CN"]
        shown = "{:5.0f} {:4.2f} {:5.2f} {:5.2f}".format(*labels)
        numbers = "".join(f"{value:15.3f}" for value in r)
        rms = np.std(ours - theirs)
        floor = theirs[ours > 0.995].std()
        contrast = f"{ours.std():.4f}/{theirs.std():.4f}"
        inside = "in" if real.covers(labels) else "OUT"
        verdict = "" if r[-1] >= WANTED else "  below"
        print(
            f"  {shown:26}{numbers}   {rms:.4f}  {contrast:>16}  {floor:.4f}  {inside:4}{verdict}"
        )


def information(real: RealGiants) -> None:
    good = real.good
    print(
        "\nlabel derivatives beside those of the empirical model: correlation (ratio of rms), and"
    )
    print("Cramér–Rao bound at S/N 100: Teff (K), log g, [Fe/H]; ours | empirical")
    for labels in REFERENCES:
        star = make_stars([labels[:3]], alpha_fe=labels[3])
        ours, theirs = label_derivatives(star)[0][:, good], real.derivatives(labels)[:, good]
        pairs = list(zip(ours, theirs, strict=True))
        r = "  ".join(f"{np.corrcoef(a, b)[0, 1]:5.2f} ({a.std() / b.std():.2f})" for a, b in pairs)
        bounds = [
            bound(slopes, flux[good])
            for slopes, flux in ((ours, synthesise(star)[0]), (theirs, real.flux(labels)))
        ]
        shown = " | ".join("{:5.2f} {:.4f} {:.4f}".format(*values) for values in bounds)
        print("  {:5.0f} {:4.2f} {:5.2f} {:5.2f}".format(*labels) + f"     {r}     {shown}")


def speed(n: int) -> None:
    stars = draw_stars(n, seed=0)
    synthesise(stars[:2])
    print(f"\nspectra of 7214 pixels per second, one core, {n} stars; processor time | wall clock")
    for name, function, few in (
        ("spectra", synthesise, n),
        ("derivatives", label_derivatives, n // 4),
    ):
        processor, wall = time.process_time(), time.perf_counter()
        function(stars[:few])
        processor, wall = time.process_time() - processor, time.perf_counter() - wall
        print(f"  {name:12} {few / processor:7.0f} | {few / wall:.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stars", type=int, default=1000, help="stars to time")
    arguments = parser.parse_args()
    shared = Path(os.environ.get("STARSTACK_SHARED_DATA", "../shared/data"))
    file = shared / "apogee_cannon_giants.npz"
    with threadpool_limits(1):
        if file.is_file():
            giants = RealGiants(file)
            likeness(giants)
            information(giants)
        else:
            print(f"no {file}: set STARSTACK_SHARED_DATA to compare with real giants")
        speed(arguments.stars)
