"""Input frames before they are read: headers now, pixels when a step asks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from f2yaml.interpreter.fits import read_frame
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.headerio import read_headers
from f2yaml.interpreter.leftovers import Identity, identity, still
from f2yaml.interpreter.pixels import Planes


@dataclass(frozen=True, slots=True)
class Unread:
    """Pixels of a file that nobody has asked for."""

    path: Path
    identity: Identity | None = None

    def check(self) -> None:
        """Raise unless the file is what it was when its headers were read.

        Raises
        ------
        BadInput
            It is gone, or has changed.
        """
        still(self.path, self.identity)

    @property
    def shape(self) -> tuple[int, ...]:
        return read_frame(self.path).shape

    @property
    def present(self) -> frozenset[str]:
        return read_frame(self.path).pixels.present

    def rows(self, start: int, stop: int) -> Planes:
        return read_frame(self.path).pixels.rows(start, stop)

    def whole(self) -> Planes:
        return read_frame(self.path).pixels.whole()


def unread_frame(path: Path) -> Frame:
    """Return the frame of a file with its headers only."""
    before = identity(path)
    headers = read_headers(path)
    return Frame(name=path.name, pixels=Unread(path, before), phu=headers.phu, sci=headers.sci)
