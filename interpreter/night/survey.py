"""What lies in a folder: groups of frames by rules, calibrations, and what fits nowhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from f2yaml.interpreter.admission import doubled, left_out
from f2yaml.interpreter.association import keys_of, processed_type
from f2yaml.interpreter.errors import BadInput, RequestError
from f2yaml.interpreter.f2.tags import tags_of
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.headerio import try_headers
from f2yaml.interpreter.headers import Headers
from f2yaml.interpreter.selecting import Selection, select
from f2yaml.interpreter.sources import Unread
from f2yaml.schema.selection import Rules

Kind: TypeAlias = Literal["dark", "flat", "science"]

_SUFFIXES: Final = (".fits", ".fit", ".fts", ".fits.gz", ".fits.bz2", ".fit.gz", ".fit.bz2")


@dataclass(frozen=True)
class Group:
    """Frames that are reduced together.

    Parameters
    ----------
    name : str
        That of the list that the rules make of them, without its ending.
    kind : str
        dark, flat or science, by the tags of the first frame.
    frames : tuple of Frame
        With headers only.
    values : mapping
        What they have in common.
    """

    name: str
    kind: Kind
    frames: tuple[Frame, ...]
    values: Mapping[str, object]

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files of the frames."""
        return tuple(path_of(frame) for frame in self.frames)

    @property
    def keys(self) -> dict[str, object]:
        """Match keys that a product of these frames has."""
        return {**keys_of(self.frames[0].headers), "processing": "sq"}


@dataclass(frozen=True)
class Survey:
    """A folder, sorted.

    Parameters
    ----------
    groups : tuple of Group
    calibrations : tuple of (Path, Headers, str)
        Processed calibrations that lie in the folder, with their type.
    leftover : tuple of (str, str)
        Files that are in no group, and why.
    bad : tuple of BadInput
        Files that cannot be read.
    """

    groups: tuple[Group, ...]
    calibrations: tuple[tuple[Path, Headers, str], ...]
    leftover: tuple[tuple[str, str], ...]
    bad: tuple[BadInput, ...]

    def of(self, kind: Kind) -> list[Group]:
        """Return the groups of one kind."""
        return [group for group in self.groups if group.kind == kind]


def path_of(frame: Frame) -> Path:
    """Return the file of a frame with headers only."""
    assert isinstance(frame.pixels, Unread)
    return frame.pixels.path


def files_in(folder: Path) -> list[Path]:
    """Return the FITS files of a folder by name; folders in it, and hidden files, are left out.

    Raises
    ------
    RequestError
        It is no folder, cannot be read, or has none.
    """
    try:
        found = sorted(
            path
            for path in folder.iterdir()
            if path.name.lower().endswith(_SUFFIXES)
            and not path.name.startswith(".")
            and not path.is_dir()
        )
    except OSError as error:
        raise RequestError(
            f"{folder} cannot be looked into: {error.strerror}",
            "a night is a folder of raw frames",
            "name the folder that holds them",
        ) from error
    if not found:
        raise RequestError(
            f"there are no FITS files in {folder}",
            "a night is a folder of raw frames; folders in it are not looked into",
            "name the folder that holds them",
        )
    return found


def survey(paths: Sequence[Path], rules: Rules) -> Survey:
    """Sort files into groups; only headers are read.

    Parameters
    ----------
    paths : sequence of Path
    rules : Rules
        A frame that is in the lists of several sets is in the first of them.

    Raises
    ------
    RequestError
        Two lists of the rules would have one name.
    """
    good: list[tuple[str, Headers]] = []
    calibrations: list[tuple[Path, Headers, str]] = []
    bad: list[BadInput] = []
    for path, headers in try_headers(paths):
        if isinstance(headers, BadInput):
            bad.append(headers)
            continue
        caltype = processed_type(tags_of(headers.phu))
        if caltype is not None:
            calibrations.append((path.absolute(), headers, caltype))
        else:
            good.append((str(path.absolute()), headers))
    known = dict(good)
    chosen = select(rules, good)
    again = _again(chosen, known)
    if again:  # what is left may be too few for a group
        chosen = select(rules, [(name, headers) for name, headers in good if name not in again])
    taken: set[str] = set()
    groups = []
    for made in chosen.lists:
        names = [name for name in made.files if name not in taken]
        taken.update(names)
        if names:
            frames = tuple(_frame(Path(name), known[name]) for name in names)
            groups.append(Group(_stem(made.output), _kind(frames), frames, made.values))
    leftover = sorted(_named((*chosen.leftover, *again.items())))
    return Survey(tuple(groups), tuple(calibrations), tuple(leftover), tuple(bad))


def _again(chosen: Selection, known: Mapping[str, Headers]) -> dict[str, str]:
    """Return the files in lists that are an exposure which another one is, and why.

    The first by name counts, endings aside: ``S1.fits`` comes before ``S1 (1).fits``.
    """
    paths = {Path(name) for made in chosen.lists for name in made.files}
    order = sorted(paths, key=lambda path: (path.name.partition(".")[0], path.name))
    found = doubled([(path, _frame(path, known[str(path)])) for path in order])
    return {str(path): left_out(path.name, [p], path).what for path, p in found.items()}


def _named(leftover: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    return ((Path(name).name, why) for name, why in leftover)


def _frame(path: Path, headers: Headers) -> Frame:
    return Frame(name=path.name, pixels=Unread(path), phu=headers.phu, sci=headers.sci)


def _stem(output: str) -> str:
    return output.rpartition(".")[0] or output


def _kind(frames: Sequence[Frame]) -> Kind:
    tags = frames[0].tags
    if "DARK" in tags:
        return "dark"
    return "flat" if "FLAT" in tags else "science"
