"""The sky: which frames show it, and which serve which."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from f2yaml.interpreter.algorithms.tan import separation
from f2yaml.interpreter.errors import TooFewFrames
from f2yaml.interpreter.f2.times import ut_datetime
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.registry import Params, Reported, Streams, between_streams
from pydantic import Field


class SeparateSky(Params):
    """Parameters of ``separateSky``."""

    frac_FOV: float = Field(
        0.9, ge=0.3, le=1.0, description="share of the field within which two frames overlap"
    )
    ref_obj: str | None = Field(None, description="frames on the object (roots, comma-separated)")
    ref_sky: str | None = Field(None, description="frames on sky (roots, comma-separated)")


@between_streams(
    "separateSky",
    suffix="_skySeparated",
    stamps=("SEPSKY",),
    fills=("objects", "skies"),
    headers_only=True,
    takes="exposures",
)
def separate_sky(streams: Streams, params: SeparateSky) -> Reported:
    """Tell frames on the object from frames on sky, by hints and by overlap of their fields.

    Frames that show the target, within `frac_FOV` of a field, are one field, and frames of the rest
    that overlap. One field alone is both. Of two fields the one nearer the target is the object; of
    more, the field that holds the target, then the nearest until half of the frames are objects.

    Parameters
    ----------
    streams : ``from`` with the frames
    params : SeparateSky

    Returns
    -------
    streams ``objects`` and ``skies``
        In the order of the input; frames that are both are shared.

    Raises
    ------
    TooFewFrames
        A frame named in `ref_obj` or `ref_sky` is not in the stream, or a frame stays without role.

    References
    ----------
    Spec: primitives 8.1. Departures: header flags of an earlier run count only where they say
    TRUE; what shows the target is a field by itself, so that frames halfway cannot chain a sky to
    it; and with three or more fields the one that holds the target comes first.
    """
    frames = streams["from"]
    groups = _fields(frames, params.frac_FOV)
    objects, skies = _hinted(frames, params)
    for members in groups:
        if objects & set(members):
            objects |= set(members)
        if skies & set(members):
            skies |= set(members)
    skies |= {n for n, f in enumerate(frames) if _unguided(f) and n not in objects}
    everything = set(range(len(frames)))
    if objects and not skies:
        skies = (everything - objects) or set(objects)
    elif skies and not objects:
        objects = (everything - skies) or set(skies)
    elif not objects and not skies:
        objects, skies = _by_distance(frames, groups, params.frac_FOV)
    lost = everything - objects - skies
    if lost:
        names = ", ".join(frames[n].name for n in sorted(lost))
        raise TooFewFrames(
            f"separateSky: neither object nor sky: {names}",
            "the frames named in ref_obj and ref_sky are in other fields",
            "name a frame of each field, or take the frames out of the list",
        )
    field_of = {n: number for number, members in enumerate(groups) for n in members}
    marked = [
        frame.with_cards(
            phu={
                "EXPGROUP": (field_of[n], "Group of overlapping fields"),
                "OBJFRAME": "TRUE" if n in objects else None,
                "SKYFRAME": "TRUE" if n in skies else None,
            }
        )
        for n, frame in enumerate(frames)
    ]
    made = {
        "objects": [marked[n] for n in sorted(objects)],
        "skies": [marked[n] for n in sorted(skies)],
    }
    return Reported(made, health=f"{len(objects)} objects, {len(skies)} skies")


def _hinted(frames: Sequence[Frame], params: SeparateSky) -> tuple[set[int], set[int]]:
    """Return the frames that headers or the user call object and sky."""
    flagged = [
        {
            n
            for n, f in enumerate(frames)
            if str(f.phu.get(key, "")).strip().upper() in ("TRUE", "T")
        }
        for key in ("OBJFRAME", "SKYFRAME")
    ]
    if flagged[0] == flagged[1]:  # an on-target dither seen before: no information
        flagged = [set(), set()]
    for number, names in enumerate((params.ref_obj, params.ref_sky)):
        for name in [w.strip() for w in (names or "").split(",") if w.strip()]:
            match = next((n for n, f in enumerate(frames) if name in f.name), None)
            if match is None:
                raise TooFewFrames(
                    f"separateSky: no frame is called {name}",
                    "ref_obj and ref_sky name frames of the stream",
                    "check the name",
                )
            flagged[number].add(match)
            flagged[1 - number].discard(match)
    return flagged[0], flagged[1]


def _centre(frame: Frame) -> tuple[float, float]:
    ny, nx = frame.shape
    ra, dec = frame.wcs.to_sky(nx // 2, ny // 2)
    return float(ra), float(dec)


def _fields(frames: Sequence[Frame], share: float) -> list[list[int]]:
    """Group frames by field, in order of their first member.

    Those within reach of the target are one field. Of the rest, frames that overlap are (single
    linkage). Where none is within reach, the header's target says nothing, and all are linked.
    """
    if not frames:
        return []
    centres = np.array([_centre(f) for f in frames])
    target = _target(frames)
    apart = separation(centres[:, None, 0], centres[:, None, 1], centres[None, :, 0], centres[:, 1])
    reach = share * frames[0].shape[1] * frames[0].wcs.pixel_scale()
    held = separation(centres[:, 0], centres[:, 1], *target) < reach
    label = list(range(len(frames)))
    for i in range(len(frames)):
        for j in range(i):
            linked = bool(held[i] and held[j]) or (apart[i, j] < reach and held[i] == held[j])
            if linked and label[i] != label[j]:
                old, new = max(label[i], label[j]), min(label[i], label[j])
                label = [new if entry == old else entry for entry in label]
    return [[n for n, entry in enumerate(label) if entry == g] for g in sorted(set(label))]


def _target(frames: Sequence[Frame]) -> tuple[float, float]:
    """Return the target's place in deg by the first header, or else the centre of its field."""
    ra, dec = (frames[0].describe(name) for name in ("target_ra", "target_dec"))
    if ra is None or dec is None:
        return _centre(frames[0])
    return float(ra), float(dec)


def _unguided(frame: Frame) -> bool:
    keys = ("PWFS1_ST", "PWFS2_ST", "OIWFS_ST")
    return frame.describe("wavefront_sensor") is None and all(key in frame.phu for key in keys)


def _by_distance(
    frames: Sequence[Frame], groups: Sequence[Sequence[int]], share: float
) -> tuple[set[int], set[int]]:
    everything = set(range(len(frames)))
    if len(groups) < 2:
        return set(everything), set(everything)
    target = _target(frames)

    def away(members: Sequence[int]) -> float:
        centres = np.array([_centre(frames[n]) for n in members])
        ra, dec = np.median(centres, axis=0)
        return float(separation(ra, dec, *target))

    ordered = sorted(groups, key=away)
    objects = set(ordered[0])
    reach = share * frames[0].shape[1] * frames[0].wcs.pixel_scale()
    if len(groups) > 2 and away(ordered[0]) > reach:
        for members in ordered[1:]:
            if 2 * len(objects) >= len(frames):
                break
            objects |= set(members)
    return objects, (everything - objects) or set(objects)


class AssociateSky(Params):
    """Parameters of ``associateSky``."""

    time: float = Field(600.0, ge=0, description="largest gap between a frame and its sky [s]")
    distance: float = Field(3.0, ge=0, description="smallest dither between them [arcsec]")
    min_skies: int = Field(3, ge=0, description="skies to take even from beyond `time`")
    max_skies: int | None = Field(None, ge=1, description="skies to take at most")
    max_gap: float = Field(
        3600.0, gt=0, description="gap beyond which a sky is never taken, even for `min_skies` [s]"
    )
    bracket: bool = Field(
        False,
        description="with `max_skies`: as many skies before a frame as after it, where there are",
    )
    use_all: bool = Field(False, description="take every sky farther than `distance`")


@dataclass(frozen=True, slots=True)
class _Sky:
    root: str
    ra: float
    dec: float
    start: datetime
    exposure_time: float
    configuration: tuple[object, ...]


def _seen(frame: Frame) -> _Sky:
    ny, nx = frame.shape
    ra, dec = frame.wcs.to_sky(nx // 2 - 0.5, ny // 2 - 0.5)
    start = ut_datetime(frame.headers, strict=True)  # a date alone would mean midnight
    if start is None:
        raise TooFewFrames(
            f"associateSky: {frame.name} has no date and time",
            "skies are chosen by time",
            "give it DATE-OBS and UT, or take it out of the list",
        )
    names = ("read_mode", "coadds", "camera", "filter_name", "lyot_stop", "decker", "disperser")
    settings = tuple(frame.describe(name, pretty=True) for name in names)
    return _Sky(
        frame.root,
        float(ra),
        float(dec),
        start,
        frame.exposure_time,
        (frame.shape, *settings),
    )


@between_streams(
    "associateSky",
    suffix="_skyAssociated",
    stamps=("ASSOCSKY",),
    reads=("sky",),
    headers_only=True,
    takes="several",
)
def associate_sky(streams: Streams, params: AssociateSky) -> Reported:
    """Choose, for each frame, the sky frames taken near it in time and away from it on the sky.

    Parameters
    ----------
    streams : ``from`` with the frames to correct, ``sky`` with the candidates
    params : AssociateSky

    Raises
    ------
    TooFewFrames
        A frame has no sky at all.

    References
    ----------
    Spec: primitives 8.2. Departures: a frame without sky stops the run instead of leaving it
    silently; skies from more than an hour away (`max_gap`) are not used.
    """
    skies = [_seen(frame) for frame in streams["sky"]]
    made, beyond = [], []
    for frame in streams["from"]:
        here = _seen(frame)
        chosen, forced = _choose(here, skies, params)
        if not chosen:
            raise TooFewFrames(
                f"associateSky: {frame.name} has no sky frame",
                f"none of {len(skies)} frames of its configuration and exposure time is more than "
                f"{params.distance:g} arcsec away and taken within {params.max_gap:g} s",
                "take the frame out, add dithered frames, lower associateSky:distance, or raise "
                "associateSky:max_gap",
            )
        if forced:
            beyond.append(frame.name)
        made.append(replace(frame, skies=tuple(chosen)))
    counts = [len(frame.skies or ()) for frame in made]
    notes: tuple[str, ...] = ()
    if beyond:
        notes = (
            f"associateSky: {len(beyond)} frames use skies more than {params.time:g} s away, to "
            f"reach min_skies: {', '.join(beyond)}",
        )
    health = f"{min(counts)}-{max(counts)} skies a frame" if counts else ""
    return Reported({"to": made}, health=health, notes=notes)


def _alike(sky: _Sky, here: _Sky) -> bool:
    same_time = abs(sky.exposure_time - here.exposure_time) <= 0.01
    return same_time and sky.configuration == here.configuration


def _choose(here: _Sky, skies: Sequence[_Sky], params: AssociateSky) -> tuple[list[str], bool]:
    """Return the roots of the chosen skies in order of time, and whether any is beyond `time`."""
    far = [
        sky
        for sky in skies
        if separation(here.ra, here.dec, sky.ra, sky.dec) > params.distance
        and sky.root != here.root
        and (params.use_all or _alike(sky, here))
    ]
    gap = {sky.root: abs((sky.start - here.start).total_seconds()) for sky in far}
    nearest = sorted(far, key=lambda sky: (gap[sky.root], sky.start, sky.root))
    if not params.use_all:
        nearest = [sky for sky in nearest if gap[sky.root] <= params.max_gap]
        within = sum(gap[sky.root] <= params.time for sky in far)
        limit = len(far) if params.max_skies is None else params.max_skies
        nearest = nearest[: max(params.min_skies, within)]
        if params.bracket:
            nearest = _bracketing(here, nearest, limit)
        nearest = nearest[:limit]
    forced = not params.use_all and any(gap[sky.root] > params.time for sky in nearest)
    return [sky.root for sky in sorted(nearest, key=lambda s: (s.start, s.root))], forced


def _bracketing(here: _Sky, nearest: Sequence[_Sky], limit: int) -> list[_Sky]:
    """Return skies with `limit` of them in front that lie evenly before and after a frame."""
    before = [sky for sky in nearest if sky.start < here.start]
    after = [sky for sky in nearest if sky.start >= here.start]
    each = min(len(before), len(after), limit // 2)
    chosen = before[:each] + after[:each]
    return chosen + [sky for sky in nearest if sky not in chosen]
