# A study's data file and its one split.


rule load_data:
    input:
        sources=sources("load_data.py"),
        files=lambda wildcards: study_of(wildcards)["data"].get("path") or [],
    output:
        data="results/{study}/data.h5",
        runtime="results/{study}/runtime/load_data.json",
    log:
        "results/{study}/logs/load_data.log",
    wildcard_constraints:
        study=one_of(studies_with_spectra(False)),
    # First of all: what is wrong with any study's data is said before models are fitted.
    priority: 2
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        study="{study}",
        seed=config["seed"],
        task=lambda wildcards: study_of(wildcards)["task"],
        data=lambda wildcards: study_of(wildcards)["data"],
        divided=lambda wildcards: wildcards.study in judged_studies(),
    message:
        "{wildcards.study}: read and check the data"
    script:
        "../scripts/load_data.py"


# Spectra are read, normalised or simulated block by block, and bring their errors with them. One of
# the two rules makes the data of a study, so that an edit of the one leaves the other's data alone.
rule load_spectra:
    input:
        sources=sources("load_spectra.py"),
        files=get_spectra_files,
    output:
        data="results/{study}/data.h5",
        runtime="results/{study}/runtime/load_spectra.json",
    log:
        "results/{study}/logs/load_spectra.log",
    wildcard_constraints:
        study=one_of(studies_with_spectra(True)),
    # Before anything else: what waits for the spectra is the longest chain of the run.
    priority: 3
    conda:
        "../../envs/analysis.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        study="{study}",
        seed=config["seed"],
        data=lambda wildcards: study_of(wildcards)["data"],
    message:
        "{wildcards.study}: read or simulate the spectra"
    script:
        "../scripts/load_spectra.py"


rule split:
    input:
        sources=sources("split.py"),
        data=rules.load_data.output.data,
        files=lambda wildcards: study_of(wildcards)["split"]["file"] or [],
    output:
        split="results/{study}/split.csv",
        runtime="results/{study}/runtime/split.json",
    log:
        "results/{study}/logs/split.log",
    priority: 1
    conda:
        "../../envs/analysis.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        study="{study}",
        seed=config["seed"],
        split=lambda wildcards: study_of(wildcards)["split"],
    message:
        "{wildcards.study}: hold out test rows, divide the others into folds"
    script:
        "../scripts/split.py"
