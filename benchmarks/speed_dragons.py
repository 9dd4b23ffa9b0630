"""The same night through DRAGONS, where it is installed, and through f2yaml.

Only the commands of DRAGONS are used: ``caldb init``, ``caldb add`` and ``reduce``, with a
configuration file of their own, in a folder of their own.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from speed_night import Failed, Night
from speed_process import Ended, measured

COMMANDS = ("reduce", "dataselect", "caldb")
#: What is done with both, and how DRAGONS is asked for it.
WORK = {
    "makeProcessedDark": (),
    "makeProcessedFlat": (),
    "ultradeep": ("-r", "ultradeep"),
}


def found_in(place: Path) -> Path:
    """Return the folder of DRAGONS' commands: a folder, an environment, or one of the commands.

    Raises
    ------
    Failed
        A command is missing.
    """
    for folder in (place, place / "bin", place.parent):
        if all(shutil.which(name, path=str(folder)) for name in COMMANDS):
            return folder.resolve()
    raise Failed(f"DRAGONS is not in {place}: {', '.join(COMMANDS)} are looked for there")


def beside(place: Path, night: Night, frames: int, jobs: int) -> list[dict[str, Any]]:
    """Do the same work with DRAGONS and with f2yaml.

    Parameters
    ----------
    place : Path
        As for `found_in`.
    night : Night
    frames : int
        Science frames.
    jobs : int
        Of f2yaml; DRAGONS works on one frame at a time.

    Raises
    ------
    Failed
        A command ended with another status than 0.
    """
    folder = found_in(place)
    work = night.folder / "dragons"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    configuration = work / "dragonsrc"
    configuration.write_text(f"[calibs]\ndatabases = {work / 'cal_manager.db'} get store\n")
    environment = os.environ | {
        "PATH": f"{folder}{os.pathsep}{os.environ.get('PATH', '')}",
        "DRAGONSRC": str(configuration),
    }
    # The interpreter that runs this benchmark must not lend its own packages.
    environment.pop("PYTHONPATH", None)
    environment.pop("VIRTUAL_ENV", None)

    def dragons(*words: str) -> Ended:
        program = shutil.which(words[0], path=str(folder))
        assert program is not None
        ended = measured([program, *words[1:]], work, environment)
        if ended.status:
            raise Failed(f"DRAGONS: {' '.join(words)} ended with {ended.status}:\n{ended.errors}")
        return ended

    dragons("caldb", "init", "-c", str(configuration))
    pairs = []
    for recipe, options in WORK.items():
        names = work / f"{recipe}.list"
        names.write_text("".join(f"{path}\n" for path in night.inputs(recipe, frames)))
        theirs = dragons("reduce", f"@{names}", *options, "-c", str(configuration))
        ours = night.reduce(recipe, frames, jobs)
        pairs.append({"work": recipe, "dragons": _figures(theirs), "f2yaml": _figures(ours)})
    return pairs


def _figures(ended: Ended) -> dict[str, Any]:
    return {k: v for k, v in asdict(ended).items() if k not in ("output", "errors", "status")}
