"""Events to what people see: a live line on a terminal, plain lines elsewhere, a log file."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from f2yaml.interpreter.errors import OutputError
from f2yaml.interpreter.events import (
    Event,
    FileWritten,
    FrameDone,
    Noted,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
)
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars


class Progress:
    """Shows events.

    Parameters
    ----------
    quiet, verbose : bool
        Show nothing; or show every frame.
    log : Path, optional
        File that gets a line for everything, appended.
    stream : text stream
        Where progress goes; a live view only if it is a terminal.
    """

    def __init__(self, *, quiet: bool, verbose: bool, log: Path | None, stream: TextIO) -> None:
        self.quiet, self.verbose = quiet, verbose
        self._log_path = log
        self._log: TextIO | None = None
        self._console = Console(file=stream, highlight=False)
        self._live = self._console.is_terminal and not quiet
        self._bars: Bars | None = None
        self._tasks: dict[int, object] = {}
        self._total = 0

    def __enter__(self) -> Self:
        if self._log_path is not None:
            try:
                self._log = self._log_path.open("a", encoding="utf-8")
            except OSError as error:
                raise OutputError(
                    f"the log {self._log_path} cannot be written: {error.strerror}",
                    "--log asks for it",
                    "name another file",
                ) from error
        if self._live:
            self._bars = Bars(
                TextColumn("[progress.description]{task.description}"),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=self._console,
                transient=True,
            )
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars is not None:
            self._bars.stop()
        if self._log is not None:
            if error is not None:
                self._record(f"FAILED: {error}")
            self._log.close()

    def show(self, event: Event) -> None:
        """Show one event."""
        text = self._text(event)
        if text is not None:
            self._record(text)
            if not self.quiet and (self.verbose or not isinstance(event, FrameDone)):
                self._console.print(text, markup=False, soft_wrap=True)
        if self._bars is not None:
            self._move(event)

    def _text(self, event: Event) -> str | None:
        match event:
            case RunStarted():
                self._total = event.steps
                return f"{event.recipe}: {event.steps} steps on {event.frames} frames"
            case StepFinished():
                line = (
                    f"{event.number:3d}/{self._total} {event.name:24s} {event.frames:4d} frames "
                    f"{event.seconds:7.2f} s   {event.health}"
                )
                return line.rstrip()
            case Noted():
                return f"note: {event.text}"
            case FileWritten():
                return f"wrote {event.path}"
            case RunFinished():
                return f"done in {event.seconds:.1f} s"
            case FrameDone():
                return f"        {event.name}" if self.verbose else None
            case _:
                return None

    def _move(self, event: Event) -> None:
        assert self._bars is not None
        if isinstance(event, StepStarted):
            self._tasks[event.number] = self._bars.add_task(event.name, total=event.frames)
        elif isinstance(event, FrameDone):
            self._bars.advance(self._tasks[event.number])  # type: ignore[arg-type]
        elif isinstance(event, StepFinished):
            self._bars.remove_task(self._tasks.pop(event.number))  # type: ignore[arg-type]

    def _record(self, text: str) -> None:
        if self._log is not None:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
            self._log.write(f"{stamp} {text}\n")
            self._log.flush()
