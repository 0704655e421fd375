"""Readable tables against tables laid out by hand."""

import numpy as np
import pandas as pd
import pytest

from starstack.errors import InputError
from starstack.tables.measurement import Measurement
from starstack.tables.results import RESULT_TABLES
from starstack.tables.summaries import (
    diversity_matrix,
    runtime_table,
    score_table,
    weight_share_table,
    weight_table,
)

SCORES = pd.DataFrame(
    [
        # Meta-learners first: the table must bring the base models to the top.
        ("wine", "nnls", "meta", "cross-validated", "accuracy", "", 0.97, 0.01, 133),
        ("wine", "nnls", "meta", "test", "accuracy", "", 0.96, 0.02, 45),
        ("wine", "svm", "base", "test", "accuracy", "", 0.94, 0.03, 45),
        ("wine", "svm", "base", "out-of-fold", "accuracy", "", 0.95, 0.02, 133),
        ("wine", "knn", "base", "out-of-fold", "accuracy", "", 0.93, 0.02, 130),
        ("wine", "knn", "base", "out-of-fold", "log_loss", "", 0.3, 0.05, 130),
    ],
    columns=list(RESULT_TABLES["scores"]),
)


def weights(*rows):
    table = [("wine", *row, row[-1]) for row in rows]
    return pd.DataFrame(table, columns=list(RESULT_TABLES["weights"]))


OOF = "out-of-fold"
WEIGHTS = weights(
    ("zeta", OOF, "svm", "svm__b", "b", 3.0),
    ("zeta", OOF, "knn", "knn__b", "b", -1.0),
    ("zeta", OOF, "", "(bias)", "b", 0.5),
    ("alpha", "in-sample", "svm", "svm", "all classes", 0.25),
    ("alpha", "in-sample", "knn", "knn", "all classes", 0.75),
)


def test_score_table():
    table = score_table(SCORES)
    assert table.index.names == ["Estimator", "Role"]
    assert table.index.tolist() == [
        ("svm", "base model"),
        ("knn", "base model"),
        ("nnls", "meta-learner"),
    ]
    validated = "out-of-fold /\ncross-validated"
    assert table.columns.tolist() == [
        ("Accuracy", f"{validated}\nn = 130 to 133"),
        ("Accuracy", "test\nn = 45"),
        ("Log loss", f"{validated}\nn = 130"),
    ]
    assert table.iloc[0].tolist() == [Measurement(0.95, 0.02), Measurement(0.94, 0.03), None]
    assert table.iloc[1].tolist() == [Measurement(0.93, 0.02), None, Measurement(0.3, 0.05)]
    assert table.iloc[2].tolist() == [Measurement(0.97, 0.01), Measurement(0.96, 0.02), None]


def test_score_table_says_where_rows_are_weighted():
    table = score_table(SCORES, weighted=True)
    assert {metric for metric, _ in table.columns} == {
        "Accuracy (weighted)",
        "Log loss (weighted)",
    }


def test_score_table_of_several_studies_and_outputs():
    other = SCORES.assign(study="linnerud", output="Pulse")
    table = score_table(pd.concat([SCORES, other]))
    assert table.index.names == ["Estimator", "Role", "Output", "Study"]
    assert table.index[0] == ("svm", "base model", "", "wine")
    assert table.index[3] == ("svm", "base model", "Pulse", "linnerud")
    assert len(table) == 6


def test_weight_table_by_model_where_it_can():
    table = weight_table(WEIGHTS)
    assert table.index.tolist() == ["svm", "knn", "(bias)"]
    assert table.index.name == "Model"
    # The order of the table, not of the alphabet.
    assert table.columns.tolist() == [("zeta", "b"), ("alpha (in-sample)", "all classes")]
    expected = [[3.0, 0.25], [-1.0, 0.75], [0.5, np.nan]]
    np.testing.assert_array_equal(table.to_numpy(), expected)


def test_weight_table_by_meta_feature_where_it_must():
    table = weight_table(
        weights(
            ("lr", OOF, "svm", "svm__b", "a", 1.0),
            ("lr", OOF, "svm", "svm__c", "a", 2.0),
            ("lr", OOF, "svm", "svm__b", "b", 3.0),
            ("lr", OOF, "svm", "svm__c", "b", 4.0),
        )
    )
    assert table.index.name == "Meta-feature"
    assert table.index.tolist() == ["svm__b", "svm__c"]
    np.testing.assert_array_equal(table.to_numpy(), [[1.0, 3.0], [2.0, 4.0]])


def test_weight_shares_stay_with_their_meta_learner():
    table = weight_share_table(WEIGHTS)
    assert table.columns.tolist() == ["zeta", "alpha (in-sample)"]
    assert table.index.tolist() == ["svm", "knn"]
    np.testing.assert_allclose(table.to_numpy(), [[75.0, 25.0], [25.0, 75.0]])
    # A weight of other units, as large as before once it is standardised.
    other = WEIGHTS.assign(weight=WEIGHTS["weight"] * [1000, 1, 1, 1, 1])
    pd.testing.assert_frame_equal(weight_share_table(other), table)


def test_diversity_matrix():
    pairs = [("b", "a", 0.5, 9), ("b", "c", -0.1, 9), ("a", "c", 0.2, 9)]
    table = pd.DataFrame(pairs, columns=["model_a", "model_b", "value", "n"])
    table["statistic"] = "error_correlation"
    matrix = diversity_matrix(table)
    assert matrix.index.tolist() == list(matrix.columns) == ["b", "a", "c"]
    nan = np.nan
    expected = [[nan, 0.5, -0.1], [0.5, nan, 0.2], [-0.1, 0.2, nan]]
    np.testing.assert_array_equal(matrix.to_numpy(), expected)
    with pytest.raises(InputError, match="one of error_correlation, got 'q_statistic'"):
        diversity_matrix(table, "q_statistic")


def test_runtime_table():
    jobs = [("split", 1.0, 0.5, 90.0), ("fit", 2.0, 4.0, 100.0), ("fit", 4.0, 4.0, 300.0)]
    jobs += [("fit", 9.0, 4.0, 200.0)]
    table = runtime_table(
        pd.DataFrame(jobs, columns=["rule", "seconds", "cpu_seconds", "max_rss_mb"])
    )
    assert table.index.tolist() == ["split", "fit"]
    assert table.loc["fit"].tolist() == [3, 15.0, 4.0, 9.0, 12.0, 300.0]


@pytest.mark.parametrize(
    "arrange, name",
    [
        (score_table, "scores"),
        (weight_table, "weights"),
        (weight_share_table, "weights"),
        (diversity_matrix, "diversity"),
        (runtime_table, "runtime"),
    ],
)
def test_bad_tables_are_one_clear_line(arrange, name):
    with pytest.raises(
        InputError, match=f"^{name}: expected the columns .* missing .*, "
    ) as caught:
        arrange(pd.DataFrame({"study": ["wine"], "role": ["base"]}))
    assert "\n" not in str(caught.value)
    columns = {column for table in RESULT_TABLES.values() for column in table}
    with pytest.raises(InputError, match=f"^{name}: .* got an empty table"):
        arrange(pd.DataFrame(columns=sorted(columns)))
