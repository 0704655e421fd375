"""Spectra in the HDF5 layout of StarNet (Fabbro et al. 2018, MNRAS 475, 2978)."""

from collections.abc import Mapping, Sequence
from os import PathLike

from starstack.spectra.apogee import pixel_grid
from starstack.spectra.array_files import Layout, open_arrays
from starstack.spectra.arrays import Treatment, survey_of
from starstack.spectra.survey import Run, Survey

_LABELS = {"teff": "TEFF", "logg": "LOGG", "fe_h": "FE_H"}

# Arrays that the test file has and the training file has not.
_SOMETIMES = {"error": "error_spectrum", "snr": "combined_snr"}


def read_starnet(
    run: Run,
    *,
    path: str | PathLike[str],
    spectrum: str = "spectrum",
    error: str | None = None,
    labels: Mapping[str, str] = _LABELS,
    group: str | None = "Ap_ID",
    snr: str | None = None,
    normalise: str = "none",
    drop_missing_labels: bool = False,
    max_error: float | None = 6.0,
    chips: Sequence[str] = ("blue", "green", "red"),
    drop_edge_pixel: bool = False,
    pixel_step: int = 1,
) -> Survey:
    """Read a file of StarNet: 7214 pixels of DR12, each chip divided by its median.

    StarNet writes a flux of 0 where a pixel has none; such pixels are masked. Its own training
    and validation sets divide the visits of a star between them, and so do scores measured on
    them; here `group` is the star, which no split divides.

    Parameters
    ----------
    run : Run
    path : path
        The HDF5 file.
    spectrum : str
        Spectra, shape (n, 7214).
    error : str, optional
        Their errors; by default ``error_spectrum`` if the file has it.
    labels : mapping of str to str
        Names of the targets, and of the arrays of shape (n, 1) that hold them.
    group : str, optional
        Names of the stars.
    snr : str, optional
        Signal-to-noise ratios; by default ``combined_snr`` if the file has it.
    normalise, drop_missing_labels, max_error
        See `starstack.spectra.arrays.Treatment`. StarNet ignores errors above 6.
    chips, drop_edge_pixel, pixel_step
        See `starstack.spectra.normalisation.choose_pixels`.

    Raises
    ------
    InputError
        As `starstack.spectra.arrays.read_arrays`.
    """
    names = {"error": error, "snr": snr}
    layout = Layout(spectrum, labels, group=group)
    with open_arrays(path, layout, f"{run.where}: {path}") as arrays:
        for role, usual in _SOMETIMES.items():
            if names[role] is None and usual in arrays:
                names[role] = usual
    survey = survey_of(
        run,
        path,
        Layout(spectrum, labels, group=group, **names),
        Treatment(normalise, drop_missing_labels, max_error, zero_is_missing=True),
        pixel_grid(),
        {"chips": chips, "drop_edge_pixel": drop_edge_pixel, "pixel_step": pixel_step},
    )
    survey.provenance["source"] = "starnet-hdf5"
    return survey
