"""Text tables: columns by name, roles apart, faults named by file, line, column or row."""

import csv

import numpy as np
import pytest

from starstack.data.sources import load_dataset
from starstack.errors import InputError

STARS = """id,teff,logg,flux,field,seen,weight,kind
s1,4750.5,2.4,0.1,north,2024-01-01,1,giant
s2,5777,4.44,0.30000000000000004,north,2024-01-02,2,dwarf
s3,6100,4.2,1e-3,south,2024-01-03,1,dwarf
s4,4200,1.7,-2,south,2024-01-04,0.5,giant
"""
ROLES = {"row_id": "id", "group": "field", "time": "seen", "sample_weight": "weight"}


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Return a function that writes a table and loads it."""
    monkeypatch.chdir(tmp_path)

    def load(text=STARS, task="regression", path="stars.csv", **options):
        content = text if isinstance(text, bytes) else text.encode()
        (tmp_path / path).write_bytes(content)
        data = {"source": "table", "path": path, "target": "teff", "features": ["flux"]} | options
        return load_dataset("stars", task, data)

    return load


def refused(load, message, *args, **options):
    with pytest.raises(InputError, match=message) as caught:
        load(*args, **options)
    assert str(caught.value).startswith("data set 'stars': ")
    assert "\n" not in str(caught.value)


def test_regression_table_with_all_roles(load):
    dataset = load(features=["flux", "logg"], **ROLES)
    assert dataset.feature_names == ("flux", "logg")
    expected = [[0.1, 2.4], [0.30000000000000004, 4.44], [1e-3, 4.2], [-2.0, 1.7]]
    assert dataset.X.tolist() == expected
    assert dataset.y.tolist() == [4750.5, 5777.0, 6100.0, 4200.0]
    assert dataset.target_names == ("teff",)
    assert dataset.row_id.tolist() == ["s1", "s2", "s3", "s4"]
    assert dataset.group.tolist() == ["north", "north", "south", "south"]
    assert dataset.time.tolist() == [1704067200.0 + 86400 * day for day in range(4)]
    assert dataset.sample_weight.tolist() == [1.0, 2.0, 1.0, 0.5]
    assert dataset.provenance == {"source": "table", "path": "stars.csv", "target": "teff"}


def test_all_columns_without_another_role_are_features(load):
    text = "\n".join(line.rsplit(",", 1)[0] for line in STARS.splitlines())
    dataset = load(text, features=None, target=["teff"], **ROLES)
    assert dataset.feature_names == ("logg", "flux")
    dataset = load(text, features=None, target=["teff", "logg"], **ROLES)
    assert dataset.feature_names == ("flux",)
    assert dataset.y.shape == (4, 2)
    assert dataset.target_names == ("teff", "logg")


def test_classification_keeps_labels_as_written(load):
    dataset = load(task="classification", target="kind", features=["teff"])
    assert dataset.classes == ("dwarf", "giant")
    assert dataset.y.tolist() == [1, 0, 0, 1]
    assert dataset.row_id.tolist() == ["0", "1", "2", "3"]
    assert dataset.group is None
    table = "x,kind\n1,NA\n2,01\n3,NA\n4,01\n"
    assert load(table, "classification", target="kind", features=["x"]).classes == ("01", "NA")


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_tab_separated_with_any_line_ending_and_byte_order_mark(load, ending, start):
    text = start + STARS.replace(",", "\t").replace("\n", ending).encode()
    dataset = load(text, path="stars.tsv", row_id="id")
    assert dataset.X[:, 0].tolist() == [0.1, 0.30000000000000004, 0.001, -2.0]
    assert dataset.row_id.tolist() == ["s1", "s2", "s3", "s4"]


def test_quoted_cells_and_blank_lines(load):
    text = 'id,teff,flux\n\n"a, b",1,2\n"say ""hi""",2,3\n\n'
    assert load(text, row_id="id").row_id.tolist() == ["a, b", 'say "hi"']


def test_true_and_false_count_as_numbers(load):
    assert load("teff,flux\n1,True\n2,False\n").X[:, 0].tolist() == [1.0, 0.0]


def test_ids_keep_their_zeros_and_long_numbers_their_digits(load):
    text = "id,teff,flux\n007,1,1\n4295806720180041856,2,2\n4295806720180041857,3,3\n"
    expected = ["007", "4295806720180041856", "4295806720180041857"]
    assert load(text, row_id="id").row_id.tolist() == expected


def test_numbers_are_read_to_the_last_bit(load, tmp_path):
    values = np.random.default_rng(0).normal(size=500) * 10.0 ** np.arange(-250, 250)
    with open(tmp_path / "exact.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["teff", "flux"])
        writer.writerows([index, repr(float(value))] for index, value in enumerate(values))
    content = (tmp_path / "exact.csv").read_bytes()
    np.testing.assert_array_equal(load(content).X[:, 0], values)


MISSING = STARS.replace("1e-3", "{}")


@pytest.mark.parametrize("cell", ["", "NA", "nan", "NULL"])
def test_missing_number(load, cell):
    refused(
        load, r"column 'flux' is missing \(NaN\) in row 's3'", MISSING.format(cell), row_id="id"
    )


@pytest.mark.parametrize("cell", ["inf", "-inf", "Infinity"])
def test_infinite_number(load, cell):
    refused(load, "column 'flux' is infinite in row 's3'", MISSING.format(cell), row_id="id")


def test_not_a_number(load):
    message = "column 'flux' is 'bright' in row 's3', which is not a number"
    refused(load, message, MISSING.format("bright"), row_id="id")
    message = "column 'kind' is 'giant' in row '0', which is not a number"
    refused(load, message, features=["flux", "kind"])
    refused(load, "or list the others under data.features", features=["flux", "kind"])


def test_target_not_a_number_or_missing(load):
    refused(load, "line 2: column 'kind' is 'giant' in row 's1', which", target="kind", row_id="id")
    refused(load, "not a number; correct it, or, if these are classes, set task", target="kind")
    refused(load, r"target 'teff' is missing \(NaN\) in row '2'", STARS.replace("6100", ""))
    text = STARS.replace("0.5,giant", "0.5,")
    refused(load, "target 'kind' is missing in row '3'", text, "classification", target="kind")


@pytest.mark.parametrize(
    ("old", "message"),
    [
        ("s3,", "row id .column 'id'. is missing in row '3'"),
        ("north,2024-01-02", "group is missing in row 's2', and in 1 of 4"),
        ("2024-01-04", r"time is missing \(NaN\) in row 's4'"),
        ("0.5,", r"sample weight is missing \(NaN\) in row 's4'"),
    ],
)
def test_missing_role(load, old, message):
    gap = {"s3,": ",", "north,2024-01-02": ",2024-01-02", "0.5,": ","}.get(old, "")
    refused(load, message, STARS.replace(old, gap), **ROLES)


def test_labels_that_are_a_quantity(load):
    refused(
        load,
        "target 'logg' is 2.4 in row '0', a fraction, which is no class label",
        task="classification",
        target="logg",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "tef"}, "no target column 'tef'; did you mean 'teff'. Expected one of id, te"),
        ({"features": ["Flux"]}, "no features column 'Flux'; did you mean 'flux'"),
        ({"group": "galaxy"}, "no group column 'galaxy'; expected one of id, teff, logg"),
        ({"features": ["flux", "teff"]}, "'teff' is named as target and as features"),
        ({"features": ["flux", "flux"]}, "'flux' is named as features and as features"),
        ({"group": "teff"}, "'teff' is named as target and as group"),
        ({"features": []}, "has no feature columns"),
        ({"path": "stars.xlsx"}, "stars.xlsx is no table; expected a name ending in .csv or .tsv"),
        ({"target": None}, "source table needs 'target'"),
        ({"target": []}, "source table needs 'target'"),
        ({"colour": "red"}, "source table: there is no option 'colour'; expected one of path, tar"),
        ({"featres": ["flux"]}, "no option 'featres'; did you mean 'features'"),
    ],
)
def test_wrong_options(load, options, message):
    refused(load, message, **options)


def test_several_labels(load):
    refused(
        load,
        "classification takes one target, got 2: teff, kind",
        task="classification",
        target=["teff", "kind"],
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (STARS[:-20], "stars.csv, line 5: 6 cells but 8 column names; the file is ragged or cut"),
        (STARS.replace("s2,", "s2,,"), "stars.csv, line 3: 9 cells but 8 column names"),
        ("teff,flux\n1,2,3\n4,5,6\n", "line 2: 3 cells but 2 column names"),
        ("teff,flux\n1,2,\n4,5,\n", "line 2: 3 cells but 2 column names"),
        ("", "stars.csv has no rows"),
        ("teff,flux\n", "stars.csv has no rows"),
        ("teff,flux,flux\n1,2,3\n", "column name 'flux' occurs twice"),
        (",teff,flux\n0,1,2\n1,2,3\n", "column 1 has no name; name it, or write the table without"),
        (b"teff,flux\n1,\xff\xfe\n", "cannot be read as UTF-8 text table"),
        ('teff,flux\n1,"2\n3,4\n', "cannot be read as UTF-8 text table"),
    ],
)
def test_damaged_table(load, text, message):
    refused(load, message, text)


def test_missing_file(load):
    with pytest.raises(InputError, match=r"^data set 'a': there is no file nowhere\.csv; correct"):
        load_dataset("a", "regression", {"source": "table", "path": "nowhere.csv", "target": "y"})


def test_duplicate_ids(load):
    refused(load, "row id 's1' occurs 2 times", STARS.replace("s3,", "s1,"), row_id="id")
