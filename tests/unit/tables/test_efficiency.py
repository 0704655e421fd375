import numpy as np

from starstack.tables.efficiency import efficiency_summary
from starstack.uncertainty.efficiency import efficiency_table


def test_every_ratio_has_its_row_and_its_words():
    errors, bound = np.full((4, 1), 6.0), np.full((4, 1, 1), 9.0)
    table = efficiency_table(errors, bound, ["teff"], snr=np.full(4, 99.0), snr_bins=[90, 110])
    table = table.assign(estimator="dense", bound="known nuisances")
    summary = efficiency_summary(table, {"teff": "Teff (K)"})
    assert list(summary.columns) == ["Error (rms)", "Bound (rms)", "Error / bound"]
    row = summary.loc[("dense", "known nuisances", "Teff (K)", "90–110", 4)]
    assert row["Error / bound"].value == 2.0
    assert row["Bound (rms)"].value == 3.0
