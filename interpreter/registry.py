"""The registry of primitives: one declaration each, by decorator and parameter model.

`per_frame`, `group` and `between_streams` record what a function is and return it unchanged. The
parameter model is read from the annotation of the second argument, the resources (dark, flat, ...)
from the keyword-only names. Help, validation, plans and documentation are made from these records.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

from f2yaml.interpreter.frame import Frame
from f2yaml.schema.problems import Problem, RecipeError, did_you_mean
from pydantic import BaseModel, ConfigDict


class Params(BaseModel):
    """Base of all parameter models: strict, frozen, unknown names refused."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", defer_build=True)


Streams = Mapping[str, Sequence[Frame]]
F = TypeVar("F", bound=Callable[..., Any])
Makes = Callable[[Sequence[Frame], Any], Sequence[Frame]]
Takes = Literal["any", "exposures", "several"]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that a step reports to the user: column names, rows of plain values, closing advice."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...] = ()

    def as_dicts(self) -> list[dict[str, Any]]:
        """Return the rows by the names of their columns."""
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows]


@dataclass(frozen=True, slots=True)
class Reported:
    """What a step returns when it has something to tell beside its frames.

    Parameters
    ----------
    frames : the frames, or a mapping of streams, as the step would return them alone
    health : str
        One figure of health for the progress line, such as ``rms 0.03 pix``.
    notes : tuple of str
        Permitted shortfalls; shown in the summary and kept in the header.
    table : Table, optional
    """

    frames: Any
    health: str = ""
    notes: tuple[str, ...] = ()
    table: Table | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Primitive:
    """What is common to all kinds of primitive.

    Parameters
    ----------
    name : str
        Name in recipes, as in DRAGONS.
    function : callable
    params : type of Params
    resources : tuple of str
        What the runner provides beside frames: dark, flat, bpm, illumination, engine ...
    suffix : str
        Suffix of the frames it makes; empty when names do not change.
    stamps : tuple of str
        Header keywords that get the time it ran.
    guard : str
        Header keyword whose presence on an input means that the step was done before.
    family : str
        Module that holds it, up to the first underscore: ``sky`` for ``sky_subtraction``.
    check : callable, optional
        ``(frames, params) -> notes``; looks at the headers of all frames of the stream before the
        first pixel is read, and raises if the step would fail.
    package : str
        Package that brought it, with its version; empty for those of f2yaml.
    takes : str
        ``exposures``: it means nothing for frames that have been combined; ``several``: nor for a
        single frame; ``any``.
    """

    name: str
    function: Callable[..., Any]
    params: type[Params]
    resources: tuple[str, ...]
    suffix: str
    stamps: tuple[str, ...]
    guard: str
    family: str
    check: Callable[[Sequence[Frame], Any], Sequence[str]] | None = None
    package: str = ""
    takes: Takes = "any"

    @property
    def doc(self) -> str:
        """The docstring of the function."""
        return inspect.getdoc(self.function) or _written_doc(self.function)

    @property
    def summary(self) -> str:
        """First line of the docstring."""
        return self.doc.partition("\n")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class PerFrame(Primitive):
    """``(Frame, P, *, resources) -> Frame``; mapped over a stream, order and number are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group(Primitive):
    """``(Sequence[Frame], P, *, resources) -> list[Frame]``; called once, the number may change.

    `wants` picks, from the inputs of a run, the frames whose resources are needed; `headers_only`
    says that pixels are not looked at, so that a plan may call it; `combines`, that it makes one
    frame of many. `makes` says, where the number of frames changes otherwise, which of them the
    results are named after; for one that combines, it is the first.
    """

    wants: Callable[[Sequence[Frame]], Sequence[Frame]] | None = None
    headers_only: bool = False
    combines: bool = False
    makes: Makes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BetweenStreams(Primitive):
    """``(Streams, P, *, resources) -> Streams``; called once, may read and fill other streams.

    The function gets the streams named in `reads` beside ``from`` (the step's source) and, where
    `updates` is set, ``to`` (its target as it was). It returns one list for each entry of `fills`,
    which become the step's targets in order. `headers_only` says that pixels are not looked at, so
    that a plan may call it; otherwise a plan expects ``to`` as it was where `updates` is set, else
    the frames of ``from``.
    """

    reads: tuple[str, ...] = ()
    updates: bool = False
    fills: tuple[str, ...] = ("to",)
    headers_only: bool = False


AnyPrimitive = PerFrame | Group | BetweenStreams
_REGISTRY: dict[str, AnyPrimitive] = {}
_COMPLETE: list[bool] = []
#: What is wrong with plug-ins, which are left out; the command line says it once.
PLUGIN_PROBLEMS: list[Problem] = []


def first_frame(frames: Sequence[Frame], params: Any) -> Sequence[Frame]:
    """Return the first frame: what a stack of all is named after."""
    return frames[:1]


Check = Callable[[Sequence[Frame], Any], Sequence[str]]


@cache
def _written_doc(function: Callable[..., Any]) -> str:
    """Return the docstring in the source of a function: ``python -OO`` takes it out of the code."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):
        return ""
    return ast.get_docstring(tree.body[0]) or ""  # type: ignore[arg-type]


def per_frame(
    name: str,
    *,
    suffix: str = "",
    stamps: Sequence[str] = (),
    guard: bool = False,
    check: Check | None = None,
    takes: Takes = "any",
) -> Callable[[F], F]:
    """Declare a primitive that works on one frame at a time."""

    def record(function: F) -> F:
        common = _common(name, function, suffix, stamps, guard)
        common["takes"] = takes
        _register(PerFrame(**common, check=check))
        return function

    return record


def group(
    name: str,
    *,
    suffix: str = "",
    stamps: Sequence[str] = (),
    guard: bool = False,
    wants: Callable[[Sequence[Frame]], Sequence[Frame]] | None = None,
    check: Check | None = None,
    headers_only: bool = False,
    combines: bool = False,
    makes: Makes | None = None,
    takes: Takes = "any",
) -> Callable[[F], F]:
    """Declare a primitive that works on all frames of a stream together."""

    def record(function: F) -> F:
        common = _common(name, function, suffix, stamps, guard)
        common["takes"] = takes
        _register(
            Group(
                **common,
                check=check,
                wants=wants,
                headers_only=headers_only,
                combines=combines,
                makes=makes or (first_frame if combines else None),
            )
        )
        return function

    return record


def between_streams(
    name: str,
    *,
    suffix: str = "",
    stamps: Sequence[str] = (),
    reads: Sequence[str] = (),
    updates: bool = False,
    fills: Sequence[str] = ("to",),
    check: Check | None = None,
    guard: bool = False,
    headers_only: bool = False,
    takes: Takes = "any",
) -> Callable[[F], F]:
    """Declare a primitive that reads or fills several streams."""

    def record(function: F) -> F:
        common = _common(name, function, suffix, stamps, guard)
        common["takes"] = takes
        _register(
            BetweenStreams(
                **common,
                check=check,
                reads=tuple(reads),
                updates=updates,
                fills=tuple(fills),
                headers_only=headers_only,
            )
        )
        return function

    return record


def _common(
    name: str, function: Callable[..., Any], suffix: str, stamps: Sequence[str], guard: bool
) -> dict[str, Any]:
    signature = inspect.signature(function)
    hints = typing.get_type_hints(function)
    params = hints.get(next(iter(list(signature.parameters)[1:]), ""))
    if not (isinstance(params, type) and issubclass(params, Params)):
        raise TypeError(
            f"the second argument of {name} is not annotated with its parameters, a subclass of "
            "Params"
        )
    resources = tuple(
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    )
    return {
        "name": name,
        "function": function,
        "params": params,
        "resources": resources,
        "suffix": suffix,
        "stamps": tuple(stamps),
        "guard": stamps[0] if guard and stamps else "",
        "family": function.__module__.rpartition(".")[2].partition("_")[0],
    }


class NameTakenError(RuntimeError):
    """A primitive has the name of another."""

    def __init__(self, other: AnyPrimitive) -> None:
        super().__init__(f"two primitives are called {other.name}")
        self.other = other


def _register(primitive: AnyPrimitive) -> None:
    known = _REGISTRY.get(primitive.name)
    if known is not None and known.function.__module__ != primitive.function.__module__:
        raise NameTakenError(known)
    _REGISTRY[primitive.name] = primitive


def load() -> None:
    """Import every family of primitives and every plug-in, so that the registry is complete."""
    if _COMPLETE:
        return
    import importlib
    import pkgutil

    from f2yaml.interpreter import primitives
    from f2yaml.interpreter.plugins import take_in

    for module in pkgutil.iter_modules(primitives.__path__):
        importlib.import_module(f"{primitives.__name__}.{module.name}")
    _COMPLETE.append(True)
    PLUGIN_PROBLEMS.extend(take_in(_REGISTRY))


def primitives() -> Iterator[AnyPrimitive]:
    """Return all primitives, by family and name."""
    load()
    return iter(sorted(_REGISTRY.values(), key=lambda p: (p.family, p.name)))


def find(name: str) -> AnyPrimitive:
    """Return the primitive of this name.

    Raises
    ------
    RecipeError
        There is none; the nearest name is suggested.
    """
    load()
    if name not in _REGISTRY:
        raise RecipeError(
            f"there is no primitive `{name}`",
            "a step names a primitive of the registry"
            + (", and a plug-in that may have it could not be loaded" if PLUGIN_PROBLEMS else ""),
            did_you_mean(name, _REGISTRY) or "`f2yaml show` lists all primitives",
        )
    return _REGISTRY[name]
