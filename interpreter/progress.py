"""Events to what people see: a live line on a terminal, plain lines elsewhere, a log file."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Final, Self, TextIO

from f2yaml.interpreter.errors import OutputError, RequestError
from f2yaml.interpreter.estimate import size_in_words
from f2yaml.interpreter.events import (
    Announced,
    Event,
    FileWritten,
    FrameDone,
    Noted,
    Resumed,
    RunFinished,
    RunStarted,
    StepAdvanced,
    StepFinished,
    Summarised,
)
from f2yaml.interpreter.liveview import LiveView, largest_memory
from f2yaml.interpreter.terminal import table_lines
from rich.console import Console

if TYPE_CHECKING:
    from rich.live import Live

#: How often the live line is drawn [1/s].
_REFRESH: Final = 4
_NONE: Final[Mapping[int, float]] = MappingProxyType({})


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
    weights : mapping of int to float
        Expected time of each step, by its number, for the time that is left.
    """

    def __init__(
        self,
        *,
        quiet: bool,
        verbose: bool,
        log: Path | None,
        stream: TextIO,
        weights: Mapping[int, float] = _NONE,
    ) -> None:
        self.quiet, self.verbose = quiet, verbose
        self._log_path = log
        self._log: TextIO | None = None
        self._console = Console(file=stream, highlight=False)
        self._view = LiveView(weights) if self._console.is_terminal and not quiet else None
        self._live: Live | None = None
        self._total = 0

    def __enter__(self) -> Self:
        if self._log_path is not None:
            _check_log(self._log_path)
            try:
                self._log = self._log_path.open("a", encoding="utf-8")
            except OSError as error:
                raise OutputError(
                    f"the log {self._log_path} cannot be written: {error.strerror}",
                    "--log asks for it",
                    "name another file",
                ) from error
        if self._view is not None:
            from rich.live import Live

            self._live = Live(
                self._view,
                console=self._console,
                refresh_per_second=_REFRESH,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
        if self._log is not None:
            if error is not None:
                self._record(f"FAILED: {error}")
            self._log.close()

    @property
    def logs(self) -> bool:
        """Whether there is a log file."""
        return self._log is not None

    def _no_log(self, error: OSError) -> None:
        """Go on without the log, and say so once."""
        log, self._log = self._log, None
        with suppress(OSError):
            if log is not None:
                log.close()
        with suppress(OSError):
            self._console.print(
                f"note: the log {self._log_path} ends here: {error.strerror}", markup=False
            )

    def show(self, event: Event) -> None:
        """Show one event; those of a step at work may come from any thread."""
        if self._view is not None:
            self._view.take(event)
        if isinstance(event, StepAdvanced):
            return
        text = self._text(event)
        if text is not None:
            self._record(text)
            if not self.quiet and (self.verbose or not isinstance(event, FrameDone)):
                with suppress(OSError):  # what cannot be shown is no reason to lose a product
                    self._console.print(text, markup=False, soft_wrap=True)

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
            case Resumed():
                return f"resumed after step {event.number} of {event.steps}, {event.name}"
            case Noted():
                return f"note: {event.text}"
            case Announced():
                return event.text
            case FileWritten():
                return f"wrote {event.path}"
            case RunFinished():
                seen = 0 if self._view is None else self._view.peak
                peak = size_in_words(max(seen, largest_memory()))
                return f"done in {event.seconds:.1f} s, with up to {peak} of memory"
            case Summarised(table):
                return "\n".join(table_lines(table.title, table.columns, table.rows, table.notes))
            case FrameDone():
                return f"        {event.name}" if self.verbose else None
            case _:
                return None

    def _record(self, text: str) -> None:
        if self._log is not None:
            stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
            try:
                self._log.writelines(f"{stamp} {line}\n" for line in text.split("\n"))
                self._log.flush()
            except OSError as error:  # no reason to lose what the run makes
                self._no_log(error)


def _check_log(path: Path) -> None:
    """Refuse to append to what is no log: a frame, a list.

    Raises
    ------
    RequestError
        The file has other lines, or the name of a FITS file.
    """
    try:
        regular = path.is_file()
        with path.open("rb") if regular else io.BytesIO() as file:
            first = file.readline(200)
    except OSError:
        return  # told where it is opened
    stamped = re.match(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", first)
    if re.search(r"\.fits(\.(gz|bz2|fz))?$", path.name, re.IGNORECASE) or (first and not stamped):
        raise RequestError(
            f"--log {path} is no log of f2yaml",
            "a log is appended to; this file would be spoilt",
            "name a new file, or a log that is there",
        )
