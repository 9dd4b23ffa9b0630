"""What a night has made before, and whether that is still what it would make now."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from f2yaml.interpreter.leftovers import aside
from f2yaml.interpreter.night.graph import Job

NAME = "night.json"
_VERSION = 1


@dataclass(frozen=True)
class Made:
    """What one job has made.

    Parameters
    ----------
    asked : mapping of str to str
        What it was made of, by what that is: inputs, recipe, calibrations, options.
    products : mapping of str to (size, modification time in ns)
    seconds : float
    """

    asked: Mapping[str, str]
    products: Mapping[str, tuple[int, int]]
    seconds: float = 0.0


@dataclass
class Ledger:
    """The jobs of a folder that have been done.

    Parameters
    ----------
    folder : Path
    jobs : dict of str to Made
    trouble : str
        Why what was kept of them cannot be used; empty if it can, or if there is nothing.
    """

    folder: Path
    jobs: dict[str, Made] = field(default_factory=dict)
    trouble: str = ""

    @classmethod
    def read(cls, folder: Path) -> Ledger:
        """Read ``night.json`` of a folder; one that cannot be used counts as none."""
        try:
            return cls(folder, _parsed((folder / NAME).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls(folder)
        except OSError as error:
            return cls(folder, trouble=error.strerror or str(error))
        except ValueError as error:
            return cls(folder, trouble=str(error))

    def record(self, name: str, made: Made) -> None:
        """Keep what a job has made, on disk at once.

        Raises
        ------
        OSError
            The folder cannot be written.
        """
        self.jobs[name] = made
        document = {"version": _VERSION, "jobs": {n: asdict(m) for n, m in self.jobs.items()}}
        path = self.folder / NAME
        part = aside(path)
        try:
            with part.open("w", encoding="utf-8") as file:
                json.dump(document, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def names(self) -> set[str]:
        """Return the file names of all products."""
        return {Path(name).name for made in self.jobs.values() for name in made.products}

    def stale(self, job: Job, asked: Mapping[str, str]) -> str:
        """Return why a job has to be done, an empty text if it need not be."""
        made = self.jobs.get(job.name)
        if made is None:
            return "not done yet"
        for what in (*asked, *made.asked):
            if made.asked.get(what) != asked.get(what):
                return _changed(what, made.asked.get(what), asked.get(what))
        for name, known in made.products.items():
            if stamp(self.folder / name) != known:
                return f"{name} is gone or altered"
        return ""


def _parsed(text: str) -> dict[str, Made]:
    """Return the jobs in the text of a ledger.

    Raises
    ------
    ValueError
        It is none, or of another version.
    """
    try:
        document = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    try:
        if document["version"] == _VERSION:
            return {str(name): _made(entry) for name, entry in document["jobs"].items()}
    except (LookupError, TypeError, AttributeError, OverflowError, ValueError) as error:
        raise ValueError("it is not what a night keeps of its runs") from error
    raise ValueError(f"its version is {document['version']!r}, not {_VERSION}")


def _made(entry: Any) -> Made:
    products = {str(k): (int(v[0]), int(v[1])) for k, v in entry["products"].items()}
    asked = {str(k): str(v) for k, v in entry["asked"].items()}
    return Made(asked, products, float(entry["seconds"]))


def _changed(what: str, before: str | None, now: str | None) -> str:
    if what.startswith("input "):
        name = what.removeprefix("input ")
        return f"{name} is {'new' if before is None else 'gone' if now is None else 'altered'}"
    return f"{what} is another"


def stamp(path: Path) -> tuple[int, int] | None:
    """Return size and time of modification [ns] of a file, None where there is none."""
    try:
        about = path.stat()
    except OSError:
        return None
    return about.st_size, about.st_mtime_ns


def asked_of(
    job: Job, asked: Mapping[str, Mapping[str, str]], recipe: str, options: Sequence[str]
) -> dict[str, str]:
    """Return what decides a job's products.

    Parameters
    ----------
    job : Job
    asked : mapping
        The same of the jobs before.
    recipe : str
        Text of the flattened recipe.
    options : sequence of str
        Settings of the command line and of the configuration that the recipe takes.
    """
    from importlib.metadata import version

    made = {f"input {path.name}": str(stamp(path)) for path in job.inputs}
    made["recipe"] = _digest([recipe])
    made["options"] = " ".join(options)
    made["calibrations of the database"] = " ".join(sorted(job.uses))
    for name in sorted(job.needs):
        made[f"product of {name}"] = _digest(json.dumps(asked.get(name, {}), sort_keys=True))
    made["version of f2yaml"] = version("f2yaml")
    return made


def _digest(words: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:20]
