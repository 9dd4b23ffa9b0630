"""Descriptors: what a file says about itself, by name (spec: instrument, section 3.1).

Each works for raw and for prepared files. A value that the header does not give is None; the marks
-9999 and ``No Value`` count as not given. Descriptors of detector figures return a list with one
element per extension, as DRAGONS does; F2 has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal

from f2yaml.interpreter.errors import BadInput
from f2yaml.interpreter.f2 import components, exposure, pointing, times
from f2yaml.interpreter.f2.values import number, text
from f2yaml.interpreter.headers import Headers
from f2yaml.schema.problems import RequestError, did_you_mean

Function = Callable[[Headers], object]


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A named value of a file.

    `pretty` is the function of the display form, None where there is no other form. `is_list`
    says that the value is a list with one element per extension.
    """

    name: str
    doc: str
    unit: str
    function: Function
    pretty: Function | None = None
    is_list: bool = False


def _text(*keys: str) -> Function:
    return lambda headers: text(headers.phu, *keys)


def _number(*keys: str) -> Function:
    return lambda headers: number(headers.phu, *keys)


def _constant(value: object) -> Function:
    return lambda headers: value


def _listed(function: Function) -> Function:
    return lambda headers: [function(headers)]


def _axis(function: Callable[..., Any], index: int) -> Function:
    def component(headers: Headers) -> object:
        position = function(headers)
        return None if position is None else position[index]

    return component


def _filter(form: components.FilterForm) -> Function:
    return lambda headers: components.filter_name(headers, form)


def _component(*keys: str, pretty: bool = False) -> Function:
    return lambda headers: components.component(headers, *keys, pretty=pretty)


def _extinction(headers: Headers) -> float | None:
    # The observatory's table has optical bands only, so the coefficient is zero.
    return None if exposure.airmass(headers) is None else 0.0


def _calibration_key(headers: Headers) -> str | None:
    label = text(headers.phu, "DATALAB")
    return None if label is None else label.replace("_stack", "")


def _detector_name(headers: Headers) -> str | None:
    return text(headers.phu, "DETNAME")


def _sections(key: str) -> tuple[Function, Function]:
    def plain(headers: Headers) -> object:
        return [components.section(headers, key)]

    def pretty(headers: Headers) -> object:
        section = components.section(headers, key)
        return [None if section is None else section.iraf()]

    return plain, pretty


def _offset(function: Callable[[Headers, Literal["x", "y"]], float | None], axis: str) -> Function:
    return lambda headers: function(headers, "x" if axis == "x" else "y")


def _lists() -> Iterable[Descriptor]:
    for name, doc, unit, function in (
        ("gain", "gain", "electron/adu", exposure.gain),
        ("read_noise", "read noise", "electron", exposure.read_noise),
        ("saturation_level", "level of saturation", "unit of data", exposure.saturation_level),
        ("non_linear_level", "level of non-linearity", "unit of data", exposure.non_linear_level),
        (
            "nominal_photometric_zeropoint",
            "magnitude of one unit of data per second",
            "mag",
            exposure.nominal_photometric_zeropoint,
        ),
        ("dispersion_axis", "axis of dispersion", "", _constant(2)),
    ):
        yield Descriptor(name, doc, unit, _listed(function), is_list=True)
    for name, key in (
        ("array_section", "ARRAYSEC"),
        ("data_section", "DATASEC"),
        ("detector_section", "DETSEC"),
    ):
        plain, pretty = _sections(key)
        doc = f"section of the {name.split('_')[0]}"
        yield Descriptor(name, doc, "pix", plain, pretty, is_list=True)


def _forms() -> Iterable[Descriptor]:
    yield Descriptor("camera", "camera", "", components.camera, _pretty_camera)
    yield Descriptor("filter_name", "filter", "", _filter("plain"), _filter("pretty"))
    for name, doc, *keys in (
        ("disperser", "grism", "GRISM", "GRISMPOS"),
        ("decker", "decker", "DECKER", "DCKERPOS"),
    ):
        yield Descriptor(name, doc, "", _component(*keys), _component(*keys, pretty=True))
    yield Descriptor("detector_name", "detector", "", _detector_name, _detector_name)
    mask = components.focal_plane_mask
    yield Descriptor("focal_plane_mask", "mask in the focal plane", "", mask, mask)


def _pretty_camera(headers: Headers) -> object:
    return components.camera(headers, pretty=True)


def _positions() -> Iterable[Descriptor]:
    for index, axis in enumerate(("ra", "dec")):
        for name, doc, function in (
            (axis, "at the reference pixel", pointing.sky_position),
            (f"wcs_{axis}", "at the reference pixel, from the WCS", pointing.wcs_position),
            (f"target_{axis}", "of the target at the epoch", pointing.target_position),
        ):
            yield Descriptor(name, f"{axis} {doc}", "deg", _axis(function, index))
    for axis in ("x", "y"):
        yield Descriptor(
            f"detector_{axis}_offset",
            f"shift of objects along {axis} by the telescope's offset",
            "pix",
            _offset(pointing.detector_offset, axis),
        )
        yield Descriptor(
            f"telescope_{axis}_offset",
            f"offset of the telescope along {axis}",
            "arcsec",
            _offset(pointing.telescope_offset, axis),
        )
        yield Descriptor(f"detector_{axis}_bin", f"binning along {axis}", "pix", _constant(1))


def _conditions() -> Iterable[Descriptor]:
    for prefix, key, words in (("raw", "RAW", "delivered"), ("requested", "REQ", "requested")):
        for band, what in (
            ("bg", "sky background"),
            ("cc", "cloud cover"),
            ("iq", "image quality"),
            ("wv", "water vapour"),
        ):

            def condition(headers: Headers, key: str = key + band.upper()) -> object:
                return exposure.percentile(headers, key)

            yield Descriptor(f"{prefix}_{band}", f"{words} {what}", "percentile", condition)


_PLAIN: Final[tuple[tuple[str, str, str, Function], ...]] = (
    ("airmass", "mean airmass", "", exposure.airmass),
    ("amp_read_area", "area read by an amplifier (not for F2)", "", _text("AMPROA")),
    ("ao_seeing", "seeing as adaptive optics saw it", "arcsec", _number("AOSEEING")),
    ("array_name", "name of the array (not for F2)", "", _text("ARRAYNAM")),
    ("azimuth", "azimuth of the telescope", "deg", _number("AZIMUTH")),
    ("binning", "binning", "", _constant("1x1")),
    ("calibration_key", "data label without `_stack`", "", _calibration_key),
    ("cass_rotator_pa", "angle of the rotator", "deg", exposure.cass_rotator_pa),
    ("central_wavelength", "wavelength set for the target", "m", components.central_wavelength),
    ("coadds", "exposures summed in the frame", "", exposure.coadds),
    ("data_label", "observation and frame number", "", _text("DATALAB")),
    ("detector_roi_setting", "region of interest", "", _constant("Fixed")),
    ("detector_rois_requested", "regions requested (not for F2)", "", _constant(None)),
    ("dispersion", "dispersion (none in imaging)", "m/pix", _constant(None)),
    ("effective_wavelength", "wavelength of the filter", "m", components.effective_wavelength),
    ("elevation", "elevation of the telescope", "deg", _number("ELEVATIO")),
    ("exposure_time", "exposure time", "s", exposure.exposure_time),
    ("gain_setting", "setting of the gain (not for F2)", "", _text("GAINSET")),
    ("gcal_lamp", "lamp that shines, or Off", "", components.gcal_lamp),
    ("group_id", "what frames that belong together share", "", exposure.group_id),
    ("instrument", "instrument", "", _text("INSTRUME")),
    ("is_ao", "adaptive optics in the beam", "", lambda h: text(h.phu, "AOFOLD") == "IN"),
    ("is_coadds_summed", "coadds are summed, not averaged", "", _constant(True)),
    ("is_in_adu", "pixels are in adu", "", exposure.is_in_adu),
    ("local_time", "local clock time at the start", "", times.local_time),
    ("lyot_stop", "component in the Lyot wheel", "", components.lyot_stop),
    ("mdf_row_id", "slit number (not for imaging)", "", _constant(None)),
    ("night", "night, by the UT date on which it ends", "", times.night),
    ("nominal_atmospheric_extinction", "extinction above airmass 1", "mag", _extinction),
    ("object", "name of the target", "", _text("OBJECT")),
    ("observation_class", "role in the programme", "", _text("OBSCLASS")),
    ("observation_epoch", "epoch of observation", "yr", _number("OBSEPOCH")),
    ("observation_id", "programme and observation number", "", _text("OBSID")),
    ("observation_type", "kind of exposure", "", _text("OBSTYPE")),
    ("overscan_section", "overscan (not for F2)", "", _text("OVERSEC")),
    ("pixel_scale", "plate scale", "arcsec/pix", pointing.pixel_scale),
    ("position_angle", "direction of +y, East of North", "deg", pointing.position_angle),
    ("program_id", "programme", "", _text("GEMPRGID")),
    ("pupil_mask", "pupil mask (not for F2)", "", _text("PUPILMSK")),
    ("qa_state", "verdict of the observatory", "", exposure.qa_state),
    ("read_mode", "number of read pairs", "", exposure.read_mode),
    ("read_speed_setting", "read speed (not for F2)", "", _text("RDSPDSET")),
    ("slit", "slit (none in imaging)", "", _constant(None)),
    ("slit_width", "width of the slit", "arcsec", components.slit_width),
    ("telescope", "telescope", "", _text("TELESCOP")),
    ("ut_date", "UT date", "", times.ut_date),
    ("ut_datetime", "UT date and time", "", times.ut_datetime),
    ("ut_time", "UT time of day", "", times.ut_time),
    ("wavefront_sensor", "sensors that guide", "", components.wavefront_sensor),
    ("wavelength_band", "photometric band of the filter", "", components.wavelength_band),
    ("well_depth_setting", "well depth (not for F2)", "", _text("WELDEPTH")),
)


def _table() -> dict[str, Descriptor]:
    plain = [Descriptor(*row) for row in _PLAIN]
    every = [*plain, *_lists(), *_forms(), *_positions(), *_conditions()]
    return {d.name: d for d in sorted(every, key=lambda d: d.name)}


DESCRIPTORS: Final[Mapping[str, Descriptor]] = MappingProxyType(_table())


def describe(name: str, headers: Headers, *, pretty: bool = False) -> object:
    """Return the value of a descriptor.

    Parameters
    ----------
    name : str
        One of `DESCRIPTORS`.
    headers : Headers
    pretty : bool
        Display form, where the descriptor has one: component ids dropped, sections as text.

    Returns
    -------
    object
        str, int, float, bool, date, time, datetime, or a list of one element; None if not known.

    Raises
    ------
    RequestError
        There is no such descriptor.
    BadInput
        A header card that it needs cannot be read.
    """
    known = DESCRIPTORS.get(name)
    if known is None:
        raise RequestError(
            f"unknown descriptor `{name}`",
            "descriptors come from a fixed list",
            did_you_mean(name, DESCRIPTORS) or "`f2yaml show` lists them",
        )
    function = known.pretty if pretty and known.pretty is not None else known.function
    try:
        return function(headers)
    except BadInput as error:
        raise error.at(headers.filename) from error


def scalar(name: str, headers: Headers, *, pretty: bool = False) -> object:
    """Return the value of a descriptor; a list of one element gives that element."""
    value = describe(name, headers, pretty=pretty)
    return value[0] if isinstance(value, list) and len(value) == 1 else value
