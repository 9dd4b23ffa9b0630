"""Rules that sort files into lists: sets of frames by tags and expression, split into groups."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from f2yaml.interpreter.errors import BadInput
from f2yaml.interpreter.expressions import compiled, matches
from f2yaml.interpreter.f2.descriptors import DESCRIPTORS, scalar
from f2yaml.interpreter.f2.tags import ALL_TAGS, refuse_or_warn, tags_of
from f2yaml.interpreter.headers import Headers
from f2yaml.schema.problems import F2Error, Problem, RecipeError, RequestError, did_you_mean
from f2yaml.schema.salvage import validate_model
from f2yaml.schema.selection import FrameSet, Rules
from f2yaml.schema.source import Source, load

#: What a descriptor's text keeps in a file name.
_DROPPED: Final = re.compile(r"[^A-Za-z0-9_.+]")
#: Digits to which numbers of one group agree, so that 4.9999999 s and 5 s are one exposure time.
_DIGITS: Final = 6


@dataclass(frozen=True, slots=True)
class MadeList:
    """One list: its file name, the set it comes from, its files, and what they have in common."""

    output: str
    rule: str
    files: tuple[str, ...]
    values: Mapping[str, object] = field(default_factory=dict)

    @property
    def about(self) -> tuple[str, ...]:
        """What the files of the list have in common, in words."""
        return tuple(f"{name} {value}" for name, value in self.values.items())


@dataclass(frozen=True, slots=True)
class Selection:
    """Lists by rule, and the files that are in none with the reason."""

    lists: tuple[MadeList, ...]
    leftover: tuple[tuple[str, str], ...]

    def __getitem__(self, output: str) -> tuple[str, ...]:
        """Return the files of the list with this file name."""
        return next(made.files for made in self.lists if made.output == output)


def load_rules(path: Path | str) -> Rules:
    """Read a rules file; a name that is no file may be that of shipped rules (``f2_imaging``).

    Raises
    ------
    RecipeError
        The file cannot be read or does not follow the schema, or names unknown tags or descriptors.
    """
    source = _source(Path(path))
    rules = validate_model(source, Rules)
    problems: list[Problem] = []
    for name, chosen in rules.sets.items():
        problems += unknown_words(source, name, chosen)
    if problems:
        raise RecipeError(problems=problems)
    return rules


def select(rules: Rules, frames: Iterable[Headers | tuple[str, Headers]]) -> Selection:
    """Sort files into the lists that rules describe.

    Parameters
    ----------
    rules : Rules
    frames : iterable of Headers or of (name, Headers)
        Files in the order given; a list keeps it unless its set has ``sort_by``. A name, if given,
        stands for the file in the lists in place of its base name.

    Returns
    -------
    Selection
        A frame may be in lists of several sets. Groups of a set whose names would be equal get the
        values in which they differ appended: one field in one filter makes ``sci_images.list``,
        two filters make ``sci_images_H.list`` and ``sci_images_Kred.list``.

    Raises
    ------
    RequestError
        Two groups still have one name.
    """
    named = [(f.filename, f) if isinstance(f, Headers) else f for f in frames]
    good, reasons = _reducible(named)
    lists: list[MadeList] = []
    used: set[int] = set()
    for name, chosen in rules.sets.items():
        kept: list[tuple[int, dict[str, Any]]] = []
        for number in good:
            values = _values(named[number][1], chosen, name, reasons.setdefault(number, []))
            if values is not None:
                kept.append((number, values))
        groups: dict[tuple[object, ...], list[int]] = {}
        for number, values in kept:
            groups.setdefault(tuple(map(_key, values.values())), []).append(number)
        full: list[tuple[dict[str, Any], list[int]]] = []
        shared = dict(kept)
        for members in groups.values():
            if len(members) < chosen.min_count:
                why = f"{name}: {len(members)} alike, at least {chosen.min_count} are needed"
                for number in members:
                    reasons[number].append(why)
                continue
            used.update(members)
            full.append((shared[members[0]], members))
        lists += _lists(name, chosen, full, named)
    _check_distinct(lists)
    leftover = tuple(
        (named[number][0], "; ".join(reasons.get(number, [])) or _no_set(rules, named[number][1]))
        for number in range(len(named))
        if number not in used
    )
    return Selection(tuple(lists), leftover)


def _source(path: Path) -> Source:
    if path.exists():
        return load(path)
    shipped = {
        entry.name: entry
        for entry in files("f2yaml.recipes").joinpath("rules").iterdir()
        if entry.name.endswith(".yaml")
    }
    wanted = path.name if path.suffix == ".yaml" else f"{path.name}.yaml"
    if wanted in shipped:
        return load(path, shipped[wanted].read_text(encoding="utf-8"), wanted)
    guess = did_you_mean(wanted, shipped).replace(".yaml", "")
    if guess and not path.suffix:
        raise RequestError(
            f"no rules are named `{path}`", "it is no file, nor a shipped name", guess
        )
    return load(path)


def unknown_words(source: Source, name: str, chosen: FrameSet) -> list[Problem]:
    """Return the problems of one set that only the instrument's vocabulary shows."""
    problems: list[Problem] = []
    known: tuple[tuple[str, tuple[str, ...], Iterable[str], str], ...] = (
        ("tags", chosen.tags, ALL_TAGS, "tag"),
        ("xtags", chosen.xtags, ALL_TAGS, "tag"),
        ("group_by", chosen.group_by, DESCRIPTORS, "descriptor"),
        ("sort_by", chosen.sort_by, DESCRIPTORS, "descriptor"),
    )
    for key, words, vocabulary, kind in known:
        for index, word in enumerate(words):
            if word not in vocabulary:
                fix = did_you_mean(word, vocabulary) or f"`f2yaml show` lists every {kind}"
                why = f"a set with an unknown {kind} would stay empty"
                place = source.place(("sets", name, key, index))
                problems.append(Problem(f"unknown {kind} `{word}`", why, fix, place))
    if chosen.expr is not None:
        try:
            compiled(chosen.expr)
        except RequestError as error:
            place = source.place(("sets", name, "expr"))
            problems += [Problem(p.what, p.why, p.fix, place) for p in error.problems]
    return problems


def _reducible(named: Sequence[tuple[str, Headers]]) -> tuple[list[int], dict[int, list[str]]]:
    """Return the numbers of the files that can be reduced, and why the others cannot."""
    good: list[int] = []
    reasons: dict[int, list[str]] = {}
    for number, (_, headers) in enumerate(named):
        try:
            refuse_or_warn(headers)
        except F2Error as error:
            reasons[number] = [problem.what for problem in error.problems]
        else:
            good.append(number)
    return good, reasons


def _values(
    headers: Headers, chosen: FrameSet, name: str, reasons: list[str]
) -> dict[str, Any] | None:
    """Return what a frame is grouped by, None if it is not of the set."""
    try:
        if not matches(headers, tags=chosen.tags, xtags=chosen.xtags):
            return None
        if chosen.expr is not None and not matches(headers, expr=chosen.expr):
            reasons.append(f"{name}: not {chosen.expr}")
            return None
        values = {key: scalar(key, headers, pretty=True) for key in chosen.group_by}
    except BadInput as error:
        reasons.append(f"{name}: {error.problems[0].what}")
        return None
    missing = [key for key, value in values.items() if value is None]
    if missing:
        reasons.append(f"{name}: {', '.join(missing)} not known")
        return None
    return values


def _key(value: object) -> object:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def _lists(
    name: str,
    chosen: FrameSet,
    groups: Sequence[tuple[dict[str, Any], list[int]]],
    named: Sequence[tuple[str, Headers]],
) -> list[MadeList]:
    outputs = [chosen.output.format(**{k: _clean(v) for k, v in v.items()}) for v, _ in groups]
    made = []
    for output, (values, members) in zip(outputs, groups, strict=True):
        rivals = [v for o, (v, _) in zip(outputs, groups, strict=True) if o == output]
        differing = [k for k in values if len({_key(rival[k]) for rival in rivals}) > 1]
        if differing:
            stem, dot, extension = output.rpartition(".")
            extra = "".join(f"_{_word(values[key])}" for key in differing)
            output = f"{stem}{extra}.{extension}" if dot else output + extra
        order = sorted(members, key=lambda n: _order(named[n][1], chosen.sort_by))
        chosen_files = tuple(named[number][0] for number in order)
        made.append(MadeList(output, name, chosen_files, values))
    return made


def _clean(value: object) -> object:
    """Return a value fit for a file name: text loses what is no letter, digit, dot or plus."""
    if isinstance(value, bool | int):
        return value
    return _key(value) if isinstance(value, float) else _DROPPED.sub("", str(value))


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(_clean(value))


def _order(headers: Headers, keys: Sequence[str]) -> tuple[tuple[bool, Any], ...]:
    """Return a sorting key; frames without a value come last."""
    values = [scalar(key, headers) for key in keys]
    return tuple((value is None, "" if value is None else value) for value in values)


def _check_distinct(lists: Sequence[MadeList]) -> None:
    first: dict[str, MadeList] = {}
    for made in lists:
        other = first.setdefault(made.output, made)
        if other is not made:
            raise RequestError(
                f"two lists would be named {made.output}",
                f"{other.rule} ({', '.join(other.about)}) and {made.rule} "
                f"({', '.join(made.about)}): one would overwrite the other",
                "let `output` of these sets name a descriptor in which they differ",
            )


def _no_set(rules: Rules, headers: Headers) -> str:
    """Return by which tags a frame is none of each set."""
    own = tags_of(headers.phu)
    why = []
    for name, chosen in rules.sets.items():
        lacking = [tag for tag in chosen.tags if tag not in own]
        barred = [tag for tag in chosen.xtags if tag in own]
        words = [f"lacks {', '.join(lacking)}"] if lacking else []
        words += [f"has {', '.join(barred)}"] if barred else []
        why.append(f"{name}: {' and '.join(words)}")
    return f"fits no set; {'; '.join(why)}"
