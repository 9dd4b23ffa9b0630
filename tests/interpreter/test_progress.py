"""What a run shows while it goes: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest
from f2yaml.interpreter.algorithms import compiling
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.events import (
    Announced,
    Event,
    FrameDone,
    Noted,
    RunFinished,
    RunStarted,
    StepAdvanced,
    StepFinished,
    StepStarted,
)
from f2yaml.interpreter.liveview import LiveView, tree_memory
from f2yaml.interpreter.progress import Progress

#: Long enough for some drawings of the live line.
PAUSE = 0.7


def _run() -> Iterator[Event]:
    """A run of three steps on four frames; the first two are done together on each frame."""
    yield RunStarted("made_up", 3, 4)
    yield StepStarted(1, "prepare", 4)
    yield StepStarted(2, "addVAR", 4)
    for n in range(3):
        yield FrameDone(1, f"a{n}.fits")
        yield FrameDone(2, f"a{n}.fits")
    yield Announced("PAUSE")
    yield StepFinished(1, "prepare", 4, 0.5)
    yield StepFinished(2, "addVAR", 4, 0.5)
    yield StepStarted(3, "skyCorrect", 4)
    yield StepAdvanced(0.5)
    yield Announced("PAUSE")
    yield StepFinished(3, "skyCorrect", 4, 1.0, "sky 4714.0 e-/pix")
    yield Noted("one frame is faint")
    yield RunFinished(2.0)


def _show(progress: Progress) -> None:
    for event in _run():
        if isinstance(event, Announced):
            time.sleep(PAUSE)
        else:
            progress.show(event)


# --- on a terminal ------------------------------------------------------------------------------


@contextmanager
def _terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[TextIO, list[bytes]]]:
    """A real pseudo-terminal of 120 columns: its end to write to, and what was written."""
    import fcntl
    import pty
    import struct
    import termios

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    written: list[bytes] = []

    def read() -> None:
        while True:
            try:
                block = os.read(master, 65536)
            except OSError:  # the other end is closed
                return
            if not block:
                return
            written.append(block)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        yield stream, written
    reader.join()
    os.close(master)


def _screen(text: str) -> list[str]:
    """Return the lines that a terminal shows in the end."""
    lines, row, column = [""], 0, 0
    for piece in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
        if piece == "\r":
            column = 0
        elif piece == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif piece.endswith("A"):
            row = max(0, row - int(piece[2:-1] or 1))
        elif piece == "\x1b[2K":
            lines[row] = ""
        elif not piece.startswith("\x1b"):
            lines[row] = (
                lines[row].ljust(column)[:column] + piece + lines[row][column + len(piece) :]
            )
            column += len(piece)
    return [line.rstrip() for line in lines]


def test_a_terminal_shows_step_frames_rate_times_and_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with _terminal(monkeypatch) as (stream, written):
        weights = {1: 1.0, 2: 1.0, 3: 2.0}
        with Progress(
            quiet=False, verbose=False, log=None, stream=stream, weights=weights
        ) as progress:
            _show(progress)
    text = b"".join(written).decode()
    seen = re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", text)
    assert re.search(r"1-2/3 prepare \.\.\. addVAR .* 3/4 frames +\d+\.\d frames/s", seen)
    assert re.search(r"3/3 skyCorrect .* 2/4 frames +\d+\.\d frames/s", seen)
    assert re.search(r"about \d+\.\d s left, \d+\.\d s gone, [\d.]+ [MG]iB", seen)
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 1  # the cursor is back
    shown = [line for line in _screen(text) if line]
    assert [re.sub(r"[\d.]+ [MG]iB", "N MiB", line) for line in shown] == [
        "made_up: 3 steps on 4 frames",
        "  1/3 prepare                     4 frames    0.50 s",
        "  2/3 addVAR                      4 frames    0.50 s",
        "  3/3 skyCorrect                  4 frames    1.00 s   sky 4714.0 e-/pix",
        "note: one frame is faint",
        "done in 2.0 s, with up to N MiB of memory",
    ]


def test_the_line_is_drawn_no_more_than_some_times_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two pauses and nine lines: a drawing each quarter of a second, and one after each line."""
    with (
        _terminal(monkeypatch) as (stream, written),
        Progress(quiet=False, verbose=False, log=None, stream=stream) as progress,
    ):
        _show(progress)
    drawn = b"".join(written).count(b" gone, ")
    assert 2 <= drawn <= 4 * 2 * PAUSE + 12


# --- elsewhere ----------------------------------------------------------------------------------


def test_elsewhere_lines_are_plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    stream = io.StringIO()
    with Progress(quiet=False, verbose=False, log=tmp_path / "log", stream=stream) as progress:
        _show(progress)
        progress.show(Announced("compiling"))
    text = stream.getvalue()
    assert all(c.isprintable() or c == "\n" for c in text)
    assert text.splitlines()[-1] == "compiling"
    assert re.fullmatch(
        r"done in 2\.0 s, with up to [\d.]+ [MG]iB of memory", text.splitlines()[-2]
    )
    assert "skyCorrect" in (tmp_path / "log").read_text()


# --- the time that is left ----------------------------------------------------------------------


class _Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_time_left_follows_the_pace_of_the_run() -> None:
    """Steps of 10, 10 and 80 s. At first the forecast holds. When half of the first step has taken
    20 s, a machine is slower than expected: (20 + 5) / (5 + 5) of the 95 s. Near the end the
    measured pace alone counts, but for the share of trust."""
    clock = _Clock()
    view = LiveView({1: 10.0, 2: 10.0, 3: 80.0}, clock)
    view.take(RunStarted("made_up", 3, 4))
    assert view.left() == pytest.approx(100.0)
    view.take(StepStarted(1, "prepare", 4))
    view.take(FrameDone(1, "a"))
    view.take(FrameDone(1, "b"))
    clock.now += 20.0
    assert view.elapsed == 20.0
    assert view.left() == pytest.approx(95.0 * 25.0 / 10.0)
    view.take(StepFinished(1, "prepare", 4, 20.0))
    view.take(StepFinished(2, "addVAR", 4, 0.0))
    view.take(StepStarted(3, "skyCorrect", 4))
    view.take(StepAdvanced(0.75))
    clock.now += 140.0
    assert view.left() == pytest.approx(20.0 * 165.0 / 85.0)
    view.take(StepFinished(3, "skyCorrect", 4, 120.0))
    assert view.left() == 0.0


def test_without_a_forecast_no_time_is_told() -> None:
    view = LiveView({})
    view.take(RunStarted("made_up", 3, 4))
    assert view.left() is None


def test_memory_is_looked_up_twice_a_second_at_most() -> None:
    clock = _Clock()
    view = LiveView({}, clock)
    first = view.look()
    view.memory = 1
    assert view.look() == 1
    clock.now += 0.6
    assert view.look() > 1
    assert view.peak >= first > 0


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
def test_memory_is_that_of_the_children_too() -> None:
    code = "held = b'x' * (200 << 20); print('ready', flush=True); input()"
    before = tree_memory()
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        child.stdout.readline()
        held = tree_memory() - before
        child.communicate("\n")
    assert 200 << 20 < held < 240 << 20


# --- who tells it -------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_engine_tells_how_far_it_is(jobs: int) -> None:
    engine = Engine(jobs)
    assert engine.map(abs, [-1, -2]) == [1, 2]
    told: list[float] = []
    engine.on_progress = told.append
    assert engine.map(abs, [-1, -2, -3, -4]) == [1, 2, 3, 4]
    assert sorted(told) == [0.25, 0.5, 0.75, 1.0]


# --- kernels ------------------------------------------------------------------------------------

_COMPILE = """
import numpy as np
from f2yaml.interpreter.algorithms import compiling, morphology
with compiling.told(print):
    for _ in range(2):
        morphology.dilate(np.eye(9, dtype=np.uint8), 2.0)
"""


def test_compiling_is_told_once_and_only_when_it_has_to_be(tmp_path: Path) -> None:
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    said = [
        subprocess.run(
            [sys.executable, "-c", _COMPILE], env=environment, text=True, check=True,
            stdout=subprocess.PIPE,
        ).stdout
        for _ in range(2)
    ]  # fmt: skip
    line = "compiling kernels for this machine, once; takes a minute or two\n"
    assert said == [line, ""]


def test_a_cache_that_cannot_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from f2yaml.interpreter.algorithms import jit

    monkeypatch.setattr(compiling, "not_kept", [])
    monkeypatch.setattr(compiling, "_told", [])
    asked: list[bool] = []

    def njit(*, cache: bool, **_: object) -> object:
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function 'f': no locator available for file 'f.py'")
        return lambda function: function

    monkeypatch.setattr(jit, "njit", njit)
    assert jit.kernel(abs) is abs
    assert asked == [True, False]
    said: list[str] = []
    with compiling.told(said.append):
        compiling.begun()
        compiling.begun()
    assert len(said) == 1
    assert "at every run" in said[0]
    assert "NUMBA_CACHE_DIR" in said[0]


def test_other_errors_of_the_compiler_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from f2yaml.interpreter.algorithms import jit

    def njit(**_: object) -> object:
        raise RuntimeError("another one")

    monkeypatch.setattr(jit, "njit", njit)
    with pytest.raises(RuntimeError, match="another one"):
        jit.kernel(abs)
