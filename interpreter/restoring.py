"""The streams of a run, made anew from a state that its journal has kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from f2yaml.interpreter.checkpoint import (
    Shelf,
    check_files,
    check_sum,
    header_of,
    read_blob,
    read_part,
)
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.journal import Again, Blob, FrameDoc, Over, Source, StateDoc, Stored
from f2yaml.interpreter.origins import Origin, Origins, base_of
from f2yaml.interpreter.pixels import (
    DTYPES,
    PLANES,
    FilePlane,
    OnDisk,
    Overlay,
    Pixels,
)

Map = Callable[[Callable[[Any], Any], Iterable[Any]], list[Any]]
#: Frames of a state, for each input and besides.
_MOST_FRAMES, _MORE_FRAMES = 32, 64


class Restorer:
    """Makes the frames of a state.

    Parameters
    ----------
    state : StateDoc
    folder : Path
        Where its files lie.
    inputs : mapping of str to Frame
        The inputs of the run by root, with headers only.
    origins, shelf
        Get to know what is made.
    """

    def __init__(
        self,
        state: StateDoc,
        folder: Path,
        inputs: Mapping[str, Frame],
        origins: Origins,
        shelf: Shelf,
    ) -> None:
        self.state, self.folder, self.inputs = state, folder, inputs
        self.origins, self.shelf = origins, shelf

    def check(self, steps: int, work: Map) -> None:
        """Check the whole state before anything is made of it.

        Parameters
        ----------
        steps : int
            Steps of the plan that are done.
        work : callable
            ``map`` in threads.

        Raises
        ------
        OSError, ValueError
            Files are missing or damaged, or it contradicts itself.
        """
        state = self.state
        if len(state.frames) > _MOST_FRAMES * len(self.inputs) + _MORE_FRAMES:
            raise ValueError(f"it has {len(state.frames)} frames")
        numbers = [n for stream in state.streams.values() for n in stream]
        _within(numbers, state.frames)
        for frame in state.frames:
            _within([frame.pixels], state.pixels)
            _within([frame.phu, frame.sci], state.headers)
            _within(frame.runs, state.runs)
        for number, source in enumerate(state.pixels):
            self._check_source(number, source, steps)
        for header in state.headers:
            if header.root and header.root not in self.inputs:
                raise ValueError(f"it speaks of an input {header.root}")
        blobs = state.blobs()
        check_files(self.folder, blobs)
        work(lambda blob: check_sum(self.folder, blob), blobs)

    def _check_source(self, number: int, source: Source, steps: int) -> None:
        match source:
            case Again():
                if source.root not in self.inputs or any(n >= steps for n in source.steps):
                    raise ValueError("it speaks of inputs or steps that there are not")
            case Over():
                _within([source.base], self.state.pixels[:number])
                for name, blob in source.planes.items():
                    _check_plane(name, blob)
            case Stored():
                shapes = {blob.shape for blob in source.planes.values()}
                if "data" not in source.planes or len(shapes) != 1:
                    raise ValueError("planes of a frame do not fit each other")
                for name, blob in source.planes.items():
                    _check_plane(name, blob)
                    if blob.packed:
                        raise ValueError(f"the plane {name} is packed")

    def streams(
        self, again: Callable[[Origin], Frame], opened: Callable[[str], Frame], work: Map
    ) -> dict[str, tuple[Frame, ...]]:
        """Return the streams.

        Parameters
        ----------
        again : callable
            Does steps on an input; returns the frame that comes out.
        opened : callable
            Returns an input, by its root, as it is when it has been opened.
        work : callable
            ``map`` in threads.
        """
        wanted = [s for s in self.state.pixels if isinstance(s, Again)]
        roots = {s.root for s in wanted if s.opened}
        roots |= {h.root for h in self.state.headers if h.root and h.opened}
        files = dict(zip(sorted(roots), work(opened, sorted(roots)), strict=True))
        made = iter(work(lambda s: self._again(s, files, again), wanted))
        pixels: list[Pixels] = []
        for source in self.state.pixels:
            pixels.append(next(made) if isinstance(source, Again) else self._source(source, pixels))
        headers = self._headers(files)
        frames = [self._frame(document, pixels, headers) for document in self.state.frames]
        return {
            name: tuple(frames[n] for n in numbers) for name, numbers in self.state.streams.items()
        }

    def _again(
        self, source: Again, files: Mapping[str, Frame], again: Callable[[Origin], Frame]
    ) -> Pixels:
        origin = Origin(source.root, source.steps, source.opened)
        if not source.opened:
            pixels = self.inputs[source.root].pixels
        elif not source.steps:
            pixels = files[source.root].pixels
        else:
            pixels = base_of(again(origin).pixels)
        self.origins.restored(pixels, origin)
        return pixels

    def _source(self, source: Stored | Over, made: list[Pixels]) -> Pixels:
        if isinstance(source, Stored):
            pixels: Pixels = OnDisk(tuple(self._plane(source.planes.get(n)) for n in PLANES))
            self.shelf.put(pixels, source.planes)
            return pixels
        base = made[source.base]
        planes: dict[str, Any] = {}
        for name, blob in source.planes.items():
            planes[name] = None if blob is None else read_part(self.folder, blob)
            if blob is not None:
                if blob.shape != tuple(base.shape):
                    raise ValueError("planes of a frame do not fit each other")
                self.shelf.put(planes[name], blob)
        return Overlay(base, planes)

    def _plane(self, blob: Blob | None) -> FilePlane | None:
        if blob is None:
            return None
        path = str((self.folder / blob.file).resolve())
        return FilePlane(path, blob.at, blob.dtype, blob.shape)

    def _headers(self, files: Mapping[str, Frame]) -> list[Any]:
        inputs = {}
        for opened, frames in ((False, self.inputs), (True, files)):
            for root, frame in frames.items():
                inputs[root, "phu", opened] = frame.phu
                inputs[root, "sci", opened] = frame.sci
        return [header_of(document, inputs) for document in self.state.headers]

    def _frame(self, document: FrameDoc, pixels: list[Pixels], headers: list[Any]) -> Frame:
        tables: dict[str, Any] = {}
        for name in ("objcat", "refcat"):
            blob: Blob | None = getattr(document, name)
            tables[name] = None
            if blob is not None:
                tables[name] = read_blob(self.folder, blob)
                self.shelf.put(tables[name], blob)
        return Frame(
            name=document.name,
            pixels=pixels[document.pixels],
            phu=headers[document.phu],
            sci=headers[document.sci],
            skies=document.skies,
            history=document.history,
            provenance=document.provenance,
            runs=tuple(self.state.runs[n] for n in document.runs),
            members=document.members,
            md5=document.md5,
            **tables,
        )


def _within(numbers: Iterable[int], things: tuple[Any, ...]) -> None:
    if any(number >= len(things) for number in numbers):
        raise ValueError("it speaks of what it does not hold")


def _check_plane(name: str, blob: Blob | None) -> None:
    if blob is None:
        return
    wanted, found = np.dtype(DTYPES[name]), np.dtype(blob.dtype)
    fits = found.kind in "iuf" if name == "data" else found == wanted
    if blob.columns or not fits or (blob.packed and name != "objmask"):
        raise ValueError(f"the plane {name} is of type {blob.dtype}")
