"""Which tags a file can have together, by the rules alone: no header is looked at."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from itertools import product
from typing import Final

from f2yaml.interpreter.f2.tags import F2_RULES, GEMINI_RULES, REFUSED, TagRule, precedence

#: Tags that contradict each other in one header, though no rule says so.
EXCLUSIVE: Final[tuple[frozenset[str], ...]] = (
    frozenset({"SOUTH", "NORTH"}),
    frozenset({"PREPARED", "UNPREPARED"}),
    frozenset({"SIDEREAL", "NON_SIDEREAL", "AZEL_TARGET"}),
    frozenset({"LAMPON", "LAMPOFF"}),
)
#: One of these is on every file.
_EITHER: Final = (("PREPARED", "UNPREPARED"),)

_RULES: Final = sorted((*F2_RULES, *GEMINI_RULES), key=precedence)
_MOST = 4096


def impossible(wanted: Set[str], forbidden: Set[str] = frozenset()) -> str:
    """Return why no file that f2yaml reduces can have `wanted` tags and none of `forbidden`.

    Parameters
    ----------
    wanted, forbidden : set of str
        Known tags.

    Returns
    -------
    str
        Empty when such a file may exist. Rules are taken as free to hold or not, so that the
        answer errs towards "may exist".
    """
    both = sorted(wanted & forbidden)
    if both:
        return f"{both[0]} is asked for and excluded"
    refused = sorted(wanted & set(REFUSED))
    if refused:
        return f"f2yaml refuses files tagged {refused[0]}: {REFUSED[refused[0]]}"
    for group in EXCLUSIVE:
        if len(wanted & group) > 1:
            return f"no file has {' and '.join(sorted(wanted & group))}"
    for pair in _EITHER:
        if forbidden >= set(pair):
            return f"every file has {' or '.join(pair)}"
    if any(wanted <= tags and not tags & forbidden for tags in _reachable(wanted)):
        return ""
    return _explained(wanted, forbidden)


def _explained(wanted: Set[str], forbidden: Set[str]) -> str:
    for tag in sorted(wanted):
        implied = sorted(_always_with(tag) & forbidden)
        if implied:
            return f"every file tagged {tag} has {implied[0]}, too"
    for one in sorted(wanted):
        for other in sorted(wanted - {one}):
            if one < other and not any({one, other} <= tags for tags in _reachable({one, other})):
                return f"no file has {one} and {other}"
    words = f"no file has {' and '.join(sorted(wanted))}"
    return words + (f" without {' and '.join(sorted(forbidden))}" if forbidden else "")


def _always_with(tag: str) -> frozenset[str]:
    found = list(_reachable({tag}))
    return frozenset.intersection(*found) if found else frozenset()


def _givers(tag: str) -> list[TagRule]:
    return [rule for rule in _RULES if tag in rule.tags]


def _reachable(wanted: Iterable[str]) -> Iterator[frozenset[str]]:
    """Yield the tags of files on which just the rules hold that the wanted tags need."""
    choices = [_givers(tag) for tag in sorted({"F2", *wanted})]
    for number, chosen in enumerate(product(*choices)):
        if number >= _MOST:
            return
        holding = set(map(id, chosen))
        todo = [tag for rule in chosen for tag in rule.if_present]
        while todo:
            needed = next(iter(_givers(todo.pop())), None)
            if needed is not None and id(needed) not in holding:
                holding.add(id(needed))
                todo += needed.if_present
        tags = _given(holding)
        if "PREPARED" not in tags:
            tags |= {"UNPREPARED"}
        yield frozenset(tags)


def _given(holding: set[int]) -> set[str]:
    tags: set[str] = set()
    blocked: set[str] = set()
    for rule in _RULES:
        if rule.tags & blocked or rule.blocked_by & tags or not rule.if_present <= tags:
            continue
        if id(rule) in holding:
            tags |= rule.tags
            blocked |= rule.blocks
    return tags
