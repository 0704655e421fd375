# Helpers of the rules: the validated configuration, what a job depends on, names of files.

import fcntl
import os
import re
import shlex
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

WORKFLOW = Path(workflow.basedir) / "workflow"
# The library is found here by this process and by every job, in whatever environment it runs.
sys.path.insert(0, str(WORKFLOW))
# A job also learns which process it works for, so that it does not outlive it (see job.py).
LIBRARY_PATH = shlex.quote(str(WORKFLOW)) + "${{PYTHONPATH:+:$PYTHONPATH}}"
shell.prefix(f"export PYTHONPATH={LIBRARY_PATH} SNAKEMAKE_PID={os.getpid()}; ")

from starstack.config.cross_checks import NAMED_BY_TEXT, SPECTRA
from starstack.config.validation import validate_config
from starstack.errors import InputError
from starstack.models.specs import iter_specs
from starstack.source_files import library_files, name_files

try:
    validated = validate_config(config, WORKFLOW / "schemas" / "config.schema.yaml")
except InputError as error:
    raise WorkflowError(str(error)) from None
# In place: report captions read the same object.
config.clear()
config.update(validated)


wildcard_constraints:
    study="|".join(config["studies"]),
    model="[A-Za-z0-9][A-Za-z0-9-]*",
    meta="[A-Za-z0-9][A-Za-z0-9-]*",
    network="[A-Za-z0-9][A-Za-z0-9-]*",
    fold=r"\d+|refit|all",


def wait_for_jobs_without_polling():
    """Lift the limit of 100 jobs a second where jobs run on this machine.

    To keep it, Snakemake (9.27) looks once a second whether more jobs may start, and once more for
    each job that has ended, as long as any job waits: with 250 jobs its own process came to take as
    much of a core as the jobs.
    """
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None


def hold_lock():
    """Keep a second run out of this folder; the lock ends with this process, however it ends."""
    path = Path(".snakemake") / "running"
    hold_lock.file = path.open("a")
    try:
        fcntl.flock(hold_lock.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise WorkflowError(
            f"another run is working in {Path.cwd()}; wait until it ends, or stop it"
        ) from None


def check_models_before_work():
    """Build every model of the config once, so that a misspelt one stops the run at its start."""
    try:
        from starstack.config.check import check_models
    except ModuleNotFoundError:
        # Snakemake stands alone in its environment (--sdm conda): the jobs check by themselves.
        return
    try:
        check_models(config)
    except InputError as error:
        raise WorkflowError(str(error)) from None


def sources(script):
    """A script and the library files that it really imports, as inputs of its rule."""
    path = WORKFLOW / "scripts" / script
    files = [path, *library_files(path, WORKFLOW / "starstack")]
    # Relative, so that a copy of the folder elsewhere has the same inputs and reruns nothing.
    return [os.path.relpath(file) for file in files]


def builder_of(entry):
    """The builder of a network that an entry names by its dotted path, if it does."""
    build = entry.get("build") or (entry.get("params") or {}).get("build")
    return build if isinstance(build, str) and "." in build else None


def builder_sources(entry):
    """Library file behind a network's own builder, where it is one of the library."""
    build = builder_of(entry)
    return class_sources({"class": build}) if build else []


def own_files(dotted):
    """The file of a module in the working directory that a dotted path of the config leads to."""
    stem = Path(*dotted.split(".")[:-1])
    candidates = (stem.with_suffix(".py"), stem / "__init__.py")
    return [path for path in candidates if path.is_file()]


def class_sources(spec):
    """Library files behind the classes of a model's spec, which no script names."""
    files = set()
    for _, entry in iter_specs(spec, ""):
        for name in (NAMED_BY_TEXT.get(entry["class"], entry["class"]), builder_of(entry)):
            if name and "." in name:
                files |= {*name_files(name, WORKFLOW / "starstack"), *own_files(name)}
    return sorted(os.path.relpath(file) for file in files)


def packages_of(spec):
    """Of the allowed packages those that a model uses: allowing another one refits nothing."""
    entries = [entry for _, entry in iter_specs(spec, "")]
    names = [entry["class"] for entry in entries]
    names += [build for entry in entries if (build := builder_of(entry))]
    roots = {name.partition(".")[0] for name in names}
    return [name for name in config["allowed_packages"] if name.partition(".")[0] in roots]


def builder_packages(entry):
    """Of the allowed packages the one that a network's own builder comes from."""
    build = builder_of(entry)
    return packages_of({"class": build}) if build else []


def trusted_types_of(spec):
    """Further types that a model may hold: only models of other packages have such."""
    foreign = set(packages_of(spec)) - {"sklearn", "starstack"}
    return config["trusted_types"] if foreign else []


def study_of(wildcards):
    """The config section of a study."""
    return config["studies"][wildcards.study]


def fold_names(study):
    """Names of the folds of a study: 1 to folds × repeats."""
    split = config["studies"][study]["split"]
    return [str(i + 1) for i in range(split["n_folds"] * split["n_repeats"])]


def jobs_of(study, model):
    """Values of the wildcard `fold` that together fit a base model: one per fold, or `all`."""
    if config["studies"][study]["base_models"][model]["job"] == "per_model":
        return ["all"]
    return [*fold_names(study), "refit"]


def folds_of_job(wildcards):
    """Folds that one job fits."""
    if wildcards.fold == "all":
        return [*fold_names(wildcards.study), "refit"]
    return [wildcards.fold]


def in_sample_learners(study):
    """Meta-learners that are trained on in-sample predictions, to show what leakage does."""
    learners = config["studies"][study]["meta_learners"]
    return [name for name, spec in learners.items() if spec["trained_on"] == "in-sample"]


def spec_of(entry):
    """The part of a model's config entry that says how to build it."""
    return {key: entry[key] for key in ("class", "params", "preprocess", "columns") if key in entry}


def one_of(names):
    """A pattern of some names; of none, one that nothing fits."""
    return "|".join(names) or "(?!)"


def studies_with_spectra(wanted):
    """Studies whose data are spectra, or the others."""
    return [
        name
        for name, study in config["studies"].items()
        if (study["data"]["source"] in SPECTRA) == wanted
    ]


def judged_studies():
    """Studies with models that are scored; another one only traces joint fits."""
    return [
        name
        for name, study in config["studies"].items()
        if study["base_models"] or study["networks"]
    ]


def traced_studies():
    """Studies that trace joint fits of a projection."""
    return [name for name, study in config["studies"].items() if study["projection"]]


def simulated_studies():
    """Studies with networks whose spectra the simulator can differentiate."""
    return [
        name
        for name, study in config["studies"].items()
        if study["networks"] and study["data"]["source"] == "simulated-spectra"
    ]


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


def drawn_model(wildcards):
    """The base model of which the projection is drawn."""
    return study_of(wildcards)["projection"]["draw"]


def get_drawn_models(wildcards):
    """The file of models that a drawn projection is in."""
    model = drawn_model(wildcards)
    # A model that is fitted fold by fold has its last fit, on all training rows, in a file.
    fold = jobs_of(wildcards.study, model)[-1]
    return f"results/{wildcards.study}/base_models/{model}/{fold}.skops"


def get_spectra_files(wildcards):
    """Files that the spectra of a study are read from: one, or those of a folder."""
    data = study_of(wildcards)["data"]
    files = [data["labels_file"]] if "labels_file" in data else []
    path = Path(data.get("path", ""))
    if "pattern" in data:
        return [*files, *sorted(str(file) for file in path.glob(data["pattern"]))]
    return [*files, str(path)] if "path" in data else files


def title_of(wildcards):
    """What captions and tables call a study."""
    return study_of(wildcards)["title"] or wildcards.study


def studies_of(task):
    """Studies of one task."""
    return [name for name, study in config["studies"].items() if study["task"] == task]


def base_spec(wildcards):
    """How to build a base model."""
    return spec_of(study_of(wildcards)["base_models"][wildcards.model])


def get_base_predictions(wildcards):
    """Predictions of all base models of a study."""
    return [
        f"results/{wildcards.study}/base_models/{model}/{fold}.h5"
        for model in study_of(wildcards)["base_models"]
        for fold in jobs_of(wildcards.study, model)
    ]


def get_file_ranges(wildcards):
    """For each base model: its name, and where its files stand among all predictions."""
    ranges, first = [], 0
    for model in study_of(wildcards)["base_models"]:
        count = len(jobs_of(wildcards.study, model))
        ranges.append([model, first, count])
        first += count
    return ranges


def meta_spec(wildcards):
    """How to build a meta-learner."""
    return spec_of(study_of(wildcards)["meta_learners"][wildcards.meta])


def get_meta_options(wildcards):
    """How a meta-learner takes its meta-features."""
    entry = study_of(wildcards)["meta_learners"][wildcards.meta]
    names = ("drop_first", "keep_features", "member_predictions", "trained_on")
    return {name: entry[name] for name in names}


def network_spec(wildcards):
    """The config entry of a network."""
    return study_of(wildcards)["networks"][wildcards.network]


def get_network_files(kind):
    """Files of all networks of a study, in the order of the config."""

    def files(wildcards):
        return [
            f"results/{wildcards.study}/networks/{network}.{kind}"
            for network in study_of(wildcards)["networks"]
        ]

    return files


def get_meta_files(kind):
    """Files of all meta-learners of a study, in the order of the config."""

    def files(wildcards):
        return [
            f"results/{wildcards.study}/meta_learners/{meta}.{kind}"
            for meta in study_of(wildcards)["meta_learners"]
        ]

    return files


def get_runtimes(wildcards):
    """Records of time and memory of every job that feeds a result, in the order of the rules."""
    files = []
    for study, section in config["studies"].items():
        spectra = study in studies_with_spectra(True)
        judged = study in judged_studies()
        jobs = ["load_spectra" if spectra else "load_data", *(["split"] if judged else [])]
        jobs += [f"fit_base.{m}.{f}" for m in section["base_models"] for f in jobs_of(study, m)]
        jobs += ["assemble_meta_features"] if section["base_models"] else []
        jobs += [f"fit_meta.{meta}" for meta in section["meta_learners"]]
        jobs += [f"train_network.{network}" for network in section["networks"]]
        jobs += [f"input_jacobian.{network}" for network in section["networks"]]
        jobs += ["jacobian_identity"] if study in simulated_studies() else []
        if section["projection"]:
            jobs += [
                "trace_projection",
                *(["project_rows"] if section["projection"]["draw"] else []),
            ]
        jobs += ["evaluate"] if judged else []
        of_classes = section["task"] == "classification"
        for network, options in budget_networks(study).items():
            jobs += [f"fit_curvature.{network}.{name}" for name in options["structures"]]
            if of_classes:
                jobs += [f"class_probabilities.{network}"]
            else:
                jobs += [f"propagate_noise.{network}"]
                jobs += [f"error_budget.{network}.{name}" for name in options["structures"]]
            jobs += [f"hessian_spectrum.{network}"]
        if study in budget_studies():
            jobs += ["calibrate_classes"] if of_classes else ["calibrate", "compare_structures"]
        jobs += ["cramer_rao"] if study in bounded_studies() else []
        files += [f"results/{study}/runtime/{job}.json" for job in jobs]
    return files


def get_figures(wildcards):
    """All figures that the studies of the config have something to show in."""
    files = ["results/summary/figures/runtime.pdf"]
    for study, section in config["studies"].items():
        shown = []
        if study in judged_studies():
            by_task = "reliability" if section["task"] == "classification" else "residuals"
            shown += ["scores", by_task]
        if section["meta_learners"]:
            shown.append("weights")
        if len(section["base_models"]) > 1:
            shown.append("diversity")
        if in_sample_learners(study):
            shown.append("leakage")
        if section["networks"]:
            shown.append("history")
        if study in studies_with_spectra(True):
            shown += ["spectra", "errors", *(["jacobian"] if section["networks"] else [])]
        if section["projection"]:
            shown += ["saddle", *(["projection"] if section["projection"]["draw"] else [])]
        of_network = list(NETWORK_FIGURES[section["task"]])
        if study in studies_with_spectra(True):
            of_network += NETWORK_FIGURES["spectra"]
        shown += [f"{name}.{network}" for name in of_network for network in budget_networks(study)]
        shown += ["eigenvalue_density"] if study in budget_studies() else []
        shown += ["structures"] if study in budget_studies("regression") else []
        shown += ["cramer_rao"] if study in bounded_studies() else []
        files += [f"results/{study}/figures/{name}.pdf" for name in shown]
    return files
