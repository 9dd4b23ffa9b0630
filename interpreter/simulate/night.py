"""Write the frames of a scenario and the truth about them."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io.fits import Header
from f2yaml.interpreter.errors import OutputError, RequestError
from f2yaml.interpreter.f2.detector import READ_MODES
from f2yaml.interpreter.simulate.detector import Maps, expose, make_maps
from f2yaml.interpreter.simulate.field import (
    Sources,
    axis_angle,
    catalogue,
    extended_places,
    project,
    render,
    render_extended,
)
from f2yaml.interpreter.simulate.headers import check_visible, extension_header, primary_header
from f2yaml.interpreter.simulate.optics import SCALE_ARCSEC, pointing_offset, shifted
from f2yaml.interpreter.simulate.output import make_folder, write_parts, written
from f2yaml.interpreter.simulate.plan import FramePlan, generator, plan_frames
from f2yaml.interpreter.simulate.sky import sky_level, sky_pattern
from f2yaml.schema.scenario import Scenario

TRUTH_TABLE: Final = "truth.json"
TRUTH_ARRAYS: Final = "truth.npz"
_BLOCK: Final = 2880


@dataclass(frozen=True, slots=True)
class _Stage:
    """What every frame of a night shares."""

    scenario: Scenario
    sources: Sources
    maps: Maps
    out: Path


def simulate(
    scenario: Scenario,
    out: Path,
    *,
    jobs: int = 1,
    overwrite: bool = False,
    progress: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write a night of raw F2 frames, and the truth about it beside them.

    Every random number follows from the seed and the name of the frame, so the files are the
    same bytes for any number of jobs.

    Parameters
    ----------
    scenario : Scenario
    out : Path
        Folder to write to; it is made if it does not exist.
    jobs : int
        Number of processes.
    overwrite : bool
        Replace files that exist; otherwise their presence is an error and nothing is written.
    progress : callable, optional
        Called with the name of each frame once it is written.

    Returns
    -------
    list of Path
        Raw frames in the order science, darks, flats; then ``truth.json`` and ``truth.npz``.

    Raises
    ------
    OutputError
        The folder or a file cannot be written, files exist, or there is too little space.
    RequestError
        `jobs` is below 1, or the target is not up.
    """
    if jobs < 1:
        raise RequestError(
            f"{jobs} jobs were asked for", "at least one process is needed", "give --jobs 1 or more"
        )
    frames = planned(scenario)
    targets = [out / f"{frame.name}.fits" for frame in frames]
    truth = [out / TRUTH_TABLE, out / TRUTH_ARRAYS]
    _prepare(out, [*targets, *truth], len(frames), scenario, overwrite)
    cosmic: dict[str, npt.NDArray[Any]] = {}
    stage = _write_frames(scenario, out, frames, jobs, cosmic, progress)
    write_parts(truth[0], [_truth_table(stage, frames, cosmic)])
    _write_arrays(truth[1], stage.maps, {f.name: cosmic[f.name] for f in frames})
    return [*targets, *truth]


def planned(scenario: Scenario) -> list[FramePlan]:
    """Return the frames of a scenario, having checked that each can be taken.

    Raises
    ------
    RequestError
        The target is below the telescope's limit.
    """
    frames = plan_frames(scenario)
    for frame in frames:
        if frame.kind == "science":
            check_visible(frame, scenario)
    return frames


def _set_stage(scenario: Scenario, out: Path) -> _Stage:
    sources = catalogue(scenario, plan_frames(scenario))
    return _Stage(scenario, sources, make_maps(scenario.detector, scenario.seed), out)


def _prepare(
    out: Path, targets: list[Path], count: int, scenario: Scenario, overwrite: bool
) -> None:
    """Make the folder; refuse before anything is written what would fail after it."""
    make_folder(out)
    present = [path.name for path in targets if path.exists()]
    if present and not overwrite:
        more = f" and {len(present) - 1} more" if len(present) > 1 else ""
        raise OutputError(
            f"{present[0]}{more} already in {out}",
            "files that exist are not replaced unless you say so",
            "give --overwrite, or another folder with --out",
        )
    pixels = scenario.detector.nx * scenario.detector.ny
    need = count * (4 * pixels + 10 * _BLOCK) + 15 * pixels
    if not present and shutil.disk_usage(out).free < need:
        raise OutputError(
            f"{out} has too little space: {need / 1e6:.0f} MB are needed",
            f"the night has {count} frames",
            "free some space, or choose another folder with --out",
        )


#: What the frames share, in a process of the pool.
_stage: _Stage | None = None


def _start_worker(scenario: Scenario, out: Path) -> None:
    global _stage
    _stage = _set_stage(scenario, out)


def _work(frame: FramePlan) -> npt.NDArray[Any]:
    assert _stage is not None, "the pool starts every worker with _start_worker"
    return _write_frame(_stage, frame)


def _write_frames(
    scenario: Scenario,
    out: Path,
    frames: list[FramePlan],
    jobs: int,
    cosmic: dict[str, npt.NDArray[Any]],
    progress: Callable[[str], None] | None,
) -> _Stage:
    """Write the frames and fill `cosmic` with the cosmic rays of each; return what they share."""

    def note(frame: FramePlan, hits: npt.NDArray[Any]) -> None:
        cosmic[frame.name] = hits
        if progress is not None:
            progress(frame.name)

    if min(jobs, len(frames)) == 1:
        stage = _set_stage(scenario, out)
        for frame in frames:
            note(frame, _write_frame(stage, frame))
        return stage
    # Not fork: the caller may have threads. Workers make the maps anew, which is faster than
    # sending them; this process makes its own while they work.
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    pool = ProcessPoolExecutor(
        min(jobs, len(frames)),
        multiprocessing.get_context(method),
        initializer=_start_worker,
        initargs=(scenario, out),
    )
    try:
        running = {pool.submit(_work, frame): frame for frame in frames}
        stage = _set_stage(scenario, out)
        for done in as_completed(running):
            note(running[done], done.result())
    finally:
        pool.shutdown(cancel_futures=True)
    return stage


def _write_frame(stage: _Stage, frame: FramePlan) -> npt.NDArray[Any]:
    """Write one raw file; return the pixels that cosmic rays hit in it."""
    counts, cosmic = raw_counts(stage.scenario, frame, stage.sources, stage.maps)
    extension = _header_bytes(extension_header(frame, stage.scenario))
    data = counts.astype(">i4")
    padding = bytes(-data.nbytes % _BLOCK)
    primary = _header_bytes(primary_header(frame, stage.scenario))
    write_parts(stage.out / f"{frame.name}.fits", [primary, extension, data, padding])
    return cosmic


def raw_counts(
    scenario: Scenario, frame: FramePlan, sources: Sources, maps: Maps
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return the raw counts (int32, adu, shape (ny, nx)) and the cosmic-ray hits of a frame."""
    if frame.kind == "science":
        light = sky_pattern(scenario, frame.mid_s)
        light *= np.float32(sky_level(scenario, frame.mid_s))
        light += render(sources, frame, scenario)
        if scenario.target.extended:
            light += render_extended(frame, scenario)
        light += np.float32(scenario.sky.thermal_e_s)
        light *= maps.response
    else:
        light = maps.response * np.float32(frame.lamp_e_s)
    rng = generator(scenario.seed, "noise", frame.name)
    return expose(light, frame.exposure_s, maps, scenario.detector, rng)


def _header_bytes(header: Header) -> bytes:
    text: str = header.tostring()
    return text.encode("ascii")


def _write_arrays(path: Path, maps: Maps, cosmic: dict[str, npt.NDArray[Any]]) -> None:
    arrays: dict[str, Any] = {
        "response": maps.response,
        "dark": maps.dark,
        "pedestal": maps.pedestal,
        "hot": maps.hot,
        "dead": maps.dead,
        "illuminated": maps.illuminated,
    }
    arrays |= {f"cosmic_{name}": hits for name, hits in cosmic.items()}
    with written(path) as file:
        np.savez(file, **arrays)


def _truth_table(
    stage: _Stage, frames: list[FramePlan], cosmic: dict[str, npt.NDArray[Any]]
) -> bytes:
    """Return truth.json: sources, detector figures, and one entry per frame.

    `ra`, `dec` in deg; `kind` 0 star, 1 galaxy; `flux` in electron/s at `zp`, before transparency
    and response. Per frame `dx`, `dy` is the position of the first source, pixels from 0;
    `header_error` is header minus true pointing (East, North) in arcsec. `extended` holds the
    galaxies that fill part of the field: `length_pix` along the long axis, `angle` to the x axis.
    """
    scenario, sources = stage.scenario, stage.sources
    mode = READ_MODES[scenario.detector.lnrs]
    science = [frame for frame in frames if frame.kind == "science"]
    table: dict[str, Any] = {
        "case": scenario.name,
        "doc": scenario.doc,
        "seed": scenario.seed,
        "gain": mode.gain,
        "rn": mode.read_noise_e,
        "frames": [_science_truth(stage, frame, len(cosmic[frame.name])) for frame in science],
        "calibrations": [
            {
                "name": frame.name,
                "kind": frame.kind,
                "exptime": frame.exposure_s,
                "lamp": frame.lamp_e_s,
                "cosmic_pixels": len(cosmic[frame.name]),
            }
            for frame in frames
            if frame.kind != "science"
        ],
        "ra": sources.ra.tolist(),
        "dec": sources.dec.tolist(),
        "mag": sources.mag.tolist(),
        "kind": sources.kind.tolist(),
    }
    if science:
        table["exptime"], table["zp"] = science[0].exposure_s, science[0].zeropoint
        table["flux"] = sources.flux(science[0].zeropoint).tolist()
        table["extended"] = _extended_truth(scenario, science[0].zeropoint)
    return json.dumps(table, indent=1).encode() + b"\n"


def _extended_truth(scenario: Scenario, zeropoint: float) -> list[dict[str, float]]:
    target = scenario.target
    return [
        {
            "ra": ra,
            "dec": dec,
            "mag": one.mag,
            "flux": 10.0 ** (-0.4 * (one.mag - zeropoint)),
            "length_pix": one.length_arcsec / SCALE_ARCSEC,
            "ratio": one.ratio,
            "angle": axis_angle(one.angle_deg, target.pa_deg),
        }
        for one, (ra, dec) in zip(target.extended, extended_places(scenario), strict=True)
    ]


def _science_truth(stage: _Stage, frame: FramePlan, hits: int) -> dict[str, Any]:
    scenario, target = stage.scenario, stage.scenario.target
    east, north = pointing_offset(frame.p, frame.q, target.pa_deg, target.inport)
    ra, dec = shifted(target.ra_deg, target.dec_deg, east, north)
    cos = np.cos(np.radians(target.dec_deg))

    def apart(to: tuple[float, float], origin: tuple[float, float]) -> list[float]:
        turn = (to[0] - origin[0] + 180.0) % 360.0 - 180.0
        return [float(turn * cos * 3600.0), (to[1] - origin[1]) * 3600.0]

    true = (frame.ra0, frame.dec0)
    truth: dict[str, Any] = {
        "name": frame.name,
        "exptime": frame.exposure_s,
        "filter": frame.filter,
        "zp": frame.zeropoint,
        "p": frame.p,
        "q": frame.q,
        "ra0": frame.ra0,
        "dec0": frame.dec0,
        "pointing_error": apart(true, (ra, dec)),
        "header_error": apart(frame.crval, true),
        "trans": frame.transparency,
        "fwhm": frame.fwhm_pix,
        "sky": sky_level(scenario, frame.mid_s) + scenario.sky.thermal_e_s,
        "cosmic_pixels": hits,
    }
    if len(stage.sources.ra):
        x, y = project(stage.sources.ra[:1], stage.sources.dec[:1], frame, scenario)
        truth |= {"dx": float(x[0]), "dy": float(y[0])}
    return truth
