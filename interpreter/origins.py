"""Where the lazy pixels and headers of a run come from, so that they can be made again.

A chain of row functions has no form that could be written down. But the per-frame steps that
made it, done again on the same input, make it again, and cost next to nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import Chain, OnDisk, Overlay, Pixels
from f2yaml.interpreter.sources import Unread


@dataclass(frozen=True, slots=True)
class Origin:
    """An input, by its root, and the steps done on it, by their places in the plan.

    Without `opened`, its file has not been looked into yet, but for headers.
    """

    root: str
    steps: tuple[int, ...] = ()
    opened: bool = True


@dataclass(frozen=True, slots=True)
class HeaderOrigin:
    """A header of an input: of the opened file, or as it was looked at before."""

    root: str
    part: Literal["phu", "sci"]
    opened: bool


def base_of(pixels: Pixels) -> Pixels:
    """Return what lies below all planes that were put on top."""
    while isinstance(pixels, Overlay):
        pixels = pixels.base
    return pixels


def layers(frames: Iterable[Frame]) -> Iterator[Pixels]:
    """Return every source of the frames, those below others too."""
    for frame in frames:
        pixels = frame.pixels
        yield pixels
        while isinstance(pixels, Overlay):
            pixels = pixels.base
            yield pixels


class Origins:
    """Knows the origins of what a run has in hand.

    Objects are known by identity, and kept alive no longer than the frames in the streams.
    """

    def __init__(self) -> None:
        self._pixels: dict[int, tuple[Pixels, Origin]] = {}
        self._frames: dict[int, tuple[Frame, Origin]] = {}
        self._headers: dict[int, tuple[weakref.ref[Any], HeaderOrigin]] = {}

    def take_in(self, frame: Frame) -> None:
        """Note an input, as it is listed or as it has been opened."""
        opened = not isinstance(frame.pixels, Unread)
        headers: dict[Literal["phu", "sci"], Any] = {"phu": frame.phu, "sci": frame.sci}
        for part, header in headers.items():
            self._headers[id(header)] = (
                weakref.ref(header),
                HeaderOrigin(frame.root, part, opened),
            )
        if not opened or isinstance(frame.pixels, OnDisk):  # arrays would be kept alive
            origin = Origin(frame.root, opened=opened)
            self._pixels[id(frame.pixels)] = (frame.pixels, origin)
            self._frames[id(frame)] = (frame, origin)

    def chained(self, places: Sequence[int], given: Sequence[Frame], made: Sequence[Frame]) -> bool:
        """Note what a chain of per-frame steps made; return whether all of it is still lazy."""
        lazy = True
        for before, after in zip(given, made, strict=True):
            origin, base = self._of_frame(before), base_of(after.pixels)
            if base is base_of(before.pixels):
                continue
            if origin is None or not isinstance(base, Chain | OnDisk):
                lazy = False
                continue
            grown = Origin(origin.root, (*origin.steps, *places))
            self._pixels[id(base)] = (base, grown)
            self._frames[id(after)] = (after, grown)
        return lazy

    def of(self, pixels: Pixels) -> Origin | None:
        """Return the origin of a source that can be made again."""
        known = self._pixels.get(id(pixels))
        return known[1] if known is not None and known[0] is pixels else None

    def of_header(self, header: Any) -> HeaderOrigin | None:
        """Return whose header this is."""
        known = self._headers.get(id(header))
        return known[1] if known is not None and known[0]() is header else None

    def restored(self, pixels: Pixels, origin: Origin) -> None:
        """Note a source that has been made again."""
        self._pixels[id(pixels)] = (pixels, origin)

    def prune(self, streams: Mapping[str, Sequence[Frame]]) -> None:
        """Let go of what no stream has."""
        frames = [frame for stream in streams.values() for frame in stream]
        sources = {id(pixels) for pixels in layers(frames)}
        own = {id(frame) for frame in frames}
        self._pixels = {key: known for key, known in self._pixels.items() if key in sources}
        self._frames = {key: known for key, known in self._frames.items() if key in own}

    def _of_frame(self, frame: Frame) -> Origin | None:
        known = self._frames.get(id(frame))
        return known[1] if known is not None and known[0] is frame else None
