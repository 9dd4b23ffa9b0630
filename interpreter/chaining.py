"""Per-frame steps that follow each other, done on one frame: here, in a thread or on a worker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from f2yaml.interpreter.checksums import Checksums
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.errors import F2Error
from f2yaml.interpreter.events import FileWritten
from f2yaml.interpreter.fits import read_frame
from f2yaml.interpreter.frame import Frame, HistoryRow, ProvenanceRow
from f2yaml.interpreter.headers import utc_now
from f2yaml.interpreter.leftovers import Identity
from f2yaml.interpreter.pixels import Recent
from f2yaml.interpreter.plan import CallStep
from f2yaml.interpreter.products import Writer
from f2yaml.interpreter.refcat import Catalogue, read_catalogue
from f2yaml.interpreter.resources import FROM_RUNNER, TABLES
from f2yaml.interpreter.soundness import require_sound
from f2yaml.interpreter.sources import Unread

Resource = Frame | Catalogue


class Calibrations:
    """Resources of a run, calibrations and catalogues: each file is read once.

    `sums` are the checksums of the files of the run.
    """

    def __init__(self) -> None:
        self.sums = Checksums()
        self._frames: dict[Path, Frame] = {}
        self._tables: dict[Path, Catalogue] = {}

    def frame(self, name: str, path: Path, chosen: Identity | None = None) -> Frame:
        """Return the frame in `path` with its checksum; frames ask for the same rows in turn.

        Raises
        ------
        BadInput
            It is gone, no longer the file that was chosen, or not what a dark or flat has to be.
        """
        if path not in self._frames:
            source = Unread(path, chosen)
            source.check()
            frame = read_frame(path)
            self._frames[path] = replace(frame, pixels=Recent(frame.pixels), md5=self.sums.of(path))
            source.check()
            require_sound(name, self._frames[path])
        return self._frames[path]

    def table(self, path: Path) -> Catalogue:
        """Return the reference catalogue in `path`."""
        if path not in self._tables:
            self._tables[path] = read_catalogue(path)
        return self._tables[path]

    def md5(self, path: Path) -> str:
        """Return the checksum of the file of a resource."""
        known = self._frames.get(path) or self._tables.get(path)
        return known.md5 if known is not None else self.sums.of(path)

    def of(self, step: CallStep, frame: Frame) -> dict[str, Resource]:
        """Return the resources of a step for one frame."""
        found: dict[str, Resource] = {}
        for name, provided in step.resources.items():
            path = provided.by_root.get(frame.root)
            if path is not None and name in TABLES:
                found[name] = self.table(path)
            elif path is not None:
                found[name] = self.frame(name, path, provided.seen.get(path))
        return found


@dataclass(frozen=True)
class Doing:
    """What steps need to know of the run they belong to.

    Parameters
    ----------
    engine : Engine
    calibrations : Calibrations
    writer : Writer
    mode : str
        sq, ql or qa.
    allows : set of str
        Checks that are set aside.
    """

    engine: Engine
    writer: Writer
    calibrations: Calibrations = field(default_factory=Calibrations)
    mode: str = "sq"
    allows: frozenset[str] = frozenset()

    def own(self, step: CallStep, frame: Frame | None = None) -> dict[str, Any]:
        """Return what a step asks of the run itself, and what headers say of a frame."""
        offered = {"engine": self.engine, "mode": self.mode, "allows": self.allows}
        own = {name: offered[name] for name in step.primitive.resources if name in FROM_RUNNER}
        if frame is not None:
            own |= {n: v[frame.root] for n, v in step.derived.items() if frame.root in v}
        return own

    def stamped(
        self,
        frame: Frame,
        step: CallStep,
        start: str,
        stop: str,
        used: Mapping[str, Resource] | None = None,
    ) -> Frame:
        """Return the frame with suffix, time stamps, history and provenance of a step."""
        primitive = step.primitive
        if not primitive.suffix and not primitive.stamps:
            return frame
        cards: dict[str, Any] = dict.fromkeys(
            primitive.stamps, (stop, f"UT time of {primitive.name}")
        )
        if "ORIGNAME" not in frame.phu:  # by which the exposure is known under any suffix
            cards["ORIGNAME"] = (frame.name, "Original filename prior to processing")
        cards["GEM-TLM"] = (stop, "UT last modification")
        args = {"suffix": primitive.suffix, **step.params.model_dump(mode="json")}
        if self.allows and "allows" in primitive.resources:
            args["allows"] = sorted(self.allows)
        row = HistoryRow(primitive.name, json.dumps(args, sort_keys=True), start, stop)
        added = tuple(
            ProvenanceRow(stop, resource.name, resource.md5, primitive.name)
            for resource in (used or {}).values()
        )
        known = {(p.filename, p.md5) for p in frame.provenance}
        fresh = tuple(p for p in added if (p.filename, p.md5) not in known)
        return replace(
            frame.with_cards(phu=cards).with_suffix(primitive.suffix),
            history=(*frame.history, row),
            provenance=(*frame.provenance, *fresh),
        )

    def written(self, frame: Frame, step: CallStep) -> list[FileWritten]:
        """Write a frame that its step saves."""
        return [] if step.write is None else [self.writer.intermediate(frame, step.write)]


@dataclass(frozen=True)
class Chained:
    """Steps to be done on a frame one after the other; its pixels are settled at their end."""

    steps: tuple[CallStep, ...]
    run: Doing

    def __call__(self, frame: Frame) -> tuple[Frame, list[FileWritten]]:
        """Return the frame that comes out, and the files that were written on the way."""
        files: list[FileWritten] = []
        run = self.run
        for step in self.steps:
            start = utc_now()
            resources = run.calibrations.of(step, frame)
            name = frame.name
            try:
                frame = step.primitive.function(
                    frame, step.params, **resources, **run.own(step, frame)
                )
            except F2Error as error:
                raise error.at(f"{step.where}, frame {name}") from error
            frame = run.stamped(frame, step, start, utc_now(), resources)
            if step is self.steps[-1]:
                frame = run.engine.settle(frame)
            files += run.written(frame, step)
        run.engine.trim()
        return frame, files
