"""The installed program in a process of its own, and nights to feed it."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

PROGRAM = Path(sys.executable).with_name("f2yaml")
Edit = Callable[[fits.HDUList], None]
Done = subprocess.CompletedProcess[str]


@dataclass(frozen=True)
class Program:
    """``f2yaml`` as the shell starts it, away from the configuration of whoever runs the tests."""

    home: Path

    @property
    def environment(self) -> dict[str, str]:
        own = {k: v for k, v in os.environ.items() if k not in ("F2YAMLRC", "PYTHONWARNINGS")}
        path = f"{PROGRAM.parent}{os.pathsep}{own.get('PATH', '')}"
        # A warning of Python on the terminal would be seen on standard error.
        return {**own, "HOME": str(self.home), "PATH": path, "PYTHONWARNINGS": "default"}

    def __call__(
        self,
        *words: object,
        cwd: Path,
        check: bool = True,
        stdin: str | None = None,
        **options: Any,
    ) -> Done:
        """Run a command; with `check` it has to succeed. No run may end in a traceback."""
        given: dict[str, Any] = {"input": stdin} if stdin is not None else {}
        if stdin is None:
            given["stdin"] = subprocess.DEVNULL
        done = subprocess.run(
            [PROGRAM, *map(str, words)],
            cwd=cwd,
            env=self.environment,
            text=True,
            capture_output=True,
            timeout=300,
            check=False,
            **given,
            **options,
        )
        assert "Traceback" not in done.stderr, done.stderr
        assert "Warning" not in done.stderr, done.stderr
        if check:
            assert done.returncode == 0, done.stderr
        return done

    def start(self, *words: object, cwd: Path) -> subprocess.Popen[str]:
        """Start a command in a process group of its own, as a shell does, and do not wait."""
        return subprocess.Popen(
            [PROGRAM, *map(str, words)],
            cwd=cwd,
            env=self.environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def shell(self, line: str, cwd: Path) -> Done:
        """Run a line in a shell, where a failure anywhere in a pipe counts."""
        return subprocess.run(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=cwd,
            env=self.environment,
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=300,
            check=False,
        )


@dataclass(frozen=True)
class Night:
    """A simulated night of raw files in `raw`; with `dark` and `flat` once these are made."""

    raw: Path
    science: tuple[Path, ...]
    darks_5s: tuple[Path, ...]
    darks_2s: tuple[Path, ...]
    flats: tuple[Path, ...]
    dark: Path = Path()
    flat: Path = Path()
    database: Path = Path()

    @classmethod
    def of(cls, raw: Path) -> Night:
        """Find the files that the scenarios `tiny` and `small` write."""

        def found(pattern: str) -> tuple[Path, ...]:
            return tuple(sorted(raw.glob(pattern)))

        return cls(
            raw,
            found("S20200104*.fits"),
            found("S20200107S00[45]*.fits"),
            found("S20200107S003*.fits"),
            found("S20200108*.fits"),
        )

    @property
    def user_cal(self) -> tuple[str, ...]:
        """The words that name the calibrations on a command line."""
        given = (f"processed_dark:{self.dark}", f"processed_flat:{self.flat}")
        return ("--user-cal", given[0], "--user-cal", given[1])


def edited(source: Path, target: Path, edit: Edit) -> Path:
    """Write a copy of a FITS file with something changed."""
    shutil.copyfile(source, target)
    with fits.open(target, mode="update", output_verify="ignore") as hdus:
        edit(hdus)
    return target


def cards(changes: Mapping[str, Any], *, extension: int = 0) -> Edit:
    """Return an edit that sets header cards; a value of None takes the card out."""

    def edit(hdus: fits.HDUList) -> None:
        for key, value in changes.items():
            if value is None:
                del hdus[extension].header[key]
            else:
                hdus[extension].header[key] = value

    return edit


def checksums(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the checksum of each file, folders entered."""
    files = [f for p in paths for f in (p.rglob("*") if p.is_dir() else [p]) if f.is_file()]
    return {f: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def names(folder: Path) -> list[str]:
    """Return the names of everything below a folder, hidden files too."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def planes(path: Path, wanted: Sequence[str] = ("SCI", "VAR", "DQ")) -> dict[str, Any]:
    """Return the planes of a product."""
    with fits.open(path, memmap=False) as hdus:
        return {name: hdus[name].data for name in wanted}


def filled(value: float) -> Edit:
    """Return an edit that gives every pixel a value, or one more: no detector is so even."""

    def edit(hdus: fits.HDUList) -> None:
        data = np.full_like(hdus[1].data, value)
        data[..., ::2] += 1
        hdus[1].data = data

    return edit


def cut(ny: int, nx: int) -> Edit:
    def edit(hdus: fits.HDUList) -> None:
        for hdu in hdus[1:]:
            if hdu.is_image:
                hdu.data = hdu.data[..., :ny, :nx].copy()

    return edit


def comments(path: Path) -> str:
    """Return the comments of a header in one piece, as cards break long ones at 72 characters."""
    cards = [f"{text:72s}" for text in fits.getheader(path)["COMMENT"]]
    return "".join(cards)


def refused(done: Done, status: int, *texts: str) -> None:
    """Assert the exit status, each text, and that why and fix are said for every problem."""
    assert done.returncode == status, done.stderr
    for text in texts:
        assert text in done.stderr, f"{text!r} is not in\n{done.stderr}"
    assert done.stdout == ""
    assert done.stderr.count("  fix:  ") >= 1
    assert done.stderr.count("  why:  ") == done.stderr.count("  fix:  "), done.stderr
