# Helpers of the rules about error bars: which networks get them, and names of their files.


def uncertainty_of(wildcards):
    """How the error bars of a network are made."""
    return network_spec(wildcards)["uncertainty"]


def budget_networks(study):
    """Networks of a study that get error bars, and how."""
    networks = config["studies"][study]["networks"].items()
    return {
        name: entry["uncertainty"] for name, entry in networks if entry["uncertainty"]["structures"]
    }


def budget_studies(*tasks):
    """Studies with a network that gets error bars, of one task or of both."""
    return [
        name
        for name, study in config["studies"].items()
        if budget_networks(name) and study["task"] in (tasks or ("classification", "regression"))
    ]


def curvatures():
    """Structures of the curvature that the config names."""
    named = {
        structure
        for study in budget_studies()
        for options in budget_networks(study).values()
        for structure in options["structures"]
    }
    return sorted(named)


def get_budget_files(kind):
    """Files of the networks of a study that get error bars, in the order of the config."""

    def files(wildcards):
        return [
            f"results/{wildcards.study}/networks/{network}.{kind}"
            for network in budget_networks(wildcards.study)
        ]

    return files


def get_structure_files(kind):
    """Files of each structure of each network of a study, in the order of the config."""

    def files(wildcards):
        return [
            f"results/{wildcards.study}/networks/{network}.{structure}.{kind}"
            for network, options in budget_networks(wildcards.study).items()
            for structure in options["structures"]
        ]

    return files


def first_structure(kind):
    """The file of a network's first structure, which figures show."""

    def file(wildcards):
        structure = uncertainty_of(wildcards)["structures"][0]
        return f"results/{wildcards.study}/networks/{wildcards.network}.{structure}.{kind}"

    return file


def get_posteriors(wildcards):
    """Posteriors of the weights of one network, in the order of its structures."""
    return [
        f"results/{wildcards.study}/networks/{wildcards.network}.{structure}.posterior.h5"
        for structure in uncertainty_of(wildcards)["structures"]
    ]


def get_validation_fraction(wildcards):
    """The share of the training rows that a network's error bars are calibrated with."""
    return network_spec(wildcards)["training"]["validation_fraction"]


def units_of(wildcards):
    """Units of targets: what stands in brackets at the end of their words."""
    labels = study_of(wildcards)["target_labels"]
    found = {name: re.search(r"\(([^()]*)\)$", words) for name, words in labels.items()}
    return {name: match[1] for name, match in found.items() if match}


def conformal_stack(study):
    """The first meta-learner that sees out-of-fold predictions alone, or nothing.

    Of a series in time, later rows are not exchangeable with earlier ones.
    """
    section = config["studies"][study]
    if section["task"] != "regression" or section["split"]["method"] == "time-ordered":
        return ""
    fits = (
        name
        for name, entry in section["meta_learners"].items()
        if entry["trained_on"] == "out-of-fold" and not entry["keep_features"]
    )
    return next(fits, "")


def conformal_spec(wildcards):
    """How to build the meta-learner whose intervals are conformal."""
    name = conformal_stack(wildcards.study)
    return spec_of(study_of(wildcards)["meta_learners"][name]) if name else {}


# Figures of each network that gets error bars, by the task of its study.
NETWORK_FIGURES = {
    "regression": ("coverage", "standardised_errors", "predicted"),
    "classification": ("class_reliability", "class_scores"),
    # Against the signal-to-noise ratio.
    "spectra": ("error_budget", "error_correlations"),
}


# What error budgets are compared with by `snakemake baselines`.
BASELINES = ["ensemble", "dropout", "variance"]


# Signal-to-noise ratios about 100, at which published systems state their errors: more stars of
# these are compared with the Cramér–Rao bound, beside the bins.
NEAR_100 = [90, 110]


def bounded_rows(study):
    """Test rows that are compared with the Cramér–Rao bound: the most that a network asks for."""
    options = budget_networks(study).values()
    return max((each["cramer_rao_rows"] for each in options), default=0)


# Sources whose spectra can be differentiated by the labels: starstack.uncertainty.flux_models.
WITH_FLUX_MODEL = ["simulated-spectra", "cannon"]


def bounded_studies():
    """Studies whose errors are compared with the Cramér–Rao bound."""
    return [
        study
        for study in budget_studies()
        if config["studies"][study]["data"]["source"] in WITH_FLUX_MODEL and bounded_rows(study)
    ]
