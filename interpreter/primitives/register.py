"""Registration: header positions checked, corrected from sources, frames put on one grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal, NamedTuple

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.algorithms.tan import Affine, Tan, affine_between
from f2yaml.interpreter.allowing import Allowed, record_cards
from f2yaml.interpreter.engine import SERIAL, Engine
from f2yaml.interpreter.errors import FrameMismatch, TooFewFrames, TooFewSources
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import Array, Computed, Planes
from f2yaml.interpreter.pointing import pointing_table
from f2yaml.interpreter.primitives.stack_headers import variance_ratio
from f2yaml.interpreter.registry import Params, Reported, Table, group
from pydantic import Field


class CheckWCS(Params):
    """Parameters of ``checkWCS``."""

    limit_arcsec: float = Field(
        1.0, gt=0, description="separation above which a frame is flagged [arcsec]"
    )


@group("checkWCS", headers_only=True, takes="exposures")
def check_wcs(frames: Sequence[Frame], params: CheckWCS) -> Reported:
    """Compare header positions with the telescope offsets; change nothing.

    Parameters
    ----------
    frames : sequence of Frame
        Raw frames of one target.
    params : CheckWCS

    Raises
    ------
    FrameMismatch
        A frame is prepared already: its header no longer shows what the telescope wrote.

    References
    ----------
    Spec: primitives 4.5 and 4.6. Separations are also given relative to the other frames, which is
    what the alignment has to correct.
    """
    for frame in frames:
        if "PREPARED" in frame.tags:
            raise FrameMismatch(
                f"checkWCS: {frame.name} is prepared already",
                "its header positions may have been corrected",
                "give the raw frames",
            )
    rows = pointing_table(frames, flag_arcsec=params.limit_arcsec)
    flagged = [row.name for row in rows if row.flagged]
    table = Table(
        "Header positions against telescope offsets",
        (
            "frame",
            "expected_ra",
            "expected_dec",
            "actual_ra",
            "actual_dec",
            "separation",
            "relative",
            "flag",
            "advice",
        ),
        tuple(
            (
                row.name,
                round(row.expected_ra, 6),
                round(row.expected_dec, 6),
                round(row.actual_ra, 6),
                round(row.actual_dec, 6),
                round(row.separation, 2),
                round(row.relative_separation, 2),
                "OFF" if row.flagged else "",
                row.advice,
            )
            for row in rows
        ),
        (
            f"{len(flagged)} of {len(rows)} frames are off by more than "
            f"{params.limit_arcsec:g} arcsec" + (f": {', '.join(flagged)}" if flagged else ""),
        ),
    )
    return Reported(list(frames), health=f"{len(flagged)} flagged", table=table)


class AdjustWCS(Params):
    """Parameters of ``adjustWCSToReference``."""

    method: Literal["sources", "offsets"] = Field(
        "sources", description="align by matched sources, or by the telescope offsets alone"
    )
    reference: Literal["all", "first"] = Field(
        "all",
        description="sources are matched with the mean positions in all frames, or with those in "
        "the first frame alone; its grid is kept either way",
    )
    fallback: Literal["offsets", "none"] = Field(
        "offsets", description="what a frame with too few matches gets; none stops the run"
    )
    first_pass: float = Field(5.0, gt=0, description="search radius [arcsec]")
    match_radius: float = Field(0.5, gt=0, description="radius of the final matches [arcsec]")
    min_sources: int = Field(3, ge=1, description="fewest matches of a good solution")
    rotate: bool = Field(False, description="fit a rotation as well")
    scale: bool = Field(False, description="fit a magnification as well")


@group("adjustWCSToReference", suffix="_wcsCorrected", stamps=("CORRWCS",), takes="several")
def adjust_wcs_to_reference(frames: Sequence[Frame], params: AdjustWCS) -> Reported:
    """Correct each frame's world coordinates so that the sources of all frames agree.

    Parameters
    ----------
    frames : sequence of Frame
        With source tables, unless `method` is ``offsets``. The first keeps its coordinates.
    params : AdjustWCS

    Raises
    ------
    TooFewFrames
        Fewer than two frames.
    TooFewSources
        Too few sources in common and `fallback` is ``none``.

    References
    ----------
    Spec: primitives 10.1. The shift is found by voting of source pairs and finished by a weighted,
    robust least-squares fit; a solution at the edge of the search is refused. Departure: frames are
    fitted to the mean positions of the sources in all frames (`algorithms.joint`), so that a poor
    first frame spoils no other; with ``reference: first`` to those of the first.
    """
    if len(frames) < 2:
        raise TooFewFrames(
            f"adjustWCSToReference got {len(frames)} frame",
            "frames are aligned with each other",
            "list at least two frames",
        )
    solutions: list[_Solution | None] = [None] * len(frames)
    if params.method == "sources":
        solve = _to_all if params.reference == "all" else _to_first
        solutions = solve(frames, params)
    made, notes, residuals, matches = [], [], [], []
    alone = params.reference == "all" and solutions[0] is None
    for frame, solution in zip(frames, solutions, strict=True):
        if solution is None:
            first = frame is frames[0]
            wcs = frame.wcs if first else _by_offsets(frame, frames[0])
            cards = {**_corrected(frame, wcs), "ALIGNBY": "reference" if first else "offsets"}
            made.append(frame.with_wcs(wcs).with_cards(phu={**cards, **_NO_MATCH}))
            # A first frame that is alone among aligned ones is named; among lost ones they are.
            if params.method == "sources" and (not first or (alone and any(solutions))):
                notes.append(_left_out(frame, frames[0], params))
            continue
        affine = solution.affine
        wcs = frame.wcs.with_affine_in_front(affine.matrix, affine.shift)
        if frame is frames[0]:
            wcs = frame.wcs
        cards = {
            **_corrected(frame, wcs),
            "ALIGNBY": "sources",
            "ALIGNRMS": (round(solution.rms_pix, 4), "Residual of matched sources [pix]"),
            "ALIGNNUM": (solution.n_matched, "Matched sources"),
        }
        made.append(frame.with_wcs(wcs).with_cards(phu=cards))
        residuals.append(solution.rms_pix)
        matches.append(solution.n_matched)
    health = "by offsets"
    if residuals:
        health = f"rms {float(np.median(residuals)):.3f} pix, {min(matches)}+ matches"
    return Reported(made, health=health, notes=tuple(notes))


_NO_MATCH: dict[str, Any] = {"ALIGNRMS": None, "ALIGNNUM": None}


def _corrected(frame: Frame, wcs: Tan) -> dict[str, Any]:
    """Return the cards of how far a frame's position has been corrected, by all passes so far."""
    y, x = ((n - 1) / 2 for n in frame.shape)
    moved = frame.wcs.to_pixel(*wcs.to_sky(x, y))
    cards = {}
    for key, axis, here, there in (("WCSDX", "x", x, moved[0]), ("WCSDY", "y", y, moved[1])):
        before = float(frame.phu.get(key, 0.0))
        text = f"Correction of the header position in {axis} [pix]"
        cards[key] = (round(before + float(there) - here, 4) + 0.0, text)
    return cards


class _Solution(NamedTuple):
    """Pixels of a frame -> its pixels corrected, and how well that is known."""

    affine: Affine
    n_matched: int
    rms_pix: float


def _left_out(frame: Frame, reference: Frame, params: AdjustWCS) -> str:
    others = reference.name if params.reference == "first" else "the other frames"
    what = f"adjustWCSToReference: {frame.name} has too few sources in common with {others} and is"
    if frame is reference:
        return f"{what} tied to them by telescope offsets"
    return f"{what} aligned by its telescope offsets"


def _too_few(frame: Frame, others: str, params: AdjustWCS) -> TooFewSources:
    return TooFewSources(
        f"{frame.name} and {others} have fewer than {params.min_sources} sources in common",
        "the frame cannot be aligned from its sources",
        "take it out of the list, raise first_pass, or allow `fallback: offsets`",
    )


def _to_first(frames: Sequence[Frame], params: AdjustWCS) -> list[_Solution | None]:
    """Match each frame with the first; None for the first itself and for frames without match."""
    reference = frames[0]
    positions = _positions(reference, params)
    solutions: list[_Solution | None] = [None]
    for frame in frames[1:]:
        here = _positions(frame, params)
        x, y = frame.wcs.to_pixel(*reference.wcs.to_sky(positions[0], positions[1]))
        scale = frame.wcs.pixel_scale()
        found = algorithms.match.align(
            *here,
            x,
            y,
            positions[2],
            first_pass_pix=params.first_pass / scale,
            match_radius_pix=params.match_radius / scale,
            min_sources=params.min_sources,
            rotate=params.rotate,
            scale=params.scale,
        )
        if found is None or not found.interior:  # the best shift may lie beyond the search
            if params.fallback == "none":
                raise _too_few(frame, reference.name, params)
            solutions.append(None)
        else:
            solutions.append(_Solution(found.affine, found.n_matched, found.rms_pix))
    return solutions


def _to_all(frames: Sequence[Frame], params: AdjustWCS) -> list[_Solution | None]:
    """Match frames with each other; None for those that are not tied to most others."""
    grid = frames[0].wcs
    lists, onto = [], []
    for frame in frames:
        x, y, error = _positions(frame, params)
        u, v = (x, y) if frame is frames[0] else grid.to_pixel(*frame.wcs.to_sky(x, y))
        lists.append(algorithms.joint.Sources(u, v, error))
        onto.append(affine_between(frame.wcs, grid, (frame.shape[0], frame.shape[1])))
    scale = grid.pixel_scale()
    joined = algorithms.joint.align_all(
        lists,
        first_pass_pix=params.first_pass / scale,
        match_radius_pix=params.match_radius / scale,
        min_sources=params.min_sources,
        rotate=params.rotate,
        scale=params.scale,
    )
    for frame, one in zip(frames, joined, strict=True):
        if one is None and params.fallback == "none":
            raise _too_few(frame, "the other frames", params)
    tie = Affine()
    if joined[0] is None and any(joined):
        tie = _tie(frames, [None if j is None else j.affine.after(o)
                            for j, o in zip(joined, onto, strict=True)])  # fmt: skip
    return [
        None
        if one is None
        else _Solution(
            there.inverse().after(tie).after(one.affine).after(there), one.n_matched, one.rms_pix
        )
        for one, there in zip(joined, onto, strict=True)
    ]


def _tie(frames: Sequence[Frame], maps: Sequence[Affine | None]) -> Affine:
    """Return the shift that puts aligned frames where their offsets from the first say, mostly."""
    shifts = []
    for frame, placed in zip(frames, maps, strict=True):
        if placed is None:
            continue
        centre = (frame.shape[1] / 2, frame.shape[0] / 2)
        wanted = frames[0].wcs.to_pixel(*_by_offsets(frame, frames[0]).to_sky(*centre))
        shifts.append(np.subtract(wanted, placed.apply(*centre)))
    x, y = np.median(shifts, axis=0)
    return Affine(shift=(float(x), float(y)))


def _positions(frame: Frame, params: AdjustWCS) -> tuple[Array, Array, Array]:
    """Return x, y (0-based) and position error (pix) of the frame's sources."""
    table = frame.objcat
    if table is None:
        raise FrameMismatch(
            f"adjustWCSToReference: {frame.name} has no source table",
            "frames are aligned by their sources",
            "run detectSources before, or use method: offsets",
        )
    error = np.sqrt(np.maximum(table["ERRX2_IMAGE"] + table["ERRY2_IMAGE"], 0) / 2)
    return table["X_IMAGE"] - 1.0, table["Y_IMAGE"] - 1.0, np.maximum(error, 1e-3)


def _by_offsets(frame: Frame, reference: Frame) -> Tan:
    """Return the reference's coordinates moved by the difference of telescope offsets."""
    names = ("detector_x_offset", "detector_y_offset")
    here = [frame.describe(name) for name in names]
    there = [reference.describe(name) for name in names]
    if None in here or None in there:
        raise FrameMismatch(
            f"{frame.name} or {reference.name} has no telescope offsets",
            "they stand in where sources are too few",
            "take the frame out of the list",
        )
    angles = [f.describe("position_angle") for f in (frame, reference)]
    if None not in angles and abs((angles[0] - angles[1] + 180) % 360 - 180) > 0.1:
        raise FrameMismatch(
            f"{frame.name} has position angle {angles[0]:g} deg, "
            f"{reference.name} {angles[1]:g} deg",
            "telescope offsets cannot stand in for sources across a rotation",
            "reduce frames of one position angle together",
        )
    shift = (there[0] - here[0], there[1] - here[1])
    return reference.wcs.with_affine_in_front(((1.0, 0.0), (0.0, 1.0)), shift)


class ResampleToCommonFrame(Params):
    """Parameters of ``resampleToCommonFrame``."""

    interpolant: Literal[
        "nearest", "linear", "poly3", "poly5", "spline3", "spline5", "lanczos3"
    ] = Field("poly3", description="interpolation kernel")
    trim_data: bool = Field(False, description="keep the size of the reference frame")
    conserve: bool = Field(True, description="conserve flux where the scale changes")
    dq_threshold: float = Field(
        0.1, gt=0, lt=1, description="share of flagged weight above which a pixel is flagged"
    )


@group("resampleToCommonFrame", suffix="_align", stamps=("ALIGN",), takes="several")
def resample_to_common_frame(
    frames: Sequence[Frame],
    params: ResampleToCommonFrame,
    *,
    engine: Engine = SERIAL,
    allows: frozenset[str] = frozenset(),
) -> Reported:
    """Put all frames on the pixel grid of the first, grown to hold all of them.

    The resampled pixels are computed when a later step asks for them, band by band; nothing is
    stored in between.

    Parameters
    ----------
    frames : sequence of Frame, shape (ny, nx)
        With aligned world coordinates.
    params : ResampleToCommonFrame
    allows : frozenset of str
        Checks set aside: ``no-overlap``.

    Raises
    ------
    TooFewFrames
        Fewer than two frames.
    FrameMismatch
        Some frames have no part of the sky in common with the others, directly or by way of
        frames between them.

    References
    ----------
    Spec: primitives 10.2. Departures: variance is propagated with squared weights, so that it is
    the variance of a pixel (VARRATIO says by how much white noise was lowered); flagged pixels are
    left out of the sums; the threshold for flags is a tenth of the weight instead of a thousandth.
    The coverage of a stack is that of the nearest pixel. ARRAYSEC and DETSEC are dropped, PIXSCALE
    is that of the grid (spec: primitives 12).
    """
    if len(frames) < 2:
        raise TooFewFrames(
            f"resampleToCommonFrame got {len(frames)} frame",
            "frames are put on a common grid",
            "list at least two frames",
        )
    grid = frames[0].wcs
    shape = (frames[0].shape[0], frames[0].shape[1])
    forward = [affine_between(f.wcs, grid, (f.shape[0], f.shape[1])) for f in frames]
    lonely = _apart(frames, forward)
    if lonely:
        _refuse_apart(lonely, frames[0], allows)
    x0, y0, nx, ny = 0, 0, shape[1], shape[0]
    if not params.trim_data:
        x0, y0, nx, ny = algorithms.resample.output_box(
            forward, [(f.shape[0], f.shape[1]) for f in frames]
        )
    wcs = grid.shifted_origin(x0, y0)
    origin = Affine(((1.0, 0.0), (0.0, 1.0)), (float(x0), float(y0)))
    scale = (wcs.pixel_scale(), "Pixel scale [arcsec/pixel]")
    made = []
    for frame, affine in zip(frames, forward, strict=True):
        inverse = affine.inverse().after(origin)
        ratio = algorithms.resample.noise_correlation(inverse, params.interpolant, (ny, nx))
        moved = _on_grid(engine.held(frame), inverse, (ny, nx), params)
        shift = affine.apply((shape[1] - 1) / 2, (shape[0] - 1) / 2)
        cards = {
            "VARRATIO": (ratio * variance_ratio(frame), "Variance / that of wide apertures"),
            "NOISECOR": None,
            "DATASEC": f"[1:{nx},1:{ny}]",
            "ARRAYSEC": None,  # the pixels are no longer those of the detector
            "DETSEC": None,
            "PIXSCALE": scale,
            "JFACTOR": (abs(inverse.determinant), "Area of an output pixel in input pixels"),
        }
        place = {
            "FRAMEDX": (
                round(float(shift[0]) - (shape[1] - 1) / 2, 4),
                "Centre on the grid, x [pix]",
            ),
            "FRAMEDY": (
                round(float(shift[1]) - (shape[0] - 1) / 2, 4),
                "Centre on the grid, y [pix]",
            ),
        }
        made.append(moved.with_wcs(wcs).with_cards({"PIXSCALE": scale, **place}, cards))
    if not lonely:
        return Reported(made, health=f"{nx} x {ny} pix")
    made = [f.with_cards(phu=record_cards(f.phu, (), ("no-overlap",))) for f in made]
    text = f"{', '.join(f.name for f in lonely)} and {frames[0].name} have no sky in common"
    note = str(Allowed("no-overlap", lonely[0].name, text))
    return Reported(made, health=f"{nx} x {ny} pix", notes=(note,))


def _apart(frames: Sequence[Frame], onto: Sequence[Affine]) -> list[Frame]:
    """Return the frames that no chain of overlapping frames ties to the first.

    Frames are taken for the boxes that hold them on the grid: for frames of one position angle
    that is what they are.
    """
    boxes = []
    for frame, affine in zip(frames, onto, strict=True):
        ny, nx = frame.shape
        x, y = affine.apply([0, nx - 1, 0, nx - 1], [0, 0, ny - 1, ny - 1])
        boxes.append((np.min(x), np.max(x), np.min(y), np.max(y)))
    tied, left = [0], set(range(1, len(frames)))
    while tied:
        a = boxes[tied.pop()]
        near = {
            n
            for n in left
            if boxes[n][0] < a[1]
            and a[0] < boxes[n][1]
            and boxes[n][2] < a[3]
            and a[2] < boxes[n][3]
        }
        left -= near
        tied += near
    return [frames[n] for n in sorted(left)]


def _refuse_apart(lonely: Sequence[Frame], first: Frame, allows: frozenset[str]) -> None:
    if "no-overlap" in allows:
        return
    raise FrameMismatch(
        f"{', '.join(f.name for f in lonely)}: no sky in common with {first.name}",
        "frames of separate fields do not add up to a deeper image",
        "stack each field for itself; to have them in one image all the same, say so: "
        "--allow no-overlap",
    )


@dataclass(frozen=True, slots=True)
class OnGrid(Computed):
    """Resampled planes; `fill` writes data, variance and mask of some rows into given arrays.

    It returns the coverage of these rows, None where the frame has none.
    """

    fill: Callable[[int, int, Planes], Array | None]


def _on_grid(
    frame: Frame, inverse: Affine, shape: tuple[int, int], params: ResampleToCommonFrame
) -> Frame:
    """Return the frame with pixels that are resampled when asked for."""
    ny, nx = shape

    @cache
    def given(objects: bool) -> algorithms.resample.Resampling:
        source = frame if objects else frame.with_(objmask=None)  # which may be packed
        planes = algorithms.resample.prefilter(
            algorithms.resample.Planes(*source.pixels.whole()[:4]), params.interpolant
        )
        return algorithms.resample.Resampling(
            planes, inverse, nx, params.interpolant, params.dq_threshold, params.conserve
        )

    def seen(start: int, stop: int) -> Array | None:
        plane = frame.coverage
        if plane is None:
            return None
        made: Array = algorithms.coverage.nearest_rows(plane, inverse, start, stop, nx)
        return made

    def rows(start: int, stop: int) -> Planes:
        return Planes(*given(True).rows(start, stop), seen(start, stop))

    def fill(start: int, stop: int, into: Planes) -> Array | None:
        assert into.mask is not None
        out = algorithms.resample.Resampled(into.data, into.variance, into.mask, None)
        given(False).rows(start, stop, out)
        return seen(start, stop)

    present = (frame.pixels.present - {"shared"}) | {"mask"}
    objcat = None if frame.objcat is None else _moved(frame.objcat, inverse.inverse())
    return replace(frame, pixels=OnGrid((ny, nx), present, rows, fill), objcat=objcat)


def _moved(objcat: Array, affine: Affine) -> Array:
    table = objcat.copy()
    x, y = affine.apply(table["X_IMAGE"] - 1.0, table["Y_IMAGE"] - 1.0)
    table["X_IMAGE"], table["Y_IMAGE"] = x + 1.0, y + 1.0
    return table
