"""What the journal of a run says: documents, and what of them still holds for another run.

A journal is read as data that anyone may have written: strict types, bounded sizes, nothing that
could be executed. `checkpoint` turns frames into these documents and back, `keeping` writes and
reads the folder.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from f2yaml.interpreter.frame import HistoryRow, ProvenanceRow
from f2yaml.interpreter.framerows import FrameRow
from f2yaml.interpreter.plan import BoundStep, CallStep, PassStep, Plan
from f2yaml.interpreter.records import RunRecord, version_of
from f2yaml.schema.compose import Condition, Ref
from pydantic import BaseModel, ConfigDict, Field

FORMAT: Final = 1
#: Packages whose versions have a part in the pixels.
PACKAGES: Final = ("f2yaml", "numpy", "numba", "llvmlite", "sep", "astropy")
#: Most pixels of a plane, as in FITS files; most rows of a catalogue.
MAX_PIXELS: Final = 1 << 28
MAX_ROWS: Final = 1 << 22


class Doc(BaseModel):
    """Base of all documents."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", defer_build=True)


Scalar = bool | int | float | str
File = Annotated[str, Field(pattern=r"^(planes|small|state)-[0-9]{6}$")]
Count = Annotated[int, Field(ge=0, lt=1 << 62)]
Plane = Literal["data", "variance", "mask", "objmask", "coverage", "shared"]
Type = Annotated[str, Field(pattern=r"^[<|][biufSU][0-9]{1,4}$")]


class Blob(Doc):
    """An array in a file: where, of what type and shape, and its CRC-32.

    A mask of zeros and ones may be `packed`, eight to a byte; a table has `columns`.
    """

    file: File
    at: Count
    sum: Count
    shape: Annotated[tuple[Count, ...], Field(min_length=1, max_length=2)]
    dtype: Type = "|u1"
    packed: bool = False
    columns: Annotated[tuple[tuple[str, Type], ...], Field(max_length=400)] = ()

    @property
    def kind(self) -> np.dtype[Any]:
        """Type of its elements."""
        return np.dtype(list(self.columns)) if self.columns else np.dtype(self.dtype)

    @property
    def stored(self) -> tuple[int, ...]:
        """Shape as it lies in the file."""
        return (self.shape[0], -(-self.shape[1] // 8)) if self.packed else self.shape

    @property
    def size(self) -> int:
        """Its bytes."""
        return int(np.prod(self.stored, dtype=object)) * self.kind.itemsize

    def check(self) -> None:
        """Raise `ValueError` if no plane or catalogue is like that."""
        image = len(self.shape) == 2
        if image == bool(self.columns) or (self.packed and not image):
            raise ValueError("an array is neither a plane nor a table")
        if image and (min(self.shape) < 1 or self.shape[0] * self.shape[1] > MAX_PIXELS):
            raise ValueError(f"a plane has the shape {self.shape}")
        if not image and self.shape[0] > MAX_ROWS:
            raise ValueError(f"a catalogue has {self.shape[0]} rows")


class Again(Doc):
    """Pixels that steps (by their place in the plan) make anew, lazily, of an input."""

    kind: Literal["again"] = "again"
    root: str
    steps: tuple[Count, ...]
    opened: bool


class Stored(Doc):
    """Planes in files of the journal."""

    kind: Literal["stored"] = "stored"
    planes: dict[Plane, Blob]


class Over(Doc):
    """Pixels (by number) with some planes replaced or dropped."""

    kind: Literal["over"] = "over"
    base: Count
    planes: dict[Plane, Blob | None]


Source = Annotated[Again | Stored | Over, Field(discriminator="kind")]
#: A card that was changed: keyword, value (None: it is gone), comment, whether it is a float32.
Change = tuple[str, Scalar | None, str | None, bool]
#: A card as it stands in a file, or keyword, value, comment, and whether it is a float32.
Text = tuple[str] | tuple[str, Scalar, str, bool]


class HeaderDoc(Doc):
    """A header: that of an input (`root`, as opened or only looked at) or `cards`, and changes."""

    root: str = ""
    part: Literal["phu", "sci"] = "phu"
    opened: bool = False
    cards: Annotated[tuple[Text, ...], Field(max_length=36_000)] = ()
    changes: Annotated[tuple[Change, ...], Field(max_length=36_000)] = ()


class FrameDoc(Doc):
    """A frame; pixels, headers and runs by their numbers."""

    name: str
    pixels: Count
    phu: Count
    sci: Count
    objcat: Blob | None = None
    refcat: Blob | None = None
    skies: tuple[str, ...] | None = None
    history: tuple[HistoryRow, ...] = ()
    provenance: tuple[ProvenanceRow, ...] = ()
    runs: tuple[Count, ...] = ()
    members: tuple[FrameRow, ...] = ()
    md5: str = ""


class FinishedDoc(Doc):
    """A step that is done, with what was said of it."""

    number: Count
    name: str
    frames: Count
    seconds: float
    health: str


class WrittenDoc(Doc):
    """A file that a step (by number) saved in the output folder."""

    step: Count
    name: str
    size: Count
    mtime_ns: int


class TableDoc(Doc):
    """A table that a step reported."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Scalar | None, ...], ...]
    notes: tuple[str, ...]


class StateDoc(Doc):
    """All that a run has in hand after a step."""

    streams: dict[str, tuple[Count, ...]]
    past: dict[str, Count]
    decisions: tuple[tuple[int, bool], ...]
    frames: tuple[FrameDoc, ...]
    pixels: tuple[Source, ...]
    headers: tuple[HeaderDoc, ...]
    runs: tuple[RunRecord, ...]
    finished: tuple[FinishedDoc, ...]
    tables: tuple[TableDoc, ...]
    notes: tuple[str, ...]
    written: tuple[WrittenDoc, ...]

    def files(self) -> set[str]:
        """Return the names of the files that it needs."""
        return {blob.file for blob in self.blobs()}

    def blobs(self) -> list[Blob]:
        """Return every array in files."""
        sources = [s.planes for s in self.pixels if not isinstance(s, Again)]
        planes = [blob for s in sources for blob in s.values()]
        tables = [t for frame in self.frames for t in (frame.objcat, frame.refcat)]
        return [blob for blob in (*planes, *tables) if blob is not None]


class StateEntry(Doc):
    """A kept state: steps of the plan that are done, its file, and what lies in that."""

    done: Count
    step: Count
    name: str
    file: File
    size: Count
    sum: Count
    needs: tuple[File, ...]


class ResourceDoc(Doc):
    """A file that a step works with, and the exposures it serves."""

    kind: str
    name: str
    md5: str
    roots: tuple[str, ...]


class StepDoc(Doc):
    """A step of a plan: all that its result hangs on."""

    what: str
    streams: str = ""
    when: tuple[str, ...] = ()
    package: str = ""
    write: str = "off"
    params: dict[str, Any] = {}
    resources: tuple[ResourceDoc, ...] = ()


class InputDoc(Doc):
    """An input; `md5` is empty where the run had no need of it."""

    name: str
    size: Count
    mtime_ns: int
    md5: str


class JournalDoc(Doc):
    """The journal of a run: what it is of, and the states that it can go on from."""

    format: int
    versions: dict[str, str]
    recipe: str
    mode: str
    allows: tuple[str, ...]
    inputs: tuple[InputDoc, ...]
    steps: tuple[StepDoc, ...]
    states: tuple[StateEntry, ...]


# what a plan comes to ---------------------------------------------------------------------------
@cache
def versions() -> dict[str, str]:
    """Return the versions that pixels hang on."""
    return {
        **{name: version_of(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": platform.machine(),
    }


def step_doc(step: BoundStep, plan: Plan, md5: Callable[[Path], str]) -> StepDoc:
    """Return all that the result of a step hangs on.

    Parameters
    ----------
    step : BoundStep
    plan : Plan
    md5 : callable
        Checksum of a file.
    """
    when = tuple(_condition(c, plan) for c in step.conditions)
    if isinstance(step, PassStep):
        return StepDoc(what="pass", streams=f"{step.source} -> {step.target}", when=when)
    if not isinstance(step, CallStep):
        return StepDoc(what=f"require {_condition(step.condition, plan)}", when=when)
    served: dict[tuple[str, str, str], list[str]] = {}
    for kind, provided in step.resources.items():
        for root, path in provided.by_root.items():
            served.setdefault((kind, path.name, md5(path)), []).append(root)
    return StepDoc(
        what=step.primitive.name,
        streams=f"{step.source} -> {', '.join(step.targets)}",
        when=when,
        package=step.primitive.package,
        write="off" if step.write is None else step.write.model_dump_json(),
        params=json.loads(json.dumps(step.params.model_dump(mode="json"))),
        resources=tuple(
            ResourceDoc(kind=kind, name=name, md5=checksum, roots=tuple(roots))
            for (kind, name, checksum), roots in served.items()
        ),
    )


def _condition(condition: Condition, plan: Plan) -> str:
    values = {}
    for name, bound in condition.bindings.items():
        value = bound.value
        values[name] = plan.parameters[value.name].value if isinstance(value, Ref) else value
    told = ", ".join(f"{name} {value!r}" for name, value in values.items())
    return f"{condition.text} ({told})" if told else condition.text


# what has changed -------------------------------------------------------------------------------
def changed_run(old: JournalDoc, new: JournalDoc) -> str:
    """Return why nothing of a run holds for another one, an empty text if it may."""
    for name in dict.fromkeys((*old.versions, *new.versions)):
        before, now = old.versions.get(name, "unknown"), new.versions.get(name, "unknown")
        if before != now:
            return f"it was made by {name} {before}, this is {now}"
    if (old.recipe, old.mode) != (new.recipe, new.mode):
        return f"it is of {old.recipe} in mode {old.mode}, this is {new.recipe} in {new.mode}"
    if old.allows != new.allows:
        return f"checks set aside are {_listed(new.allows)}, were {_listed(old.allows)}"
    return _changed_inputs(old.inputs, new.inputs)


def _changed_inputs(old: Sequence[InputDoc], new: Sequence[InputDoc]) -> str:
    known, now = {i.name: i for i in old}, {i.name: i for i in new}
    added, gone = [n for n in now if n not in known], [n for n in known if n not in now]
    if added or gone:
        parts = [(added, "more than then"), (gone, "fewer")]
        said = [f"{len(names)} {word} ({names[0]})" for names, word in parts if names]
        return f"the list of inputs is another: {', '.join(said)}"
    if list(known) != list(now):
        return "the inputs come in another order"
    for name, before in known.items():
        after = now[name]
        if before.md5 and after.md5:
            same = before.md5 == after.md5
        else:
            same = (before.size, before.mtime_ns) == (after.size, after.mtime_ns)
        if not same:
            return f"{name} has changed since"
    return ""


def changed_step(old: StepDoc, new: StepDoc) -> str:
    """Return why a step has to be done again, an empty text if it has not."""
    if old == new:
        return ""
    if old.what != new.what:
        return f"it is {new.what}, was {old.what}"
    for name in dict.fromkeys((*old.params, *new.params)):
        before, now = old.params.get(name), new.params.get(name)
        if before != now or type(before) is not type(now):
            return f"{name} is {_shown(now)}, was {_shown(before)}"
    if old.resources != new.resources:
        return _changed_resources(old.resources, new.resources)
    for name in ("streams", "when", "package", "write"):
        before, now = getattr(old, name), getattr(new, name)
        if before != now:
            return f"`{name}` is {_shown(now)}, was {_shown(before)}"
    return ""


def _changed_resources(old: Sequence[ResourceDoc], new: Sequence[ResourceDoc]) -> str:
    def by_frame(documents: Sequence[ResourceDoc]) -> Mapping[tuple[str, str], ResourceDoc]:
        return {(d.kind, root): d for d in documents for root in d.roots}

    known, now = by_frame(old), by_frame(new)
    for kind, root in dict.fromkeys((*known, *now)):
        before, after = known.get((kind, root)), now.get((kind, root))
        if before is None or after is None:
            names = [d.name if d is not None else "none" for d in (after, before)]
            return f"the {kind} of {root} is {names[0]}, was {names[1]}"
        if before.name != after.name:
            return f"the {kind} of {root} is {after.name}, was {before.name}"
        if before.md5 != after.md5:
            return f"{after.name} has changed since"
    return "its files are given in another order"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
