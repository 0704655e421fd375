"""Estimate the spectrum of the Hessian of a network's loss, over some of its training rows."""

from job import cpu_only, job

from starstack.autodiff.operators import HessianOperator
from starstack.curvature.diagnosis import likelihood_products
from starstack.curvature.lanczos import largest_eigenpairs
from starstack.curvature.spectrum import (
    Estimate,
    lanczos_quadrature,
    spectral_density,
    trace_and_diagonal,
)
from starstack.curvature.structures import load
from starstack.curvature.summary import density_table, spectrum_table
from starstack.data.store import open_dataset
from starstack.networks.persistence import load_network
from starstack.seeds import derive_seed
from starstack.splits.split import Split
from starstack.tables.results import RESULT_TABLES, write_csv
from starstack.uncertainty.network_rows import (
    draw_rows,
    rows_of_network,
    scaled_batches,
    scaler_digest,
)

cpu_only()
params = snakemake.params
EIGENVALUES, PROBES = 5, 3

with job(snakemake) as output:
    network = load_network(snakemake.input.model, snakemake.input.description)
    posterior = load(snakemake.input.posterior, network.model, scaler_digest(network))
    seed = derive_seed(params.seed, params.study, params.network)
    with open_dataset(snakemake.input.data) as dataset:
        rows = rows_of_network(
            dataset, Split.from_csv(snakemake.input.split), params.validation_fraction, seed
        )
        drawn = draw_rows(rows.fit, params.rows, seed)
        data = scaled_batches(network, dataset, drawn, fitted=rows.fit)
        operator = HessianOperator(likelihood_products(posterior, data))
        quadrature = lanczos_quadrature(
            operator, n_steps=params.steps, n_probes=PROBES, seed=seed, keep_basis=True
        )
        trace, _ = trace_and_diagonal(operator, PROBES, seed=seed)
        pairs = largest_eigenpairs(operator, EIGENVALUES, tolerance=1e-4, seed=seed)
    density = spectral_density(quadrature, linear_scale=quadrature.resolution)
    # No Ritz value is below the smallest eigenvalue: a negative one proves that there is one.
    smallest = min(float(nodes[0]) for nodes in quadrature.nodes)
    estimates = {
        "trace": trace,
        "trace_by_quadrature": quadrature.trace_of(lambda value: value),
        "smallest_node": Estimate(smallest, float("nan"), PROBES),
    }
    named = {"study": params.study, "network": params.network, "number_of_rows": len(drawn)}
    for name, table in (
        ("eigenvalues", spectrum_table(pairs, estimates)),
        ("eigenvalue_density", density_table(density, posterior.parameters.size)),
    ):
        write_csv(table.assign(**named)[list(RESULT_TABLES[name])], getattr(output, name))
