"""The nights of the benchmark: raw frames, lists, calibrations, and what each recipe is run on."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from speed_process import Ended, measured

HERE = Path(__file__).resolve().parent
#: Night by the largest number of science frames it has.
NIGHTS = {6: "tiny", 18: "tutorial", 156: str(HERE / "scenarios" / "long_night.yaml")}
#: In the order they are run: parts need the files of the part before.
RECIPES = (
    "makeProcessedDark", "makeProcessedFlat", "makeProcessedBPM", "checkWCS", "makeSkyFlat",
    "reduce", "ultradeep", "ultradeep_part1", "ultradeep_part2", "ultradeep_part3",
    "alignAndStack",
)  # fmt: skip
#: Recipes whose time does not depend on the science frames.
CALIBRATIONS = ("makeProcessedDark", "makeProcessedFlat", "makeProcessedBPM")
#: Their products would be taken for the science frames: they are run with a database of their own.
APART = ("makeProcessedBPM", "makeSkyFlat")
#: What a recipe reads of the products of another one: recipe, pattern, options of its run.
AFTER = {
    "ultradeep_part2": ("ultradeep_part1", "*_flatCorrected.fits", ()),
    "ultradeep_part3": ("ultradeep_part2", "*_objmaskTransferred.fits", ()),
    "alignAndStack": (
        "reduce", "*_skyCorrected.fits", ("-p", "skyCorrect:write_outputs=True"),
    ),
}  # fmt: skip


class Failed(Exception):
    """A command of the benchmark did not succeed."""


@dataclass
class Night:
    """A simulated night in a folder.

    Parameters
    ----------
    program : Path
        The ``f2yaml`` that is measured.
    folder : Path
        With ``raw``; lists, calibrations and products go beside it.
    table : dict
        ``truth.json``.
    """

    program: Path
    folder: Path
    table: dict[str, Any] = field(repr=False)

    @classmethod
    def at(cls, program: Path, parent: Path, frames: int) -> Night:
        """Return the night for a number of science frames, simulated unless it lies there.

        Raises
        ------
        Failed
            There is no night of so many frames, or it cannot be simulated.
        """
        most = next((most for most in sorted(NIGHTS) if frames <= most), None)
        if most is None:
            raise Failed(f"no night has {frames} science frames; {max(NIGHTS)} are the most")
        folder = parent / Path(NIGHTS[most]).stem
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "raw" / "truth.json").exists():
            run(program, folder, "simulate", NIGHTS[most], "--out", "raw", "--jobs", "2")
        table = json.loads((folder / "raw" / "truth.json").read_text())
        return cls(program, folder, table)

    @property
    def pixels(self) -> int:
        """Pixels of a frame."""
        from astropy.io import fits

        header = fits.getheader(self._raw([self.table["frames"][0]["name"]])[0], 1)
        return int(header["NAXIS1"]) * int(header["NAXIS2"])

    def _raw(self, names: Sequence[str]) -> list[Path]:
        return [self.folder / "raw" / f"{name}.fits" for name in names]

    def _calibrations(self, kind: str, exposure_s: float) -> list[Path]:
        entries = self.table["calibrations"]
        named = [e["name"] for e in entries if (e["kind"], e["exptime"]) == (kind, exposure_s)]
        return self._raw(named)

    def science(self, frames: int) -> list[Path]:
        """Return the first science frames."""
        return self._raw([entry["name"] for entry in self.table["frames"][:frames]])

    def inputs(self, recipe: str, frames: int) -> list[Path]:
        """Return the raw frames that a recipe starts from, or the files that one before it made.

        Raises
        ------
        Failed
            The recipe before has not been run.
        """
        if recipe == "makeProcessedDark":
            return self._calibrations("dark", self.table["frames"][0]["exptime"])
        if recipe in CALIBRATIONS:
            lamp_s = next(e["exptime"] for e in self.table["calibrations"] if e["kind"] == "flat")
            return self._calibrations("flat", lamp_s) + self._calibrations("dark", lamp_s)
        if recipe in AFTER:
            before, pattern, _ = AFTER[recipe]
            found = sorted(self.products(before, frames).glob(pattern))
            if not found:
                raise Failed(f"{recipe} needs the products of {before}")
            return found
        return self.science(frames)

    def products(self, recipe: str, frames: int) -> Path:
        """Return the folder for the products of a recipe."""
        return self.folder / "products" / f"{recipe}_{frames}"

    def calibrate(self) -> None:
        """Make dark and flat, unless they lie there."""
        if not list((self.folder / "calibrations").glob("processed_flat/*.fits")):
            for recipe in CALIBRATIONS[:2]:
                self.reduce(recipe, 0, 2)

    def reduce(self, recipe: str, frames: int, jobs: int, options: Sequence[str] = ()) -> Ended:
        """Run a recipe into an empty folder, as from the shell, with a log beside the folder."""
        words = self.words(recipe, frames, jobs, options)
        return run(self.program, self.place(recipe), *words)

    def place(self, recipe: str) -> Path:
        """Return the folder that a recipe is run from: its `calibrations` are used."""
        if recipe not in APART:
            return self.folder
        place = self.folder / "apart"
        if not place.exists():
            shutil.copytree(self.folder / "calibrations", place / "calibrations")
        return place

    def words(self, recipe: str, frames: int, jobs: int, options: Sequence[str] = ()) -> list[str]:
        """Return the arguments of such a run, its folder emptied and its list written."""
        inputs = self.inputs(recipe, frames)
        out = self.products(recipe, frames)
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        self.log(recipe, frames).unlink(missing_ok=True)
        names = self.folder / f"{recipe}_{frames}.list"
        names.write_text("".join(f"{path.relative_to(self.folder)}\n" for path in inputs))
        return [
            "run", recipe, "--inputs", f"@{names}", "--outdir", str(out), "--quiet",
            "--jobs", str(jobs), "--log", str(self.log(recipe, frames)), *options,
        ]  # fmt: skip

    def log(self, recipe: str, frames: int) -> Path:
        """Return the log of the last run."""
        return self.folder / "products" / f"{recipe}_{frames}.log"


def run(program: Path, folder: Path, *words: str) -> Ended:
    """Run ``f2yaml`` in a folder and measure it.

    Raises
    ------
    Failed
        Its exit status is not 0.
    """
    # As a user's: compiled bytecode is kept, though not among the sources.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    ended = measured([program, *words], folder, environment)
    if ended.status:
        raise Failed(f"f2yaml {' '.join(words[:4])} ended with {ended.status}:\n{ended.errors}")
    return ended
