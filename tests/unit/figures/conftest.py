"""Small result tables that look like those of real studies, names as long as people choose."""

import numpy as np
import pandas as pd
import pytest

from starstack.figures.jacobian import Sensitivity
from starstack.figures.spectra import Spectrum

BASES = [
    "logistic-regression",
    "random-forest",
    "gradient-boosting",
    "nearest-neighbours",
    "support-vector-machine",
    "naive-bayes",
    "extremely-randomised-trees",
]
METAS = ["logistic", "convex", "greedy", "best-single", "ridge"]
SCORES = ["study", "estimator", "role", "figure", "metric", "output", "value"]
SCORES += ["standard_error", "n"]
WEIGHTS = ["study", "meta_learner", "trained_on", "model", "meta_feature", "output", "weight"]


class Tables:
    """Makers of result tables; the same arguments give the same numbers."""

    bases = BASES
    metas = METAS

    @staticmethod
    def scores(study="wine", metrics=("accuracy",), outputs=("",), bases=BASES, metas=METAS):
        rng = np.random.default_rng(1)
        rows = []
        for metric in metrics:
            for output in outputs:
                for role, names, honest in (
                    ("base", bases, "out-of-fold"),
                    ("meta", metas, "cross-validated"),
                ):
                    for name in names:
                        for figure, n in ((honest, 133), ("test", 45)):
                            value = 0.9 + 0.05 * rng.normal()
                            row = (study, name, role, figure, metric, output, value, 0.02, n)
                            rows.append(row)
        return pd.DataFrame(rows, columns=SCORES)

    @staticmethod
    def weights(classes=("b",), outputs=("b",), bases=BASES, metas=METAS[:1], blends=METAS[1:]):
        """Linear meta-learners with one weight per meta-feature and output, and blends."""
        rng = np.random.default_rng(2)
        rows = []
        for meta in metas:
            for output in outputs:
                for model in bases:
                    for name in classes:
                        feature = (model, f"{model}__{name}", output, rng.normal())
                        rows.append(("wine", meta, "out-of-fold", *feature))
                rows.append(("wine", meta, "out-of-fold", "", "(bias)", output, 7.0))
        for meta in blends:
            for model, weight in zip(bases, rng.dirichlet(np.ones(len(bases))), strict=True):
                rows.append(("wine", meta, "out-of-fold", model, model, "all classes", weight))
            rows.append(("wine", meta, "out-of-fold", "", "(bias)", "all classes", 0.0))
        return pd.DataFrame(rows, columns=WEIGHTS)

    @staticmethod
    def diversity(bases=BASES, statistics=("error_correlation", "q_statistic", "disagreement")):
        rng = np.random.default_rng(3)
        rows = [
            ("wine", statistic, a, b, rng.uniform(-1, 1), 133)
            for statistic in statistics
            for i, a in enumerate(bases)
            for b in bases[i + 1 :]
        ]
        columns = ["study", "statistic", "model_a", "model_b", "value", "n"]
        return pd.DataFrame(rows, columns=columns)

    @staticmethod
    def reliability(outputs=("yes",), bases=BASES, metas=METAS):
        rng = np.random.default_rng(4)
        rows = []
        for role, names in (("base", bases), ("meta", metas)):
            for name in names:
                for output in outputs:
                    for number in range(1, 11):
                        p, n = (number - 0.5) / 10, int(rng.integers(1, 60))
                        row = (name, role, output, number, p, rng.binomial(n, p) / n, 0.05, n)
                        rows.append(("wine", *row))
        columns = ["study", "estimator", "role", "output", "bin", "mean_predicted"]
        columns += ["observed_frequency", "standard_error", "n"]
        return pd.DataFrame(rows, columns=columns)

    @staticmethod
    def predictions(targets=("progression",), bases=BASES[:2], metas=METAS, n=40):
        rng = np.random.default_rng(5)
        rows = []
        for role, names in (("base", bases), ("meta", metas)):
            for name in names:
                for scale, target in enumerate(targets):
                    observed = 10.0**scale * rng.normal(size=n)
                    predicted = observed + 0.3 * 10.0**scale * rng.normal(size=n)
                    for i in range(n):
                        row = (name, role, f"row {i}", target, observed[i], predicted[i])
                        rows.append(("diabetes", *row))
        columns = ["study", "estimator", "role", "row_id", "output", "observed", "predicted"]
        return pd.DataFrame(rows, columns=columns)

    @staticmethod
    def history(networks=("dense", "starnet"), epochs=30, validation=True):
        rng = np.random.default_rng(7)
        rows = []
        for network in networks:
            for epoch in range(1, epochs + 1):
                loss = np.exp(-epoch / 8) + 0.02 + 0.01 * rng.random()
                rows.append(("stars", network, epoch, "loss", loss))
                if validation:
                    rows.append(("stars", network, epoch, "val_loss", 1.3 * loss))
                rows.append(("stars", network, epoch, "learning_rate", 1e-3))
        return pd.DataFrame(rows, columns=["study", "network", "epoch", "quantity", "value"])

    @staticmethod
    def errors(outputs=("teff", "logg", "fe_h"), bases=BASES[:2], metas=METAS, networks=("net",)):
        rng = np.random.default_rng(8)
        roles = (("base", bases), ("meta", metas), ("network", networks))
        bins = ("all", "20-30", "30-45", "45-70", "70-100", "100-150", "150-220", "220-300")
        rows = [
            ("stars", name, role, output, snr, statistic, rng.normal(3, 1), 0.3, 800)
            for role, names in roles
            for name in names
            for output in outputs
            for snr in bins
            for statistic in ("median", "mad_scatter", "standard_deviation")
        ]
        columns = ["study", "estimator", "role", "output", "snr", "statistic", "value"]
        return pd.DataFrame(rows, columns=[*columns, "standard_error", "n"])

    @staticmethod
    def spectra(n=4, pixels=400, noiseless=True):
        rng = np.random.default_rng(9)
        clean = 1 - 0.3 * np.exp(-(((np.arange(pixels) - 90) / 3) ** 2))
        error = np.full(pixels, 0.02)
        error[50:54] = np.inf
        flux = clean + 0.02 * rng.normal(size=pixels)
        title = "Teff = 4243 K, log g = 1.22 dex, [Fe/H] = −0.22 dex, S/N = 58"
        return [Spectrum(title, flux, error, clean if noiseless else None) for _ in range(n)]

    @staticmethod
    def eigenvalue_density(network="dense", lowest=-40.0, n_weights=900):
        """Two clusters on the scale of a network's Hessian, smoothed in asinh(λ)."""
        rng = np.random.default_rng(10)
        u = np.linspace(-6, 12, 300)
        slope = np.cosh(u)
        rows = []
        for probe in ("mean", "1", "2", "3"):
            centres = np.arcsinh([lowest, 0.0, 200.0, 9e3]) + 0.02 * rng.normal(size=4)
            heights = np.exp(-0.5 * ((u[:, None] - centres) / 0.2) ** 2) @ [0.05, 0.9, 0.04, 0.01]
            for at in range(len(u)):
                density = heights[at] / (0.2 * np.sqrt(2 * np.pi) * slope[at])
                row = (probe, np.sinh(u[at]), density, 0.2 * slope[at], n_weights)
                rows.append(("stars", network, *row))
        columns = ["study", "network", "probe", "eigenvalue", "density", "smoothing_width"]
        table = pd.DataFrame(rows, columns=[*columns, "number_of_weights"])
        return table.assign(number_of_rows=2000)

    @staticmethod
    def structures(outputs=("teff", "logg", "fe_h"), n=50):
        rng = np.random.default_rng(11)
        ratios = {"block": 0.9, "kfac": 0.8, "ekfac": 0.85, "diagonal": 0.7, "last_layer": 0.2}
        rows = [
            ("stars", "dense", name, output, row, ratio * exact, exact)
            for output in outputs
            for row, exact in enumerate(10.0 ** rng.uniform(-2, 0, n))
            for name, ratio in ratios.items()
        ]
        columns = ["study", "network", "structure", "output", "row", "standard_deviation"]
        return pd.DataFrame(rows, columns=[*columns, "exact_standard_deviation"])

    @staticmethod
    def class_methods(structures=("kfac", "last_layer")):
        drawn = [f"{name}, {how}" for name in structures for how in ("probit", "Monte Carlo")]
        return [(name, time) for name in ("plain", *drawn) for time in ("before", "after")]

    @staticmethod
    def class_reliability(structures=("kfac", "last_layer"), lowest=5):
        rng = np.random.default_rng(13)
        rows = []
        for method, time in Tables.class_methods(structures):
            for number in range(lowest, 10):
                n = int(rng.integers(1, 400))
                right = rng.binomial(n, (number + 0.5) / 10) / n
                edges = (number + 1, number / 10, (number + 1) / 10, (number + 0.6) / 10)
                interval = (max(right - 0.1, 0), min(right + 0.1, 1))
                rows.append(("digits", "cnn", method, time, *edges, right, *interval, n))
        columns = ["study", "estimator", "method", "temperature", "bin", "low", "high"]
        columns += ["mean_confidence", "right", "interval_low", "interval_high", "n"]
        return pd.DataFrame(rows, columns=columns)

    @staticmethod
    def class_calibration(structures=("kfac", "last_layer"), scale=1.0):
        rng = np.random.default_rng(14)
        rows = []
        for method, time in Tables.class_methods(structures):
            for statistic in ("log_loss", "brier"):
                value = scale * (0.1 + 0.01 * rng.normal())
                key = ("digits", "cnn", method, time)
                rows.append((*key, statistic, value, 0.02 * scale, 450))
                off = 0.0 if (method, time) == ("plain", "before") else 0.004 * scale
                rows.append((*key, f"{statistic}_minus_plain", 0.01 * scale, off, 450))
        columns = ["study", "estimator", "method", "temperature", "statistic", "value"]
        return pd.DataFrame(rows, columns=[*columns, "standard_error", "n"])

    @staticmethod
    def sensitivities(networks=("dense", "starnet"), pixels=700):
        rng = np.random.default_rng(12)
        found = []
        for network in networks:
            mean = rng.standard_normal((3, pixels)) * [[300.0], [0.4], [0.2]]
            width = np.abs(mean).mean(axis=1, keepdims=True)
            found.append(
                Sensitivity(
                    network=network,
                    outputs=("teff", "logg", "fe_h"),
                    wavelength=15200 * 10 ** (6e-6 * np.arange(pixels)),
                    mean=mean,
                    low=mean - width,
                    high=mean + width,
                    bounds=(0.16, 0.84),
                    n_rows=1000,
                    quantile_rows=500,
                )
            )
        return found

    @staticmethod
    def leakage():
        """Weights and scores of one meta-learner trained out-of-fold and in-sample."""
        trees, leaky = ["depth-1", "depth-5", "depth-10"], ["logistic", "logistic-in-sample"]
        weights = Tables.weights(bases=trees, metas=leaky, blends=())
        weights.loc[weights["meta_learner"] == leaky[1], "trained_on"] = "in-sample"
        scores = Tables.scores(bases=trees, metas=leaky)
        promised = (scores["estimator"] == leaky[1]) & (scores["figure"] == "cross-validated")
        scores.loc[promised, "figure"] = "in-sample"
        extra = scores[(scores["role"] == "base") & (scores["figure"] == "out-of-fold")]
        return weights, pd.concat([scores, extra.assign(figure="in-sample", value=0.99)])

    @staticmethod
    def runtime(studies=("wine", "digits", "a-study-with-a-long-name"), rules=None):
        rng = np.random.default_rng(6)
        usual = {"load_data": 1, "fit_base": 12, "assemble_meta_features": 1, "fit_meta": 4}
        rows = [
            (study, rule, str(job), float(rng.lognormal()), 1.0, 150 + 9 * rng.random(), 1)
            for study in studies
            for rule, jobs in (rules or usual).items()
            for job in range(jobs)
        ]
        columns = ["study", "rule", "job", "seconds", "cpu_seconds", "max_rss_mb", "threads"]
        return pd.DataFrame(rows, columns=columns)


@pytest.fixture(scope="session")
def tables():
    return Tables
