# Helpers of the rules: the validated configuration, what a job depends on, names of files.

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

from starstack.config.config_files import check_config_files
from starstack.config.cross_checks import NAMED_BY_TEXT
from starstack.config.data_checks import SPECTRA
from starstack.config.validation import validate_config
from starstack.errors import InputError
from starstack.models.specs import iter_specs
from starstack.source_files import library_files, name_files

try:
    check_config_files(workflow.configfiles)
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


def judged_studies(*tasks):
    """Studies with models that are scored, of some tasks; another one only traces joint fits."""
    return [
        name
        for name, study in config["studies"].items()
        if (study["base_models"] or study["networks"])
        and study["task"] in (tasks or (study["task"],))
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


def is_weighted(wildcards):
    """Whether scores weigh the rows of a study."""
    return bool(study_of(wildcards)["data"].get("sample_weight"))


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
