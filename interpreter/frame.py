"""The frame: an exposure or a product with its planes, headers and tables; immutable."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from f2yaml.interpreter.algorithms.tan import Tan
from f2yaml.interpreter.cards import Card, Cards
from f2yaml.interpreter.errors import BadInput, FrameMismatch
from f2yaml.interpreter.f2.names import with_suffix
from f2yaml.interpreter.framerows import FrameRow
from f2yaml.interpreter.headers import Headers
from f2yaml.interpreter.packed import Packed
from f2yaml.interpreter.pixels import (
    PLANES,
    Array,
    InMemory,
    Overlay,
    Pixels,
    Planes,
    mapped,
    plane_of,
)
from f2yaml.interpreter.records import RunRecord
from f2yaml.interpreter.wcs import cards_of, tan_of

if TYPE_CHECKING:
    from astropy.io.fits import Header


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One step that made a frame: primitive, arguments as JSON, start and stop in UTC."""

    primitive: str
    args: str
    timestamp_start: str
    timestamp_stop: str


@dataclass(frozen=True, slots=True)
class ProvenanceRow:
    """One file that went into a frame: when, which, its MD5, and the step that took it in."""

    timestamp: str
    filename: str
    md5: str
    provenance_added_by: str


@dataclass(frozen=True, eq=False, kw_only=True)
class Frame:
    """An image with its planes.

    Parameters
    ----------
    name : str
        File name, which grows a suffix with each step.
    pixels : Pixels
        Source of the planes: data (float32), variance (float32), mask (uint16 DQ bits), objmask
        (uint8), shared (uint8, see `Planes`) and, of stacks, coverage (uint16, exposures used);
        shape (ny, nx), unit of `unit`.
    phu, sci : Header
        Primary header and header of the SCI extension. Never changed: `with_cards` copies.
    objcat : structured array, optional
        Sources, one row each (`f2yaml.interpreter.algorithms.detect.OBJCAT_DTYPE`).
    refcat : structured array, optional
        Stars of a reference catalogue (`f2yaml.interpreter.refcat.REFCAT_DTYPE`).
    skies : tuple of str, optional
        Roots of the frames that serve as its sky (DRAGONS' SKYTABLE).
    history, provenance : tuple
        Steps and files that made this frame.
    runs : tuple of RunRecord
        Runs before this one that made it.
    members : tuple of FrameRow
        The frames that a stack is made of.
    md5 : str
        Checksum of the file it was read from, empty for frames made here.
    """

    name: str
    pixels: Pixels
    phu: Header
    sci: Header
    objcat: Array | None = None
    refcat: Array | None = None
    skies: tuple[str, ...] | None = None
    history: tuple[HistoryRow, ...] = ()
    provenance: tuple[ProvenanceRow, ...] = ()
    runs: tuple[RunRecord, ...] = field(default=(), repr=False)
    members: tuple[FrameRow, ...] = field(default=(), repr=False)
    md5: str = field(default="", repr=False)

    # planes ---------------------------------------------------------------------------------
    @property
    def shape(self) -> tuple[int, ...]:
        """Shape (ny, nx) of every plane."""
        return self.pixels.shape

    @property
    def data(self) -> Array:
        """The science plane, complete and read-only."""
        data = plane_of(self.pixels, "data")
        assert data is not None
        return data

    @property
    def variance(self) -> Array | None:
        """The variance plane, or None."""
        return plane_of(self.pixels, "variance")

    @property
    def mask(self) -> Array | None:
        """The DQ plane, or None."""
        return plane_of(self.pixels, "mask")

    @property
    def objmask(self) -> Array | None:
        """The object mask (0 or 1), or None."""
        return plane_of(self.pixels, "objmask")

    @property
    def coverage(self) -> Array | None:
        """How many exposures each pixel of a stack is made of, or None."""
        return plane_of(self.pixels, "coverage")

    def has(self, plane: str) -> bool:
        """Whether the frame has a plane of this name."""
        return plane in self.pixels.present

    # headers --------------------------------------------------------------------------------
    @property
    def headers(self) -> Headers:
        """Both headers, as descriptors and tags want them."""
        return Headers(self.phu, self.sci, self.name)

    @cached_property
    def tags(self) -> frozenset[str]:
        """The AstroData tags of the frame."""
        from f2yaml.interpreter.f2.tags import tags_of

        return tags_of(self.phu)

    def describe(self, descriptor: str, *, pretty: bool = False) -> Any:
        """Return the value of a descriptor."""
        from f2yaml.interpreter.f2.descriptors import describe

        return describe(descriptor, self.headers, pretty=pretty)

    @property
    def unit(self) -> str:
        """Unit of the pixels: ``adu`` or ``electron``."""
        return str(self.sci.get("BUNIT", "adu")).strip().lower()

    @property
    def exposure_time(self) -> float:
        """Exposure time in s.

        Raises
        ------
        BadInput
            The header does not give it.
        """
        value = self.describe("exposure_time")
        if value is None:
            raise BadInput(
                f"{self.name} has no usable EXPTIME",
                "exposure times decide which dark fits and how frames are scaled",
                "take the frame out of the list, or give it the keyword",
            )
        return float(value)

    @property
    def root(self) -> str:
        """Stem of the original file name: what identifies an exposure through a run."""
        return PurePath(str(self.phu.get("ORIGNAME", self.name))).name.split(".")[0]

    @cached_property
    def wcs(self) -> Tan:
        """World coordinates of the pixels."""
        return tan_of(self.sci, self.name)

    # changed copies --------------------------------------------------------------------------
    def with_(self, **changes: Any) -> Frame:
        """Return a frame with other planes or attributes.

        Planes are data, variance, mask, objmask, coverage and shared. One given as None is
        dropped; those not named stay as they are.
        """
        planes: dict[str, Any] = {n: changes.pop(n) for n in PLANES if n in changes}
        if planes.get("objmask") is not None:
            planes["objmask"] = Packed(planes["objmask"])
        for plane in planes.values():
            if isinstance(plane, np.ndarray):
                plane.flags.writeable = False
        if planes:
            base, over = self.pixels, planes
            if isinstance(self.pixels, Overlay):
                base, over = self.pixels.base, {**self.pixels.planes, **planes}
            measured = {n: p for n, p in over.items() if n != "objmask"}
            if "data" in measured and not (base.present - over.keys()):
                base = InMemory(Planes(**measured))
                over = {n: p for n, p in over.items() if n == "objmask"}
            elif measured and isinstance(base, InMemory):
                base = InMemory(base.planes._replace(**measured))
                over = {n: p for n, p in over.items() if n == "objmask"}
            changes["pixels"] = Overlay(base, over) if over else base
        return replace(self, **changes)

    def map_rows(
        self, function: Callable[[Planes, int, int], Planes], *, adds: Iterable[str] = ()
    ) -> Frame:
        """Return a frame whose rows are `function` (planes, start, stop) of this one's.

        Nothing is computed until rows are asked for, so that a chain of such steps is one pass
        over the pixels. `function` treats each row by itself; `adds` names planes it creates.
        """
        present = self.pixels.present | frozenset(adds)
        return replace(self, pixels=mapped(self.pixels, function, present))

    def with_planes(self, planes: Planes) -> Frame:
        """Return a frame with exactly these planes."""
        return replace(self, pixels=InMemory(planes.freeze()))

    def with_cards(
        self, phu: Mapping[str, Card] | None = None, sci: Mapping[str, Card] | None = None
    ) -> Frame:
        """Return a frame with these cards set; a value of None removes the card."""
        return replace(
            self, phu=_with_cards(self.phu, phu or {}), sci=_with_cards(self.sci, sci or {})
        )

    def with_wcs(self, wcs: Tan) -> Frame:
        """Return a frame whose header holds these world coordinates."""
        return self.with_cards(sci=cards_of(wcs))

    def with_suffix(self, suffix: str) -> Frame:
        """Return a frame whose name ends in `suffix`."""
        if not suffix:
            return self
        return replace(self, name=with_suffix(self.name, self.root, suffix))


def _with_cards(header: Header, cards: Mapping[str, Card]) -> Header:
    # Reads like a header, which is all that anyone does with those of a frame.
    return Cards(header, cards) if cards else header


def joint_provenance(frames: Iterable[Frame]) -> tuple[ProvenanceRow, ...]:
    """Return the files that went into any of the frames, each once, in order of appearance."""
    first: dict[tuple[str, str], ProvenanceRow] = {}
    for frame in frames:
        for row in frame.provenance:
            first.setdefault((row.filename, row.md5), row)
    return tuple(first.values())


def require_same(frame: Frame, other: Frame, *attributes: str, step: str) -> None:
    """Raise `FrameMismatch` unless both frames agree in each attribute or descriptor.

    Parameters
    ----------
    frame, other : Frame
    *attributes : str
        ``shape``, ``unit``, or the name of a descriptor (compared in pretty form).
    step : str
        Name of the step that combines them, for the message.
    """
    for name in attributes:
        if name in ("shape", "unit"):
            left, right = getattr(frame, name), getattr(other, name)
        else:
            left, right = frame.describe(name, pretty=True), other.describe(name, pretty=True)
        if left != right:
            raise FrameMismatch(
                f"{step}: {name} of {frame.name} is {left}, of {other.name} {right}",
                "both are combined pixel by pixel",
                "take frames of one kind, or give a matching calibration",
            )
