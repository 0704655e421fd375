"""The readable tables of a paper, made from the long result tables."""

import math

import pandas as pd

from starstack.errors import InputError
from starstack.metrics.scores import METRICS
from starstack.tables.measurement import Measurement

# An estimator has either an out-of-fold or a cross-validated score, so the two share a column.
_FIGURE_HEADERS = {
    "out-of-fold": "out-of-fold /\ncross-validated",
    "cross-validated": "out-of-fold /\ncross-validated",
    "test": "test",
    "in-sample": "in-sample",
}
BIAS = "(bias)"

# Roles in the order of the tables, and what a reader sees.
_ROLES = {"base": "base model", "meta": "meta-learner", "network": "network"}


def require_columns(table: pd.DataFrame, columns: tuple[str, ...], name: str) -> None:
    """Refuse a table that lacks columns, naming all of them."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(
            f"{name}: expected the columns {', '.join(columns)}, missing {', '.join(missing)}; "
            "run the rule that writes this table again"
        )
    if table.empty:
        raise InputError(f"{name}: expected at least one row, got an empty table")


def without_unknown_snr(table: pd.DataFrame, snr: pd.Series) -> pd.DataFrame:
    """Leave out the index level S/N where results are in no bin of it, but of all rows alone."""
    return table.droplevel("S/N") if set(snr) <= {"all"} else table


def _unique(values: pd.Series) -> list:
    """List the different values in order of appearance: the order of the config."""
    return list(dict.fromkeys(values))


def _only_if_telling(table: pd.DataFrame, columns: dict[str, str]) -> list[str]:
    """Keep the identity columns that tell rows apart, and the first one in any case."""
    first, *rest = columns
    return [first, *(column for column in rest if table[column].nunique() > 1)]


def score_table(scores: pd.DataFrame, *, weighted: bool = False) -> pd.DataFrame:
    """Lay out scores with one row per estimator.

    Parameters
    ----------
    scores : DataFrame
        Rows of scores.csv of one or several studies.
    weighted : bool, optional
        Whether rows counted by their sample weights; the names of the metrics then say so.

    Returns
    -------
    DataFrame
        Index: Estimator, Role, and Study and Output where there are several; base models first.
        Columns: (metric, figure with its number of rows); cells are
        :class:`~starstack.tables.measurement.Measurement`, or None where there is no score.

    Raises
    ------
    InputError
        If a column is missing or the table is empty.
    """
    identity = {"estimator": "Estimator", "role": "Role", "output": "Output", "study": "Study"}
    require_columns(
        scores, (*identity, "figure", "metric", "value", "standard_error", "n"), "scores"
    )
    keep = _only_if_telling(scores, identity)
    columns = {}
    for (metric, header), part in scores.assign(
        header=scores["figure"].map(_FIGURE_HEADERS).fillna(scores["figure"])
    ).groupby(["metric", "header"], sort=False):
        sizes = sorted(set(part["n"]))
        if len(sizes) == 1:
            header = f"{header}\nn = {sizes[0]}"
        elif part["study"].nunique() == 1:
            header = f"{header}\nn = {sizes[0]} to {sizes[-1]}"
        name = METRICS[metric].label if metric in METRICS else metric
        key = (f"{name} (weighted)" if weighted else name, header)
        columns[key] = {
            tuple(row[c] for c in keep): Measurement(row["value"], row["standard_error"])
            for row in part.to_dict("records")
        }
    order = scores.assign(role_number=scores["role"].map(list(_ROLES).index))
    order["study_number"] = order["study"].map(
        {s: i for i, s in enumerate(_unique(order["study"]))}
    )
    order = order.sort_values(["study_number", "role_number"], kind="stable")
    rows = _unique(order[keep].apply(tuple, axis=1))
    # Columns of one metric stand together, in the order of the metrics; test comes last.
    metrics = list(dict.fromkeys(metric for metric, _ in columns))
    keys = sorted(columns, key=lambda key: (metrics.index(key[0]), key[1].startswith("test")))
    table = pd.DataFrame(
        [[columns[key].get(row) for key in keys] for row in rows],
        columns=pd.MultiIndex.from_tuples(keys),
        dtype=object,
    )
    named = [
        [_ROLES[part] if c == "role" else part for part in column]
        for c, column in zip(keep, zip(*rows, strict=True), strict=True)
    ]
    table.index = pd.MultiIndex.from_arrays(named, names=[identity[c] for c in keep])
    return table


def learner_names(weights: pd.DataFrame) -> pd.Series:
    """Name each meta-learner, and say so where it was trained on in-sample predictions."""
    leaky = weights["trained_on"] == "in-sample"
    return weights["meta_learner"].where(~leaky, weights["meta_learner"] + " (in-sample)")


def weight_table(weights: pd.DataFrame) -> pd.DataFrame:
    """Lay out weights with one row per meta-feature and the bias as the last row.

    Where no meta-learner has more than one weight per model and output, rows bear the model's
    name, so that weights of meta-features and weights of whole models stand side by side.

    Parameters
    ----------
    weights : DataFrame
        Rows of weights.csv of one study.

    Returns
    -------
    DataFrame
        Index Meta-feature (or Model); columns (meta-learner, output); NaN where a meta-learner
        has no such weight.

    Raises
    ------
    InputError
        If a column is missing or the table is empty.
    """
    require_columns(
        weights,
        ("meta_learner", "trained_on", "model", "meta_feature", "output", "weight"),
        "weights",
    )
    table = weights.assign(learner=learner_names(weights))
    bias = table["meta_feature"] == BIAS
    key = ["learner", "output", "model"]
    by_model = not table[~bias].duplicated(key).any()
    table["row"] = table["meta_feature"].where(bias | (not by_model), table["model"])
    order = [*_unique(table.loc[~bias, "row"]), *([BIAS] if bias.any() else [])]
    wide = table.pivot(index="row", columns=["learner", "output"], values="weight")
    wide = wide.loc[order, _unique(table[["learner", "output"]].apply(tuple, axis=1))]
    wide.index.name = "Model" if by_model else "Meta-feature"
    wide.columns.names = [None, None]
    return wide


def weight_share_table(weights: pd.DataFrame) -> pd.DataFrame:
    """Sum up how much of each meta-learner's weight lies on each base model.

    The form for a paper when meta-features times outputs are too many to print.

    Parameters
    ----------
    weights : DataFrame
        Rows of weights.csv of one study.

    Returns
    -------
    DataFrame
        Index Model, one column per meta-learner: 100 · Σ|w| of the model / Σ|w| of all, in per
        cent, over all meta-features and outputs, without the bias. The w are the standardised
        weights, so that the units of targets and features do not count.

    Raises
    ------
    InputError
        If a column is missing or the table is empty.
    """
    require_columns(
        weights, ("meta_learner", "trained_on", "model", "meta_feature", "standardised"), "weights"
    )
    table = weights.assign(learner=learner_names(weights), size=weights["standardised"].abs())
    table = table[table["meta_feature"] != BIAS]
    total = table.groupby(["model", "learner"])["size"].sum().unstack()
    # Ordered after the division, which sorts the columns.
    share = (100 * total / total.sum()).loc[_unique(table["model"]), _unique(table["learner"])]
    share.index.name = "Model"
    share.columns.name = None
    return share


def diversity_matrix(diversity: pd.DataFrame, statistic: str = "error_correlation") -> pd.DataFrame:
    """Lay out one statistic of diversity as a symmetric matrix of models.

    Parameters
    ----------
    diversity : DataFrame
        Rows of diversity.csv of one study.
    statistic : str
        Which of its statistics.

    Returns
    -------
    DataFrame
        Square, models in the order of the config; NaN on the diagonal, where a statistic compares
        a model with itself, and where it is not defined.

    Raises
    ------
    InputError
        If a column is missing or the table has no such statistic.
    """
    require_columns(diversity, ("statistic", "model_a", "model_b", "value"), "diversity")
    known = _unique(diversity["statistic"])
    if statistic not in known:
        raise InputError(f"diversity: expected one of {', '.join(known)}, got {statistic!r}")
    pairs = diversity[diversity["statistic"] == statistic]
    models = _unique(pd.concat([pairs["model_a"], pairs["model_b"]]))
    matrix = pd.DataFrame(math.nan, index=pd.Index(models, name="Model"), columns=models)
    for a, b, value in zip(pairs["model_a"], pairs["model_b"], pairs["value"], strict=True):
        matrix.loc[a, b] = matrix.loc[b, a] = value
    return matrix


def runtime_table(runtime: pd.DataFrame) -> pd.DataFrame:
    """Sum up time and memory per rule, over the jobs of all studies in the table.

    Parameters
    ----------
    runtime : DataFrame
        Rows of runtime.csv; seconds of wall-clock time, memory in MB.

    Returns
    -------
    DataFrame
        Index Rule, in order of appearance; number of jobs, total, median and longest time of a
        job, and the largest memory of a job.

    Raises
    ------
    InputError
        If a column is missing or the table is empty.
    """
    require_columns(runtime, ("rule", "seconds", "cpu_seconds", "max_rss_mb"), "runtime")
    rules = runtime.groupby("rule", sort=False)
    table = pd.DataFrame(
        {
            "Jobs": rules.size(),
            "Total (s)": rules["seconds"].sum(),
            "Median (s)": rules["seconds"].median(),
            "Longest (s)": rules["seconds"].max(),
            "CPU (s)": rules["cpu_seconds"].sum(),
            "Peak memory (MB)": rules["max_rss_mb"].max(),
        }
    )
    table.index.name = "Rule"
    return table
