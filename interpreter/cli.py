"""The command line: arguments -> a command -> exit status.

Nothing heavy is imported here: each command imports what it needs when it runs.
"""

from __future__ import annotations

import argparse
import atexit
import errno
import gc
import importlib
import io
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any, NoReturn

from f2yaml.interpreter.terminal import printable

COMMANDS = {
    "run": "reduce frames with a recipe",
    "plan": "what a run would do: steps, values, calibrations, files, memory and time",
    "validate": "check recipes, rules, scenarios and configuration",
    "schema": "JSON Schema of recipes, rules, scenarios and configuration, for editors",
    "show": "a recipe, primitive, tag, DQ bit or product; without a name, the catalogue",
    "new": "start a recipe of your own from one there is",
    "typewalk": "walk folders and show each file's tags",
    "dataselect": "pick files by tags and by an expression on descriptors",
    "showd": "table of descriptor values",
    "caldb": "the calibration database",
    "night": "reduce everything in a folder of raw frames",
    "simulate": "write a raw night with known truth",
    "preview": "a PNG of a product",
    "report": "an HTML page of a product, or of all products in a folder; needs no network",
    "replay": "run again what made a product, and say whether the pixels are the same",
    "compile": "compile the kernels now, not in the first run",
}
EPILOG = "Exit status: 0 done, 1 the reduction failed, 2 the request is wrong, 130 interrupted."


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one message, as all errors of f2yaml are."""

    def error(self, message: str) -> NoReturn:
        fix = f"`{self.prog} --help` lists what it takes"
        self.exit(2, printable(f"{self.prog}: {message}\n  fix:  {fix}\n"))

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print; what cannot be printed is told, which argparse does not."""
        if message:
            (file or sys.stderr).write(message)


def build_parser(command: str | None) -> argparse.ArgumentParser:
    """Return the parser, with the arguments of `command` only."""
    parser = _Parser(
        prog="f2yaml",
        description="Reduce FLAMINGOS-2 images with recipes written in YAML.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for name, text in COMMANDS.items():
        sub = subparsers.add_parser(name, help=text, description=f"{text[:1].upper()}{text[1:]}.")
        sub.add_argument("--debug", action="store_true", help="show the full trace of an error")
        if name == command:
            module = importlib.import_module(f"f2yaml.interpreter.commands.{name}")
            module.add_arguments(sub)
            sub.set_defaults(help_text=sub.format_help)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    _start_fast()
    _open_streams()
    try:
        return _heeding(argv)
    finally:
        _leave_in_peace()


@cache
def _leave_in_peace() -> None:
    """Ignore signals once Python leaves: what is then left to do is over in a moment."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            atexit.register(signal.signal, getattr(signal, name), signal.SIG_IGN)


def _heeding(argv: Sequence[str] | None) -> int:
    """Run the command line, heeding signals."""
    try:
        _heed_signals()
        status = _main(argv)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _interrupted()
    except OSError as error:
        return _interrupted() if _ended_by else _not_printed(error)
    except Exception:
        if not _ended_by:
            raise
        return _interrupted()
    return status


def _interrupted() -> int:
    print("interrupted; products already written are complete", file=sys.stderr)
    return 130


def _heed_signals() -> None:
    """Let the end of a session or of the machine's day do what Ctrl-C does; nohup is respected."""
    signal.signal(signal.SIGTERM, _terminated)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _terminated)
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) != signal.SIG_IGN:
        signal.signal(hangup, _terminated)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _lost


def _lost(lost: sys.UnraisableHookArgs) -> None:
    """Repeat a signal that came while Python let go of an object, which must not fail.

    It would be printed there, and the run go on. A moment later, as this must not fail either.
    """
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    import threading

    main = threading.main_thread().ident
    again = threading.Timer(0.01, signal.pthread_kill, (main, signal.SIGTERM))
    again.daemon = True
    again.start()


def _expand_homes(arguments: argparse.Namespace) -> None:
    """Replace ``~`` at the beginning of paths: shells leave that in ``--outdir=~/reduced``."""
    from f2yaml.interpreter.homes import at_home

    for name, value in vars(arguments).items():
        if isinstance(value, os.PathLike):
            setattr(arguments, name, at_home(os.fspath(value)))
        elif isinstance(value, list) and value and isinstance(value[0], os.PathLike):
            setattr(arguments, name, [at_home(os.fspath(path)) for path in value])


def _open_streams() -> None:
    """Give streams that were closed before the start (``>&-``) the null device.

    The next file to be opened would else take their place, and get what is printed.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            stream = open(os.devnull, "w" if number else "r", encoding="utf-8")  # noqa: PTH123, SIM115
            setattr(sys, name, stream)


def _not_printed(error: OSError) -> int:
    """Say that standard output cannot be written; any other error is raised again."""
    broken = isinstance(error, BrokenPipeError)
    if not broken and (error.filename is not None or not _stdout_fails()):
        raise error
    # Keep the interpreter from writing once more.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if broken:
        return 0  # the reader of a pipe has seen enough
    print(
        f"f2yaml: standard output cannot be written: {error.strerror}\n"
        "  why:  what was to be shown there is lost; products already written are complete\n"
        "  fix:  free some space, or send the output elsewhere",
        file=sys.stderr,
    )
    return 1


def _no_name(error: Exception) -> bool:
    """Say that a name can be no file's, if that is what went wrong."""
    long = isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG
    if not (long or isinstance(error, UnicodeEncodeError)):
        return False
    name = error.filename if isinstance(error, OSError) else getattr(error, "object", "")
    what = "File name too long" if long else "it is no text in UTF-8"
    print(
        printable(
            f"f2yaml: {str(name)[:200]} cannot be used: {what}\n"
            "  why:  no file can have this name, or no database hold it\n"
            "  fix:  check the name"
        ),
        file=sys.stderr,
    )
    return True


def _stdout_fails() -> bool:
    try:
        sys.stdout.flush()
        os.write(sys.stdout.fileno(), b"\n")  # where nothing is buffered, a flush tells nothing
    except io.UnsupportedOperation:  # no file at all
        return False
    except OSError:
        return True
    return False


def _start_fast() -> None:
    """Leave out what start-up does not need.

    Modules make no garbage, but the collector looks through all of them some hundred times while
    they are loaded: a fifth of the time. Pydantic looks for plug-ins in every package installed.
    """
    gc.set_threshold(50_000, 20, 100)
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def _main(argv: Sequence[str] | None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    command = next((word for word in words if not word.startswith("-")), None)
    if command is not None and command not in COMMANDS:
        return _unknown(command)
    parser = build_parser(command)
    try:
        arguments, extra = parser.parse_known_args(words)
    except SystemExit as stop:
        sys.stdout.flush()
        return int(stop.code or 0)
    if extra:
        return _not_taken(arguments, extra)
    if arguments.version:
        from importlib.metadata import version

        print(f"f2yaml {version('f2yaml')}")
        return 0
    if arguments.command is None:
        parser.print_help()
        return 2
    _expand_homes(arguments)
    try:
        os.getcwd()  # noqa: PTH109 - pathlib is not loaded by --help
    except FileNotFoundError:
        print(
            "f2yaml: the current folder is no longer there\n"
            "  why:  files and the configuration are looked for in it\n"
            "  fix:  go to a folder that exists (cd)",
            file=sys.stderr,
        )
        return 1
    return _run(arguments)


def _unknown(command: str) -> int:
    from f2yaml.schema.problems import Problem, did_you_mean

    problem = Problem(
        f"f2yaml: there is no command `{command}`",
        "",
        did_you_mean(command, COMMANDS) or "`f2yaml --help` lists the commands",
    )
    print(printable(problem.render()), file=sys.stderr)
    return 2


def _not_taken(arguments: argparse.Namespace, extra: Sequence[str]) -> int:
    """Say which words of the command line have no meaning; none is passed over in silence."""
    import re

    from f2yaml.schema.problems import Problem, did_you_mean

    options = re.findall(r"--[a-z][a-z-]*", arguments.help_text()) if arguments.command else []
    word = next((word for word in extra if word.startswith("-")), "")
    name = word.partition("=")[0]
    fix = did_you_mean(name, options) if word else ""
    if name in options:
        fix = f"give {name} after the name of the command, and before a lone --"
    if not word and arguments.command == "run":
        fix = "name the input files after --inputs"
    prog = f"f2yaml {arguments.command or ''}".rstrip()
    problem = Problem(
        f"{prog}: it does not take {' '.join(extra)}",
        "a word without meaning may be a slip",
        fix or f"`{prog} --help` lists what it takes",
    )
    print(printable(problem.render()), file=sys.stderr)
    return 2


def _run(arguments: argparse.Namespace) -> int:
    from f2yaml.schema.problems import F2Error

    module = importlib.import_module(f"f2yaml.interpreter.commands.{arguments.command}")
    try:
        status = int(module.run(arguments))
        sys.stdout.flush()
    except F2Error as error:
        if arguments.debug:
            raise
        print(printable(error.render()), file=sys.stderr)
        return error.status
    except MemoryError:
        print(f"f2yaml: {_NO_MEMORY}", file=sys.stderr)
        return 1
    except Exception as error:
        if _ended_by:
            raise
        if isinstance(error, OSError):
            with suppress(OSError):
                return _not_printed(error)
        if _no_name(error):
            return 1
        if arguments.debug:
            raise
        if (told := _of_machine(error)) is not None:
            print(printable(f"f2yaml {arguments.command}: {told}"), file=sys.stderr)
            return 1
        print(
            f"f2yaml {arguments.command}: unexpected {type(error).__name__}: {error}\n"
            "  why:  this is a fault of f2yaml, or of the machine\n"
            "  fix:  run again with --debug and report what it prints",
            file=sys.stderr,
        )
        return 1
    finally:
        _plug_in_problems()
    return status


_NO_MEMORY = (
    "the machine has no memory left\n"
    "  why:  more is kept in memory than it has, or than a limit of the shell (ulimit) allows\n"
    "  fix:  give a lower --max-memory, or fewer --jobs"
)


def _of_machine(error: Exception) -> str | None:
    """Return what the machine has refused, or None for a fault of another kind."""
    cause: BaseException | None = error
    while isinstance(cause, ImportError | OSError):  # libraries are loaded by others
        if "failed to map segment" in str(cause) or "annot allocate memory" in str(cause):
            return _NO_MEMORY
        cause = cause.__cause__ or cause.__context__
    if not isinstance(error, OSError) or error.strerror is None:
        return None
    about = f"{error.filename}: " if error.filename else ""
    return (
        f"{about}{error.strerror}\n"
        "  why:  the system has refused what was there, or possible, when the command began\n"
        "  fix:  see to the file, the disk or the permission that is named, then run it again"
    )


def _plug_in_problems() -> None:
    """Say what is wrong with plug-ins, if this command has looked at any."""
    registry = sys.modules.get("f2yaml.interpreter.registry")
    for problem in getattr(registry, "PLUGIN_PROBLEMS", ()):
        print(printable(problem.render()), file=sys.stderr)


#: Signals to end that have come. Libraries may make other errors of them: pydantic does.
_ended_by: list[int] = []


def _terminated(number: int, frame: object) -> NoReturn:
    _ended_by.append(number)
    raise KeyboardInterrupt
