"""Positions on the sky: reference catalogues, and world coordinates fitted to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from f2yaml.interpreter import algorithms
from f2yaml.interpreter.algorithms.catalog import MISSING, fill_world
from f2yaml.interpreter.algorithms.tan import Tan
from f2yaml.interpreter.cards import Card
from f2yaml.interpreter.errors import FrameMismatch, TooFewSources
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import Array
from f2yaml.interpreter.refcat import REFCAT_DTYPE, Catalogue
from f2yaml.interpreter.registry import Params, Reported, Table, group
from pydantic import Field


class AddReferenceCatalog(Params):
    """Parameters of ``addReferenceCatalog``."""

    source: str | None = Field(
        None, min_length=1, description="catalogue of stars (FITS, ECSV or CSV file)"
    )
    magnitude: str | None = Field(
        None, description="column of magnitudes; null: that of the filter, or of its band"
    )
    radius: float | None = Field(
        None,
        gt=0,
        description="stars to keep around the centre of a frame [deg]; null: the frame and "
        "30 arcsec around it",
    )


def check_source(frames: Sequence[Frame], params: AddReferenceCatalog) -> list[str]:
    """Say what a run without a catalogue does not give."""
    if params.source is not None:
        return []
    return [
        "addReferenceCatalog: no catalogue is given, so positions stay the telescope's and no zero "
        "point is measured"
    ]


@group("addReferenceCatalog", suffix="_refcatAdded", stamps=("ADDRECAT",), check=check_source)
def add_reference_catalog(
    frames: Sequence[Frame], params: AddReferenceCatalog, *, refcat: Catalogue | None = None
) -> Reported:
    """Attach the stars of a catalogue that lie on each frame, as REFCAT.

    Parameters
    ----------
    frames : sequence of Frame
        With world coordinates good to 30 arcsec.
    params : AddReferenceCatalog
    refcat : Catalogue, optional
        The file that `source` names; without one the frames stay as they are.

    Raises
    ------
    RequestError
        The catalogue has no magnitudes for a filter.

    References
    ----------
    Spec: primitives 13. The catalogue is a local file: nothing is fetched. All stars are used in
    every mode (DRAGONS takes the brightest 100 outside sq). Magnitudes are taken as they are; a
    filter of another band than the catalogue's is named in a note.
    """
    if refcat is None:
        return Reported(list(frames), health="no catalogue")
    made, notes = [], []
    for frame in frames:
        stars = refcat.on_frame(frame, column=params.magnitude, radius_deg=params.radius)
        if not len(stars):
            notes.append(f"addReferenceCatalog: no star of {refcat.name} lies on {frame.name}")
        made.append(frame.with_(refcat=stars))
    for name in dict.fromkeys(str(f.describe("filter_name", pretty=True)) for f in frames):
        magnitudes = refcat.magnitudes(name, params.magnitude)
        if not magnitudes.own:
            notes.append(
                f"addReferenceCatalog: {name} is compared with {magnitudes.column} of "
                f"{refcat.name}, without a colour term"
            )
    counts = [len(frame.refcat) for frame in made if frame.refcat is not None]
    return Reported(made, health=f"{min(counts, default=0)}+ stars a frame", notes=tuple(notes))


class AstrometricSolution(Params):
    """Parameters of ``determineAstrometricSolution``."""

    initial: float = Field(5.0, gt=0, description="search radius [arcsec]")
    final: float = Field(1.0, gt=0, description="radius of the final matches [arcsec]")
    rotate: bool = Field(False, description="fit a rotation as well")
    scale: bool = Field(False, description="fit a magnification as well")
    min_sources: int = Field(3, ge=1, description="fewest matches of a good solution")
    fallback: Literal["header", "none"] = Field(
        "none",
        description="what a frame without a solution gets: header leaves its coordinates as they "
        "are, none stops the run",
    )


@group("determineAstrometricSolution", suffix="_astrometryCorrected", stamps=("ASTRMTRY",))
def determine_astrometric_solution(
    frames: Sequence[Frame], params: AstrometricSolution
) -> Reported:
    """Correct each frame's world coordinates so that its sources agree with the catalogue's.

    Parameters
    ----------
    frames : sequence of Frame
        With OBJCAT and REFCAT.
    params : AstrometricSolution

    Returns
    -------
    frames
        With corrected coordinates, also in OBJCAT; matched sources have REF_NUMBER, REF_MAG and
        REF_MAG_ERR. Without a solution no source is matched, since any match would be chance.

    Raises
    ------
    FrameMismatch
        A frame has no source table or no reference catalogue.
    TooFewSources
        A frame has no solution and `fallback` is ``none``.

    References
    ----------
    Spec: primitives 13 and 10.1: a vote of pairs, then weighted least squares, in pixels of the
    frame. The scatters in right ascension and in declination are each their own; proper motions
    are not applied.
    """
    made: list[Frame] = []
    rows: list[tuple[Any, ...]] = []
    notes = []
    for frame in frames:
        fit = _fit(frame, params)
        if fit is None:
            if params.fallback == "none":
                raise TooFewSources(
                    f"{frame.name} has fewer than {params.min_sources} sources in common with its "
                    "reference catalogue, or no more than chance gives",
                    "its place on the sky cannot be measured",
                    "raise `initial`, check the catalogue, or allow `fallback: header`",
                )
            notes.append(
                f"determineAstrometricSolution: {frame.name} has no solution and keeps the "
                "coordinates of its header"
            )
            made.append(_unmatched(frame))
            rows.append((label(frame), 0, None, None, None, None))
            continue
        made.append(fit.frame)
        rows.append((label(frame), fit.n, *(round(v, 3) for v in (*fit.shift, *fit.scatter))))
    solved = [row for row in rows if row[2] is not None]
    health = "no solution"
    if solved:
        ra, dec = (float(np.median([row[n] for row in solved])) for n in (4, 5))
        health = f"rms {ra:.3f}, {dec:.3f} arcsec"
    table = Table(
        "Positions against the reference catalogue (arcsec)",
        ("frame", "stars", "moved_east", "moved_north", "scatter_ra", "scatter_dec"),
        tuple(rows),
    )
    return Reported(made, health=health, notes=tuple(notes), table=table)


def label(frame: Frame) -> str:
    """Return what a frame is called in tables: its exposure, and of how many it is the stack."""
    count = frame.phu.get("NCOMBINE")
    return frame.root if count is None else f"{frame.root} (stack of {count})"


def need_objcat(frame: Frame, step: str) -> Array:
    """Return the source table of a frame; raise `FrameMismatch` if it has none."""
    if frame.objcat is None:
        raise FrameMismatch(
            f"{step}: {frame.name} has no source table",
            "its sources are what is measured",
            "run detectSources before",
        )
    return frame.objcat


@dataclass(frozen=True, slots=True)
class _Fit:
    """A frame with its solution: stars, shift and scatter (east, north) in arcsec."""

    frame: Frame
    n: int
    shift: tuple[float, float]
    scatter: tuple[float, float]


def _fit(frame: Frame, params: AstrometricSolution) -> _Fit | None:
    sources = need_objcat(frame, "determineAstrometricSolution")
    stars = frame.refcat
    if stars is None or not set(REFCAT_DTYPE.names or ()) <= set(stars.dtype.names or ()):
        raise FrameMismatch(
            f"determineAstrometricSolution: {frame.name} has no reference catalogue",
            "its sources are matched with those of a catalogue",
            "run addReferenceCatalog before",
        )
    x, y = sources["X_IMAGE"] - 1.0, sources["Y_IMAGE"] - 1.0
    x_ref, y_ref = frame.wcs.to_pixel(stars["RAJ2000"], stars["DEJ2000"])
    known = stars["filtermag"] > MISSING / 2
    scale = frame.wcs.pixel_scale()
    error = np.sqrt(np.maximum(sources["ERRX2_IMAGE"] + sources["ERRY2_IMAGE"], 0) / 2)
    found = algorithms.match.align(
        x,
        y,
        error,
        x_ref,
        y_ref,
        None,
        first_pass_pix=params.initial / scale,
        match_radius_pix=params.final / scale,
        min_sources=params.min_sources,
        rotate=params.rotate,
        scale=params.scale,
        flux=sources["FLUX_AUTO"],
        flux_ref=np.where(known, -stars["filtermag"], -np.inf),  # only its order counts
    )
    if found is None or not found.interior:
        return None
    wcs = frame.wcs.with_affine_in_front(found.matrix, found.shift)
    u, v = wcs.to_pixel(stars["RAJ2000"], stars["DEJ2000"])
    i, j = algorithms.match.match_pairs(x, y, u, v, radius_pix=params.final / scale)
    catalogue = _matched(sources, i, stars[j], wcs)
    east, north = _residuals(wcs, catalogue[i], stars[j])
    scatter = (_scatter(east), _scatter(north))
    middle = ((frame.shape[1] - 1) / 2, (frame.shape[0] - 1) / 2)
    moved = _offset(wcs.to_sky(*middle), frame.wcs.to_sky(*middle))
    cards: dict[str, Card] = {
        "ASTRMNUM": (len(i), "Stars matched with the reference catalogue"),
        "ASTRMSRA": (round(scatter[0], 4), "Scatter in RA [arcsec]"),
        "ASTRMSDE": (round(scatter[1], 4), "Scatter in Dec [arcsec]"),
    }
    made = frame.with_(objcat=catalogue).with_wcs(wcs).with_cards(phu=cards)
    return _Fit(made, len(i), moved, scatter)


def _matched(sources: Array, i: Array, stars: Array, wcs: Tan) -> Array:
    """Return the source table with the stars of rows `i` and positions by `wcs`."""
    table = sources.copy()
    for name in ("REF_NUMBER", "REF_MAG", "REF_MAG_ERR"):
        table[name] = MISSING
    table["REF_NUMBER"][i] = stars["Id"]
    table["REF_MAG"][i], table["REF_MAG_ERR"][i] = stars["filtermag"], stars["filtermag_err"]
    fill_world(table, wcs)
    return table


def _unmatched(frame: Frame) -> Frame:
    sources = need_objcat(frame, "determineAstrometricSolution")
    nothing = np.zeros(0, np.intp)
    return frame.with_(
        objcat=_matched(sources, nothing, np.zeros(0, REFCAT_DTYPE), frame.wcs)
    ).with_cards(phu=dict.fromkeys(("ASTRMNUM", "ASTRMSRA", "ASTRMSDE")))


def _residuals(wcs: Tan, sources: Array, stars: Array) -> tuple[Array, Array]:
    """Return by how much sources lie east and north of their stars, arcsec."""
    cosine = np.cos(np.radians(stars["DEJ2000"]))
    apart = np.mod(sources["X_WORLD"] - stars["RAJ2000"] + 180.0, 360.0) - 180.0
    return apart * cosine * 3600.0, (sources["Y_WORLD"] - stars["DEJ2000"]) * 3600.0


def _offset(to: tuple[Array, Array], since: tuple[Array, Array]) -> tuple[float, float]:
    apart = float(np.mod(to[0] - since[0] + 180.0, 360.0) - 180.0)
    east = apart * float(np.cos(np.radians(since[1]))) * 3600.0
    return east, float(to[1] - since[1]) * 3600.0


def _scatter(values: Array) -> float:
    """Return the standard deviation about zero; a mismatch beyond 3.5 of the typical is left out.

    The fit left no mean. The typical size is that of the median, so that one chance neighbour
    within the radius of the matches does not decide.
    """
    typical = 1.4826 * float(np.median(np.abs(values))) if values.size else 0.0
    kept = values[np.abs(values) <= 3.5 * typical] if typical > 0 else values
    return float(np.sqrt(np.mean(kept**2))) if kept.size else 0.0
