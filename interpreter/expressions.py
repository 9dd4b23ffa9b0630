"""Selection of files by tags and by an expression on descriptors (spec: cli, section 3.4).

The text is parsed into a closed tree by `f2yaml.schema.predicate`; here names get their values and
comparisons their tolerances.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Final

from f2yaml.interpreter.f2.descriptors import DESCRIPTORS, describe
from f2yaml.interpreter.f2.detector import SAME_FILTER
from f2yaml.interpreter.f2.tags import check_known, tags_of
from f2yaml.interpreter.f2.values import value
from f2yaml.interpreter.headers import Headers
from f2yaml.schema.predicate import Expr, check_names, evaluate, names, parse
from f2yaml.schema.problems import RequestError

#: Names that an expression on one file may use, besides ``phu.KEY``, ``hdr.KEY``, ``tag.NAME``.
KNOWN_NAMES: Final[frozenset[str]] = frozenset({*DESCRIPTORS, "tags"})
PREFIXES: Final = ("phu.", "hdr.", "tag.")

#: Descriptors that are compared in pretty form unless strict.
_PRETTY: Final = frozenset({"filter_name", "disperser", "detector_name"})
#: Relative tolerances of ``==`` unless strict.
_TOLERANCE: Final = {"exposure_time": 0.01, "central_wavelength": 1e-5}
_ROUNDING: Final = 1e-12


@lru_cache(maxsize=128)
def compiled(expr: str) -> Expr:
    """Return the tree of an expression on one file; all its names are known.

    Raises
    ------
    RequestError
        It cannot be parsed, or names an unknown descriptor or tag.
    """
    tree = parse(expr, known=KNOWN_NAMES)
    check_names(tree, KNOWN_NAMES, prefixes=PREFIXES)
    check_known(name.removeprefix("tag.") for name in names(tree) if name.startswith("tag."))
    return tree


def lookup(name: str, headers: Headers, *, strict: bool = False) -> object:
    """Return the value of a name in an expression, None when the file does not give it.

    Parameters
    ----------
    name : str
        A descriptor, ``tags``, ``phu.KEY``, ``hdr.KEY`` (science extension, else primary header) or
        ``tag.NAME``.
    headers : Headers
    strict : bool
        Do not use pretty forms.
    """
    if name == "tags":
        return tuple(sorted(tags_of(headers.phu)))
    kind, _, key = name.partition(".")
    if key and kind == "tag":
        return key in tags_of(headers.phu)
    if key and kind == "phu":
        return value(headers.phu, key)
    if key and kind == "hdr":
        found = value(headers.sci, key)
        return value(headers.phu, key) if found is None else found
    return describe(name, headers, pretty=not strict and name in _PRETTY)


def tolerant(name: str, op: str, left: object, right: object) -> bool | None:
    """Compare with the tolerance of a descriptor; None where there is none.

    exposure_time within 1 % and central_wavelength within 1e-5 of the value asked for, with ``==``
    only. The two names of the Y filter are equal.
    """
    if name == "filter_name" and isinstance(right, str) and right in SAME_FILTER:
        if op in ("==", "!="):
            return (left == SAME_FILTER[right]) is (op == "==")
        return None
    tolerance = _TOLERANCE.get(name)
    if tolerance is None or op != "==":
        return None
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        return None
    return abs(left - right) <= (tolerance + _ROUNDING) * abs(right)


def decide(expr: Expr, headers: Headers, *, strict: bool = False) -> bool:
    """Return whether an expression holds for a file."""
    return evaluate(
        expr,
        lambda name: lookup(name, headers, strict=strict),
        compare=None if strict else tolerant,
    )


def matches(
    headers: Headers,
    *,
    tags: Collection[str] = (),
    xtags: Collection[str] = (),
    expr: str | Expr | None = None,
    strict: bool = False,
) -> bool:
    """Return whether a file has all of `tags`, none of `xtags`, and fulfils `expr`.

    Raises
    ------
    RequestError
        An unknown tag or descriptor, or text that is no expression.
    """
    check_known((*tags, *xtags))
    tree = compiled(expr) if isinstance(expr, str) else expr
    own = tags_of(headers.phu)
    if not own.issuperset(tags) or own.intersection(xtags):
        return False
    return tree is None or decide(tree, headers, strict=strict)


def words(text: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return the entries of a comma-separated list, blanks trimmed; empty entries are refused."""
    if text is None:
        return ()
    parts = text.split(",") if isinstance(text, str) else [p for t in text for p in t.split(",")]
    found = tuple(part.strip() for part in parts)
    if found and not all(found):
        raise RequestError(
            f"empty entry in `{text if isinstance(text, str) else ' '.join(text)}`",
            "entries are separated by single commas",
            "write for instance `CAL,FLAT`",
        )
    return found
