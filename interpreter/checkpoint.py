"""Frames to the files of a journal, and back, bit by bit.

Planes that are arrays are written; those that steps make lazily of an input are named by input and
steps. Values of headers keep their type and all their digits, which text in cards would not.
"""

from __future__ import annotations

import math
import os
import stat
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from f2yaml.interpreter.cards import Cards
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.journal import (
    Again,
    Blob,
    Change,
    FrameDoc,
    HeaderDoc,
    Over,
    Source,
    Stored,
    Text,
)
from f2yaml.interpreter.origins import Origins, layers
from f2yaml.interpreter.packed import Packed
from f2yaml.interpreter.pixels import DTYPES, PLANES, Array, Computed, Overlay, Pixels
from f2yaml.interpreter.records import RunRecord


class Unkeepable(Exception):
    """A frame holds something that has no written form: the state is not kept."""


class Shelf:
    """What lies in files of the journal: sources, planes and tables, known by identity."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, Any]] = {}

    def put(self, thing: object, document: Any) -> None:
        """Note the document of a thing that has been written."""
        self._known[id(thing)] = (thing, document)

    def get(self, thing: object) -> Any:
        """Return the document of a thing, None if it has not been written."""
        known = self._known.get(id(thing))
        return known[1] if known is not None and known[0] is thing else None

    def prune(self, frames: Sequence[Frame]) -> None:
        """Let go of what no frame has."""
        held = {id(thing) for thing in (*layers(frames), *_parts(frames))}
        self._known = {key: known for key, known in self._known.items() if key in held}


def _parts(frames: Iterable[Frame]) -> Iterator[Any]:
    """Return the small things of frames: planes on top of others, and tables."""
    for frame in frames:
        yield from (t for t in (frame.objcat, frame.refcat) if t is not None)
        for pixels in layers([frame]):
            if isinstance(pixels, Overlay):
                yield from (plane for plane in pixels.planes.values() if plane is not None)


@dataclass(frozen=True)
class Unwritten:
    """What a state needs and no file holds yet: sources, small things, and their bytes.

    `heavy` says that it needs whole planes in files, written or not.
    """

    sources: tuple[Pixels, ...]
    parts: tuple[Any, ...]
    size: int
    heavy: bool


def unwritten(frames: Sequence[Frame], origins: Origins, shelf: Shelf) -> Unwritten:
    """Return what would have to be written to keep frames.

    Raises
    ------
    Unkeepable
        Pixels are computed in a way that planes alone do not stand for, such as on a new grid.
    """
    sources: dict[int, Pixels] = {}
    heavy = False
    for pixels in layers(frames):
        if isinstance(pixels, Overlay) or origins.of(pixels) is not None:
            continue
        heavy = True
        if shelf.get(pixels) is None:
            if isinstance(pixels, Computed) or hasattr(pixels, "fill"):
                raise Unkeepable(type(pixels).__name__)
            sources[id(pixels)] = pixels
    parts = {id(part): part for part in _parts(frames) if shelf.get(part) is None}
    size = sum(map(_size, sources.values()))
    size += sum(p.bits.nbytes if isinstance(p, Packed) else p.nbytes for p in parts.values())
    return Unwritten(tuple(sources.values()), tuple(parts.values()), size, heavy)


def _size(pixels: Pixels) -> int:
    each = sum(int(np.dtype(DTYPES[name]).itemsize) for name in pixels.present)
    return math.prod(pixels.shape) * each


# to files ---------------------------------------------------------------------------------------
class Sink:
    """A new file of the journal that arrays are appended to."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self._at = name, 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        self._file = os.open(folder / name, flags, 0o666)

    def add(self, array: Array, **words: Any) -> Blob:
        """Append an array; returns what the journal says of it."""
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        flat = native.reshape(-1).view(np.uint8).data if native.size else memoryview(b"")
        done = 0
        while done < len(flat):
            done += os.write(self._file, flat[done : done + (1 << 24)])
        at, self._at = self._at, self._at + len(flat)
        kind = {"columns": _columns(native.dtype)} if native.dtype.names else {}
        given = {"shape": native.shape, "dtype": native.dtype.str, **kind, **words}
        if kind:
            given["dtype"] = "|u1"
        return Blob(file=self.name, at=at, sum=zlib.crc32(flat), **given)

    def close(self) -> None:
        """Bring the file to the disk."""
        try:
            os.fsync(self._file)
        finally:
            self.leave()

    def leave(self) -> None:
        """Close the file as it is."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _columns(dtype: np.dtype[Any]) -> tuple[tuple[str, str], ...]:
    plain = tuple((c[0], c[1]) for c in dtype.descr if len(c) == 2)
    if len(plain) != len(dtype.names or ()) or dtype.hasobject:
        raise Unkeepable("a table with columns of arrays")
    return plain


def write_source(sink: Sink, pixels: Pixels) -> dict[str, Blob]:
    """Write the planes of a source."""
    planes = zip(PLANES, pixels.whole(), strict=True)
    return {name: sink.add(plane) for name, plane in planes if plane is not None}


def write_part(sink: Sink, part: Any) -> Blob:
    """Write a plane that lies on top of others, or a table."""
    if isinstance(part, Packed):
        return sink.add(part.bits, packed=True, shape=part.shape)
    return sink.add(part)


# to documents -----------------------------------------------------------------------------------
class Packer:
    """Puts frames into documents; all that is not small lies in files by now.

    Parameters
    ----------
    origins : Origins
    shelf : Shelf
    """

    def __init__(self, origins: Origins, shelf: Shelf) -> None:
        self.origins, self.shelf = origins, shelf
        self.frames: list[FrameDoc] = []
        self.pixels: list[Source] = []
        self.headers: list[HeaderDoc] = []
        self.runs: list[RunRecord] = []
        self._numbers: dict[int, tuple[int, object]] = {}
        self._runs: dict[RunRecord, int] = {}

    def frame(self, frame: Frame) -> int:
        """Return the number of a frame."""
        known = self._numbers.get(id(frame))
        if known is None:
            document = FrameDoc(
                name=frame.name,
                pixels=self._source(frame.pixels),
                phu=self._header(frame.phu),
                sci=self._header(frame.sci),
                objcat=None if frame.objcat is None else self.shelf.get(frame.objcat),
                refcat=None if frame.refcat is None else self.shelf.get(frame.refcat),
                skies=frame.skies,
                history=frame.history,
                provenance=frame.provenance,
                runs=tuple(self._run(run) for run in frame.runs),
                members=frame.members,
                md5=frame.md5,
            )
            return self._number(frame, self.frames, document)
        return known[0]

    def _number(self, thing: object, documents: list[Any], document: Any) -> int:
        documents.append(document)
        self._numbers[id(thing)] = (len(documents) - 1, thing)  # alive, so that ids stay its own
        return len(documents) - 1

    def _source(self, pixels: Pixels) -> int:
        known = self._numbers.get(id(pixels))
        if known is not None:
            return known[0]
        document: Source
        origin = self.origins.of(pixels)
        if isinstance(pixels, Overlay):
            planes = {n: None if p is None else self.shelf.get(p) for n, p in pixels.planes.items()}
            document = Over(base=self._source(pixels.base), planes=planes)  # type: ignore[arg-type]
        elif origin is not None:
            document = Again(root=origin.root, steps=origin.steps, opened=origin.opened)
        else:
            document = Stored(planes=self.shelf.get(pixels))
        return self._number(pixels, self.pixels, document)

    def _header(self, header: Any) -> int:
        known = self._numbers.get(id(header))
        if known is not None:
            return known[0]
        base: Any = header.base if isinstance(header, Cards) else header
        changes = header.changes if isinstance(header, Cards) else {}
        origin = self.origins.of_header(base)
        told = tuple(_change(key, value) for key, value in changes.items())
        if origin is None:
            document = HeaderDoc(cards=tuple(map(_text, base.cards)), changes=told)
        else:
            document = HeaderDoc(
                root=origin.root,
                part=origin.part,
                opened=origin.opened,
                changes=told,
            )
        return self._number(header, self.headers, document)

    def _run(self, run: RunRecord) -> int:
        if run not in self._runs:
            self._runs[run] = len(self.runs)
            self.runs.append(run)
        return self._runs[run]


def _change(key: str, card: Any) -> Change:
    value, comment = card if isinstance(card, tuple) else (card, None)
    single = isinstance(value, np.float32)
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, bool | int | float | str | None):
        raise Unkeepable(f"{key} in a header")
    return (key, value, comment, single)


def _text(card: fits.Card) -> Text:
    """Return a card as text if that reads back the same, else as value and comment."""
    image = str(card.image)
    read = fits.Card.fromstring(image)
    value = card.value.item() if isinstance(card.value, np.generic) else card.value
    same = (read.keyword, type(read.value), read.value, read.comment)
    plain = isinstance(value, bool | int | float | str)
    if not plain or same == (card.keyword, type(value), value, card.comment):
        return (image,)
    return (card.keyword, value, card.comment, isinstance(card.value, np.float32))


# back -------------------------------------------------------------------------------------------
def read_small(folder: Path, name: str, limit: int) -> bytes:
    """Return the content of a file of the journal.

    Raises
    ------
    OSError, ValueError
        It is not there, no plain file, or larger than `limit`.
    """
    number = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(number, "rb") as file:
        status = os.fstat(number)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{name} is no plain file")
        if status.st_size > limit:
            raise ValueError(f"{name} has {status.st_size} bytes")
        return file.read(limit + 1)


def check_files(folder: Path, blobs: Sequence[Blob]) -> None:
    """Check that the files of arrays are as long as they must be, and no longer.

    Raises
    ------
    OSError, ValueError
        They are not.
    """
    ends: dict[str, int] = {}
    for blob in blobs:
        blob.check()
        ends[blob.file] = max(ends.get(blob.file, 0), blob.at + blob.size)
    for name, end in ends.items():
        status = os.lstat(folder / name)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"{name} is no plain file")
        if status.st_size < end:
            raise ValueError(f"{name} has {status.st_size} bytes of {end}")


def check_sum(folder: Path, blob: Blob) -> None:
    """Read an array and compare its checksum; raise `ValueError` if it is damaged."""
    left, found = blob.size, 0
    with (folder / blob.file).open("rb") as file:
        file.seek(blob.at)
        while left and (piece := file.read(min(left, 1 << 22))):
            found, left = zlib.crc32(piece, found), left - len(piece)
    if left or found != blob.sum:
        raise ValueError(f"{blob.file} is damaged")


def read_blob(folder: Path, blob: Blob) -> Array:
    """Return an array as it was written, read-only."""
    with (folder / blob.file).open("rb") as file:
        file.seek(blob.at)
        array = np.frombuffer(file.read(blob.size), blob.kind)
    return array.reshape(blob.stored)


def read_part(folder: Path, blob: Blob) -> Array | Packed:
    """Return a plane that lay on top of others, or a table."""
    array = read_blob(folder, blob)
    return Packed.of_bits(array, blob.shape) if blob.packed else array


def header_of(document: HeaderDoc, inputs: Mapping[tuple[str, str, bool], fits.Header]) -> Any:
    """Return the header of a document.

    Parameters
    ----------
    document : HeaderDoc
    inputs : mapping
        Headers of the inputs by root, part, and whether the file is opened.

    Raises
    ------
    KeyError, ValueError
        It is of no input, or holds what is no card.
    """
    if document.root:
        base = inputs[document.root, document.part, document.opened]
    else:
        base = fits.Header([_card(text) for text in document.cards])
    changes: dict[str, Any] = {}
    for key, value, comment, single in document.changes:
        if not (key.isascii() and key.isprintable()):
            raise ValueError("a keyword is not ASCII")
        typed = np.float32(value) if single and isinstance(value, float) else value
        changes[key] = typed if comment is None else (typed, comment)
    return Cards(base, changes) if changes else base


def _card(text: Text) -> fits.Card:
    if len(text) == 1:
        (image,) = text
        if len(image) % 80 or not (image.isascii() and image.isprintable()):
            raise ValueError("a card is none")
        return fits.Card.fromstring(image)
    keyword, value, comment, single = text
    typed = np.float32(value) if single and isinstance(value, float) else value
    return fits.Card(keyword, typed, comment)
