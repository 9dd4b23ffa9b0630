"""Checks that a user may set aside with ``--allow``, by name, and the record that this leaves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from f2yaml.schema.problems import RequestError, did_you_mean

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from f2yaml.interpreter.cards import Card
    from f2yaml.interpreter.registry import Reported

#: Every check that may be set aside: its name, and what is then accepted.
CHECKS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "dark-exposure-time": "a dark of another exposure time",
        "dark-read-mode": "a dark of another read mode or number of coadds",
        "flat-filter": "a flat of another filter",
        "flat-optics": "a flat taken with another Lyot stop, disperser or mask in the beam",
        "calibration-age": "a calibration that lies farther away in time than the rules allow",
        "calibration-quality": "a calibration marked as failed, or made by a lesser mode",
        "odd-dark": "a dark whose level or noise is not that of the others",
        "saturated-flat": "lamp flats of which much is saturated",
        "no-overlap": "frames of separate fields in one stack",
    }
)
#: The check behind each criterion of the calibration rules; those not listed always hold.
_OF_CRITERION: Final[Mapping[str, str]] = MappingProxyType(
    {
        "exposure_time": "dark-exposure-time",
        "read_mode": "dark-read-mode",
        "coadds": "dark-read-mode",
        "filter_name": "flat-filter",
        "lyot_stop": "flat-optics",
        "disperser": "flat-optics",
        "focal_plane_mask": "flat-optics",
        "time": "calibration-age",
        "qa_state": "calibration-quality",
        "processing": "calibration-quality",
    }
)


@dataclass(frozen=True, slots=True)
class Allowed:
    """A check that failed and was set aside: its name, the file it speaks of, and how it failed."""

    check: str
    file: str
    text: str

    def __str__(self) -> str:
        return f"--allow {self.check}: {self.text}"


def parse_allowed(words: Iterable[str]) -> frozenset[str]:
    """Return the names given with ``--allow``.

    Raises
    ------
    RequestError
        There is no such check.
    """
    given = frozenset(words)
    for word in sorted(given - CHECKS.keys()):
        raise RequestError(
            f"--allow {word}: there is no check of this name",
            "each check that may be set aside has a name, so that nothing else is",
            did_you_mean(word, CHECKS) or f"names are {', '.join(CHECKS)}",
        )
    return given


def check_behind(criterion: str) -> str | None:
    """Return the check behind a criterion of the calibration rules; None where there is none."""
    return _OF_CRITERION.get(criterion)


def way_out(criteria: Iterable[str]) -> str:
    """Return the words that would make failed criteria do, empty where one of them has to hold."""
    checks = [check_behind(criterion) for criterion in criteria]
    if not checks or None in checks:
        return ""
    return " ".join(f"--allow {check}" for check in dict.fromkeys(checks))


def record_cards(
    header: Header | Mapping[str, Card], skipped: Sequence[str], allowed: Sequence[str]
) -> dict[str, Card]:
    """Return the cards that say what was left out and what was allowed, earlier runs included.

    Parameters
    ----------
    header : Header
        Primary header of the product; what it tells of runs before is kept.
    skipped : sequence of str
        Names of files that were left out.
    allowed : sequence of str
        Names of checks that were set aside.
    """
    cards: dict[str, Card] = {}
    names = _joined(header, "SKIP", map(in_ascii, skipped))
    if names:
        cards["NSKIPPED"] = (len(names), "Inputs left out as bad (--skip-bad)")
    for number, name in enumerate(names, start=1):
        cards[f"SKIP{number:03d}"] = (name, "Input left out")
    for number, name in enumerate(_joined(header, "ALLOW", allowed), start=1):
        cards[f"ALLOW{number:03d}"] = (name, "Check set aside (--allow)")
    return cards


def _joined(header: Header | Mapping[str, Card], key: str, added: Iterable[str]) -> list[str]:
    """Return the values of numbered cards with others behind them, each once."""
    known: dict[str, None] = {}
    while (value := header.get(f"{key}{len(known) + 1:03d}")) is not None:
        if str(value) in known:
            break
        known[str(value)] = None
    return list(known | dict.fromkeys(added))


def in_ascii(text: str) -> str:
    """Return text as header cards can hold it."""
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown.encode("ascii", "replace").decode("ascii")


def marked(made: Reported, told: Allowed | None) -> Reported:
    """Return what a step has made with a check that was set aside on record."""
    if told is None:
        return made
    frames = [f.with_cards(phu=record_cards(f.phu, (), (told.check,))) for f in made.frames]
    return replace(made, frames=frames, notes=(*made.notes, str(told)))
