"""Products of a run: their names, headers and places, and the calibration store."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from f2yaml.interpreter.allowing import in_ascii, record_cards
from f2yaml.interpreter.dq import DQ
from f2yaml.interpreter.errors import BadInput, OutputError, RequestError
from f2yaml.interpreter.events import FileWritten
from f2yaml.interpreter.f2.names import final_name
from f2yaml.interpreter.fits import cannot_write, replaced, write_frame
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.headers import utc_now
from f2yaml.interpreter.leftovers import Pending, aside, identity, noted, sweep
from f2yaml.interpreter.records import Recorder
from f2yaml.schema.modes import MEANING, worst
from f2yaml.schema.recipe import Output, Write

STAMPS = {
    "processed_dark": ("PROCDARK", "DARK"),
    "processed_flat": ("PROCFLAT", "FLAT"),
    "processed_bpm": ("PROCBPM", "BPM"),
    "processed_science": ("PROCSCI", "IMAGE"),
}
#: What is kept for later runs.
CALIBRATIONS = ("processed_dark", "processed_flat", "processed_bpm")


@dataclass
class Writer:
    """Writes products into one folder.

    Parameters
    ----------
    outdir : Path
    inputs : set of Path
        Files that must never be written, resolved.
    suffix : str, optional
        Suffix of the final files, instead of the recipe's.
    store : callable, optional
        ``(path, type)``; records a processed calibration in the databases.
    cache : callable, optional
        ``(type, name)`` -> where processed calibrations are kept; default calibrations/ in outdir.
    mode : str
        sq, ql or qa; goes into headers, and outside sq into the names of calibrations.
    databases : sequence of (str, bool)
        Where `store` records, and whether each is made if it is not there: noted for the next
        command, should this process be killed in between.
    recorder : Recorder, optional
        What is written beside the pixels of the run that makes them.
    skipped, allowed : sequence of str
        Files that were left out, and checks that were set aside: cards of every product.
    """

    outdir: Path
    inputs: frozenset[Path] = frozenset()
    suffix: str | None = None
    store: Callable[[Path, str], object] | None = None
    cache: Callable[[str, str], Path] | None = None
    mode: str = "sq"
    databases: Sequence[tuple[str, bool]] = ()
    skipped: Sequence[str] = ()
    allowed: Sequence[str] = ()
    written: list[Path] = field(default_factory=list)
    recorder: Recorder | None = field(default=None, kw_only=True)

    def check(self) -> None:
        """Raise unless the folder can be written to; it is made if it does not exist.

        What processes that were killed left half written in it is removed.
        """
        if self.outdir.exists() and not self.outdir.is_dir():
            raise OutputError(
                f"{self.outdir} is a file",
                "products are written into a folder",
                "choose another name with --outdir",
            )
        try:
            self.outdir.mkdir(parents=True, exist_ok=True)
            probe = aside(self.outdir / "probe")
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise cannot_write(self.outdir, error) from error
        sweep(self.outdir)
        for kind in CALIBRATIONS:
            sweep(self.kept_at(kind, "any").parent)

    def check_names(self, outputs: Mapping[str, Output], frames: Sequence[Frame]) -> None:
        """Raise if a product of these inputs would be written over one of them."""
        for output in outputs.values():
            if output.suffix or self.suffix is not None:
                for frame in frames:
                    self.path(self._named(frame, output, ()).name)

    def intermediate(self, frame: Frame, write: Write) -> FileWritten:
        """Write a frame between steps, under its name or with the step's suffix."""
        return FileWritten(self._write(saved_as(frame, write), write.planes))

    def products(
        self,
        outputs: Mapping[str, Output],
        streams: Mapping[str, Sequence[Frame]],
        notes: Sequence[str] = (),
    ) -> Iterator[FileWritten]:
        """Write what the recipe declares as outputs; nothing if two would have one name."""
        named = self.named(outputs, streams, notes)
        for stream, output in outputs.items():
            for frame in named[stream]:
                if output.store:
                    _require_usable(frame)
                kind = output.store or ""
                if kind in CALIBRATIONS:
                    path = self._calibration(frame, kind, output.planes)
                else:
                    path = self._write(frame, output.planes)
                yield FileWritten(path, kind)

    def named(
        self,
        outputs: Mapping[str, Output],
        streams: Mapping[str, Sequence[Frame]],
        notes: Sequence[str] = (),
    ) -> dict[str, list[Frame]]:
        """Return the products by stream, with the names and headers they are written with.

        Raises
        ------
        RequestError
            Two products would have one name.
        """
        named = {
            stream: [self._named(frame, output, notes) for frame in streams.get(stream, ())]
            for stream, output in outputs.items()
        }
        names = [frame.name for frames in named.values() for frame in frames]
        if len(set(names)) < len(names):
            listed = ", ".join(f"`{stream}`" for stream, frames in named.items() if frames)
            raise RequestError(
                f"{len(names)} frames of stream {listed} would be written under "
                f"{len(set(names))} names",
                "one would overwrite the other",
                "give the frames different names, or write them in separate runs"
                if self.suffix is None or len(outputs) < 2
                else "leave --suffix out: it takes the place of the suffixes that tell them apart",
            )
        return named

    def _named(self, frame: Frame, output: Output, notes: Sequence[str]) -> Frame:
        # A frame prepared in a worse mode does not become better by what is done to it here.
        mode = worst(self.mode, str(frame.phu.get("PROCMODE", "")).lower())
        suffix = output.suffix
        if output.store in CALIBRATIONS and mode != "sq":
            suffix = f"_{mode}{suffix}"
        made = frame.with_suffix(suffix) if suffix else frame
        if self.suffix is not None:
            made = replace(made, name=final_name(made.name, self.suffix))
        if output.store:
            key, word = STAMPS[output.store]
            now = utc_now()
            label = str(made.phu.get("DATALAB", "")).removesuffix("-STACK")
            made = made.with_cards(
                phu={
                    key: (now, f"UT time of {output.store}"),
                    "GEM-TLM": (now, "UT last modification"),
                    "DATALAB": f"{label}-{mode.upper()}-{word}",
                    "PROCMODE": (mode, f"Reduction mode: {MEANING[mode]}"),
                }
            )
        if notes:
            header = made.phu.copy()
            for note in notes:
                header.add_comment(in_ascii(note))
            made = replace(made, phu=header)
        return made

    def _write(self, frame: Frame, planes: Sequence[str] | None) -> Path:
        path = self.path(frame.name)
        if self.recorder is not None:
            record = self.recorder.now()
            name = record.fact("run", "recipe")
            frame = replace(frame, runs=(*frame.runs, record)).with_cards(
                phu={"RECIPE": (name, "Recipe, see the extension RECIPE")}
            )
        cards = record_cards(frame.phu, self.skipped, self.allowed)
        write_frame(frame.with_cards(phu=cards), path, planes)
        self.written.append(path)
        return path

    def path(self, name: str) -> Path:
        """Return where a product goes; raise if it must not go there."""
        path = self.outdir / name
        if Path(name).name != name:
            raise OutputError(
                f"the product name {name!r} is not a plain file name",
                "products stay in the output folder",
                "check the suffix, and ORIGNAME in the header",
            )
        if path.resolve() in self.inputs:
            raise OutputError(
                f"{path} is an input of this run",
                "inputs are never written",
                "choose another folder with --outdir, or another suffix",
            )
        return path

    def kept_at(self, kind: str, name: str) -> Path:
        """Return where a processed calibration is kept for later runs."""
        if self.cache is not None:
            return self.cache(kind, name)
        return self.outdir / "calibrations" / kind / name

    def _calibration(self, frame: Frame, kind: str, planes: Sequence[str] | None) -> Path:
        """Write a processed calibration, keep it under calibrations/ and store it."""
        kept = self.kept_at(kind, frame.name)
        with self._noted(self.path(frame.name), kept, kind):
            path = self._write(frame, planes)
            keep(path, kept)
            if self.store is not None:
                self.store(kept, kind)
        return path

    @contextmanager
    def _noted(self, path: Path, kept: Path, kind: str) -> Iterator[None]:
        """Note what is about to be done; a folder made for nothing but the note goes with it."""
        made = [folder for folder in (kept.parent, *kept.parents[1:2]) if not folder.exists()]
        places = str(path.absolute()), str(kept.absolute())
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with noted(Pending(*places, kind, self.databases, identity(path))):
                yield
        except BaseException as error:
            with suppress(OSError):  # in use by now
                for folder in made:
                    folder.rmdir()
            if isinstance(error, OSError):
                raise cannot_write(kept.parent, error) from error
            raise


def keep(path: Path, kept: Path) -> None:
    """Put a product where later runs look for it: the same file, linked.

    Another run may replace the product meanwhile; what is kept then is what it made.

    Raises
    ------
    OutputError
        It cannot be put there.
    """
    seen = None
    while seen is None or identity(path) != seen:
        seen = identity(path)
        with replaced(kept) as partial:
            try:
                partial.hardlink_to(path.resolve())
            except OSError:  # another file system, or one without links: a copy serves as well
                shutil.copyfile(path, partial)
        partial.unlink(missing_ok=True)  # two names of one file stay two when one is to replace it


def saved_as(frame: Frame, write: Write) -> Frame:
    """Return a frame under the name that a step saves it with."""
    return frame.with_suffix(write.suffix) if write.suffix else frame


def _require_usable(frame: Frame) -> None:
    """Raise if a product has no pixel that a later run could use."""
    planes = frame.pixels.whole()
    good = np.isfinite(planes.data)
    if planes.mask is not None:
        good &= (planes.mask & ~np.uint16(DQ.NON_LINEAR)) == 0
    if not good.any():
        raise BadInput(
            f"no pixel of {frame.name} is usable",
            "all are flagged or not finite in every input; as a calibration it would spoil the "
            "frames it is given to",
            "look at the inputs with `f2yaml preview`; nothing has been written",
        )
