# Error bars of the networks of a study: the curvature of the loss, the parts of every error, whether
# they hold, and what they could be at best.


wildcard_constraints:
    curvature=one_of(curvatures()),


rule fit_curvature:
    input:
        sources=sources("fit_curvature.py"),
        builder=lambda wildcards: builder_sources(network_spec(wildcards)),
        data=rules.load_data.output.data,
        split=rules.split.output.split,
        model=rules.train_network.output.model,
        description=rules.train_network.output.description,
        noise=lambda wildcards: (
            rules.propagate_noise.output.covariances
            if study_of(wildcards)["task"] == "regression"
            else []
        ),
    output:
        posterior="results/{study}/networks/{network}.{curvature}.posterior.h5",
        record="results/{study}/networks/{network}.{curvature}.json",
        runtime="results/{study}/runtime/fit_curvature.{network}.{curvature}.json",
    log:
        "results/{study}/logs/fit_curvature.{network}.{curvature}.log",
    conda:
        "../../envs/networks.yaml"
    threads: lambda wildcards: network_spec(wildcards)["analysis_threads"]
    resources:
        mem_mb=6000,
        runtime=120,
    params:
        study="{study}",
        network="{network}",
        structure="{curvature}",
        seed=config["seed"],
        validation_fraction=get_validation_fraction,
        fit_rows=lambda wildcards: uncertainty_of(wildcards)["fit_rows"],
        prior_rows=lambda wildcards: uncertainty_of(wildcards)["prior_rows"],
    message:
        "{wildcards.study}: curvature of network {wildcards.network}, {wildcards.curvature}"
    script:
        "../scripts/fit_curvature.py"


rule propagate_noise:
    input:
        sources=sources("propagate_noise.py"),
        builder=lambda wildcards: builder_sources(network_spec(wildcards)),
        data=rules.load_data.output.data,
        split=rules.split.output.split,
        model=rules.train_network.output.model,
        description=rules.train_network.output.description,
    output:
        covariances="results/{study}/networks/{network}.noise.h5",
        runtime="results/{study}/runtime/propagate_noise.{network}.json",
    log:
        "results/{study}/logs/propagate_noise.{network}.log",
    wildcard_constraints:
        study=one_of(budget_studies("regression")),
    conda:
        "../../envs/networks.yaml"
    threads: lambda wildcards: network_spec(wildcards)["analysis_threads"]
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        study="{study}",
        network="{network}",
        seed=config["seed"],
        validation_fraction=get_validation_fraction,
        method=lambda wildcards: uncertainty_of(wildcards)["noise"],
        draws=lambda wildcards: uncertainty_of(wildcards)["noise_draws"],
        components=lambda wildcards: uncertainty_of(wildcards)["noise_components"],
    message:
        "{wildcards.study}: what noise does to the predictions of network {wildcards.network}"
    script:
        "../scripts/propagate_noise.py"


rule error_budget:
    input:
        sources=sources("error_budget.py"),
        builder=lambda wildcards: builder_sources(network_spec(wildcards)),
        data=rules.load_data.output.data,
        model=rules.train_network.output.model,
        description=rules.train_network.output.description,
        predictions=rules.train_network.output.predictions,
        posterior=rules.fit_curvature.output.posterior,
        noise=rules.propagate_noise.output.covariances,
    output:
        budget="results/{study}/networks/{network}.{curvature}.budget.h5",
        calibration="results/{study}/networks/{network}.{curvature}.calibration.h5",
        table="results/{study}/networks/{network}.{curvature}.budget.csv",
        intrinsic="results/{study}/networks/{network}.{curvature}.intrinsic.csv",
        recalibration="results/{study}/networks/{network}.{curvature}.recalibration.csv",
        runtime="results/{study}/runtime/error_budget.{network}.{curvature}.json",
    log:
        "results/{study}/logs/error_budget.{network}.{curvature}.log",
    wildcard_constraints:
        study=one_of(budget_studies("regression")),
    conda:
        "../../envs/networks.yaml"
    threads: lambda wildcards: network_spec(wildcards)["analysis_threads"]
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        study="{study}",
        network="{network}",
        structure="{curvature}",
        seed=config["seed"],
        units=units_of,
        recalibration=lambda wildcards: uncertainty_of(wildcards)["recalibration"],
        bins=lambda wildcards: uncertainty_of(wildcards)["recalibration_bins"],
    message:
        "{wildcards.study}: error budget of network {wildcards.network}, {wildcards.curvature}"
    script:
        "../scripts/error_budget.py"


rule calibrate:
    input:
        sources=sources("calibrate.py"),
        meta=lambda wildcards: (
            class_sources(conformal_spec(wildcards)) if conformal_stack(wildcards.study) else []
        ),
        data=rules.load_data.output.data,
        split=rules.split.output.split,
        predictions=get_budget_files("h5"),
        noise=get_budget_files("noise.h5"),
        budgets=get_structure_files("budget.h5"),
        calibrations=get_structure_files("calibration.h5"),
        meta_features=lambda wildcards: (
            rules.assemble_meta_features.output.meta_features
            if conformal_stack(wildcards.study)
            else []
        ),
        base_models=lambda wildcards: (
            get_base_predictions(wildcards) if conformal_stack(wildcards.study) else []
        ),
    output:
        calibration="results/{study}/evaluation/calibration.csv",
        error_reliability="results/{study}/evaluation/error_reliability.csv",
        error_histograms="results/{study}/evaluation/error_histograms.csv",
        runtime="results/{study}/runtime/calibrate.json",
    log:
        "results/{study}/logs/calibrate.log",
    wildcard_constraints:
        study=one_of(budget_studies("regression")),
    conda:
        "../../envs/networks.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=60,
    params:
        study="{study}",
        seed=config["seed"],
        networks=lambda wildcards: budget_networks(wildcards.study),
        stack=lambda wildcards: conformal_stack(wildcards.study),
        spec=conformal_spec,
        allowed_packages=lambda wildcards: (
            packages_of(conformal_spec(wildcards)) if conformal_stack(wildcards.study) else []
        ),
        file_ranges=get_file_ranges,
        conformal_rows=1000,
        snr_bins=lambda wildcards: study_of(wildcards)["snr_bins"],
    message:
        "{wildcards.study}: compare predicted errors with those that were made"
    script:
        "../scripts/calibrate.py"


rule cramer_rao:
    input:
        sources=sources("cramer_rao.py"),
        flux_model=get_spectra_files,
        data=rules.load_data.output.data,
        split=rules.split.output.split,
        models=get_budget_files("keras"),
        descriptions=get_budget_files("json"),
        predictions=get_budget_files("h5"),
        noise=get_budget_files("noise.h5"),
    output:
        efficiency="results/{study}/evaluation/cramer_rao.csv",
        inequality="results/{study}/evaluation/cramer_rao_inequality.csv",
        runtime="results/{study}/runtime/cramer_rao.json",
    log:
        "results/{study}/logs/cramer_rao.log",
    wildcard_constraints:
        study=one_of(bounded_studies()),
    conda:
        "../../envs/networks.yaml"
    threads: 2
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        study="{study}",
        seed=config["seed"],
        data=lambda wildcards: study_of(wildcards)["data"],
        networks=lambda wildcards: list(budget_networks(wildcards.study)),
        rows=lambda wildcards: bounded_rows(wildcards.study),
        near=NEAR_100,
        snr_bins=lambda wildcards: study_of(wildcards)["snr_bins"],
    message:
        "{wildcards.study}: compare errors with the smallest that the noise allows"
    script:
        "../scripts/cramer_rao.py"


rule hessian_spectrum:
    input:
        sources=sources("hessian_spectrum.py"),
        builder=lambda wildcards: builder_sources(network_spec(wildcards)),
        data=rules.load_data.output.data,
        split=rules.split.output.split,
        model=rules.train_network.output.model,
        description=rules.train_network.output.description,
        posterior=first_structure("posterior.h5"),
    output:
        eigenvalues="results/{study}/networks/{network}.eigenvalues.csv",
        eigenvalue_density="results/{study}/networks/{network}.eigenvalue_density.csv",
        runtime="results/{study}/runtime/hessian_spectrum.{network}.json",
    log:
        "results/{study}/logs/hessian_spectrum.{network}.log",
    conda:
        "../../envs/networks.yaml"
    threads: lambda wildcards: network_spec(wildcards)["analysis_threads"]
    resources:
        mem_mb=9000,
        runtime=120,
    params:
        study="{study}",
        network="{network}",
        seed=config["seed"],
        validation_fraction=get_validation_fraction,
        rows=lambda wildcards: uncertainty_of(wildcards)["spectrum_rows"],
        steps=lambda wildcards: uncertainty_of(wildcards)["spectrum_steps"],
    message:
        "{wildcards.study}: spectrum of the Hessian of network {wildcards.network}"
    script:
        "../scripts/hessian_spectrum.py"


rule compare_structures:
    input:
        sources=sources("compare_structures.py"),
        data=rules.load_data.output.data,
        split=rules.split.output.split,
    output:
        structures="results/{study}/evaluation/structure_comparison.csv",
        runtime="results/{study}/runtime/compare_structures.json",
    log:
        "results/{study}/logs/compare_structures.log",
    wildcard_constraints:
        study=one_of(budget_studies("regression")),
    conda:
        "../../envs/networks.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        study="{study}",
        seed=config["seed"],
    message:
        "{wildcards.study}: structures of the curvature beside the exact one, on a small network"
    script:
        "../scripts/compare_structures.py"


# Not part of the default run: `snakemake baselines`.
rule train_baseline:
    input:
        sources=sources("train_baseline.py"),
        builder=lambda wildcards: builder_sources(network_spec(wildcards)),
        data=rules.load_data.output.data,
        split=rules.split.output.split,
    output:
        predictions="results/{study}/baselines/{network}.{baseline}.h5",
        runtime="results/{study}/runtime/train_baseline.{network}.{baseline}.json",
    log:
        "results/{study}/logs/train_baseline.{network}.{baseline}.log",
    wildcard_constraints:
        study=one_of(budget_studies("regression")),
        baseline=one_of(BASELINES),
    conda:
        "../../envs/networks.yaml"
    threads: lambda wildcards: network_spec(wildcards)["threads"]
    resources:
        mem_mb=4000,
        runtime=lambda wildcards: network_spec(wildcards)["runtime"],
        gpu=lambda wildcards: 1 if network_spec(wildcards)["device"]["device"] == "gpu" else None,
    params:
        study="{study}",
        network="{network}",
        baseline="{baseline}",
        seed=config["seed"],
        build=lambda wildcards: network_spec(wildcards)["build"],
        build_params=lambda wildcards: network_spec(wildcards)["build_params"],
        input_shape=lambda wildcards: network_spec(wildcards)["input_shape"],
        training=lambda wildcards: network_spec(wildcards)["training"],
        device=lambda wildcards: network_spec(wildcards)["device"],
        allowed_packages=lambda wildcards: builder_packages(network_spec(wildcards)),
    message:
        "{wildcards.study}: train baseline {wildcards.baseline} of network {wildcards.network}"
    script:
        "../scripts/train_baseline.py"


rule calibrate_baselines:
    input:
        sources=sources("calibrate_baselines.py"),
        data=rules.load_data.output.data,
        split=rules.split.output.split,
        predictions=lambda wildcards: expand(
            rules.train_baseline.output.predictions,
            network=budget_networks(wildcards.study),
            baseline=BASELINES,
            allow_missing=True,
        ),
    output:
        calibration="results/{study}/baselines/calibration.csv",
    log:
        "results/{study}/logs/calibrate_baselines.log",
    conda:
        "../../envs/networks.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        study="{study}",
        networks=lambda wildcards: budget_networks(wildcards.study),
        baselines=lambda wildcards: [
            [network, baseline]
            for network in budget_networks(wildcards.study)
            for baseline in BASELINES
        ],
        snr_bins=lambda wildcards: study_of(wildcards)["snr_bins"],
    message:
        "{wildcards.study}: compare errors that baselines predict with those that they made"
    script:
        "../scripts/calibrate_baselines.py"
