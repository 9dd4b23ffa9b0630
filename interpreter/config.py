"""Find and read the configuration: which calibration databases serve and which are fed.

The file is YAML (`kind: config`). DRAGONS' INI file is read too, but only when named with
``--config``: its database is of another make, so nobody should meet it by accident
(spec: cli, section 5.1).
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from f2yaml.interpreter.homes import at_home
from f2yaml.schema.problems import Place, Problem, RequestError, did_you_mean

#: Environment variable that names a configuration file.
VARIABLE: Final = "F2YAMLRC"

#: Name of the database file when a folder is given, as in DRAGONS.
FOLDER_NAME: Final = "cal_manager.db"

_BUILT_IN: Final = Path("calibrations") / "f2yaml.db"
_FLAGS: Final = ("get", "store")
_WHERE: Final = "--config FILE, $F2YAMLRC, ./f2yaml.yaml, ~/.config/f2yaml/config.yaml"


@dataclass(frozen=True, slots=True)
class DatabaseChoice:
    """A database of the configuration; `built_in` ones are made when first stored to."""

    path: Path
    get: bool
    store: bool
    built_in: bool = False


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a configuration says, with absolute paths.

    `file` is None for the built-in default; `notes` tells what of a DRAGONS file has no meaning
    here; `log` is the log file, `defaults` are parameters by primitive.
    """

    file: Path | None
    databases: tuple[DatabaseChoice, ...]
    notes: tuple[str, ...] = ()
    log: Path | None = None
    defaults: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    @classmethod
    def built_in(cls, cwd: Path) -> Configuration:
        """Return the default: one database in the working folder, for look-up and storing."""
        path = cwd.absolute() / _BUILT_IN
        return cls(None, (DatabaseChoice(path, get=True, store=True, built_in=True),))


def database_file(path: Path | str) -> Path:
    """Return the database that `path` stands for: `cal_manager.db` in it if it is a folder."""
    chosen = Path(path)
    folder = str(path).endswith(os.sep) or chosen.is_dir()
    return chosen / FOLDER_NAME if folder else chosen


def find_config(
    named: Path | None, *, cwd: Path, environ: Mapping[str, str], home: Path
) -> Path | None:
    """Return the configuration file that applies, None if there is none.

    The first of: the file named on the command line, $F2YAMLRC, ./f2yaml.yaml,
    ~/.config/f2yaml/config.yaml.

    Raises
    ------
    RequestError
        A file that is named explicitly does not exist.
    """
    variable = environ.get(VARIABLE, "")
    for asked, origin in ((named, "--config"), (variable and Path(variable), f"${VARIABLE}")):
        if asked:
            path = cwd / at_home(asked)
            if not path.is_file():
                raise RequestError(
                    f"{origin} names {path}, which is not a file",
                    "another configuration would lead to other calibrations",
                    "check the path",
                )
            return path
    usual = (cwd / "f2yaml.yaml", home / ".config" / "f2yaml" / "config.yaml")
    return next((path for path in usual if path.is_file()), None)


def load_config(
    named: Path | None = None,
    *,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
) -> Configuration:
    """Return the configuration that applies, the built-in default if there is no file.

    Parameters
    ----------
    named : Path, optional
        File given with ``--config``; only this one may be DRAGONS' INI.
    cwd : Path, optional
        Working folder.
    environ : mapping, optional
        Environment, for $F2YAMLRC and for $NAME in paths.

    Raises
    ------
    RequestError
        The file does not exist, cannot be read or is wrong; all problems at once.
    """
    folder = (cwd or Path.cwd()).absolute()
    variables = os.environ if environ is None else environ
    path = find_config(named, cwd=folder, environ=variables, home=Path.home())
    if path is None:
        return Configuration.built_in(folder)
    if named is not None and _is_ini(path):
        return _read_ini(path, folder, variables)
    return _read_yaml(path, folder, variables)


def _read_yaml(path: Path, cwd: Path, environ: Mapping[str, str]) -> Configuration:
    """Read a YAML configuration; relative paths start at the folder of the file.

    Without the key `databases` the built-in one serves; an empty list means none at all.
    """
    from f2yaml.schema.config import Config
    from f2yaml.schema.salvage import validate_model
    from f2yaml.schema.source import load

    source = load(path)
    settings = validate_model(source, Config)
    problems: list[Problem] = []

    def absolute(text: str, *at: str | int) -> str:
        try:
            return _absolute(text, path.parent, environ, source.place(at))
        except RequestError as error:
            problems.extend(error.problems)
            return text

    choices = tuple(
        DatabaseChoice(
            database_file(absolute(d.path, "databases", n, "path")), get=d.get, store=d.store
        )
        for n, d in enumerate(settings.databases)
    )
    log = None if settings.log is None else Path(absolute(settings.log, "log"))
    if problems:
        raise RequestError(problems=problems)
    if "databases" not in settings.model_fields_set:
        choices = Configuration.built_in(cwd).databases
    return Configuration(path, choices, log=log, defaults=settings.defaults)


def _read_ini(path: Path, cwd: Path, environ: Mapping[str, str]) -> Configuration:
    """Read DRAGONS' file: one database a line, then flags; relative paths start at `cwd`.

    Departures (spec: cli, 5.1): ``$NAME`` is expanded, ``%`` is an ordinary character, a comment
    may follow a value, and a bare word is a file, never a server.
    """
    text = _read_text(path)
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    try:
        parser.read_string(text, source=str(path))
    except configparser.Error as error:
        raise RequestError(
            f"{path} is not a DRAGONS configuration: {error.message.splitlines()[0]}",
            "it begins with `[`, so it is read as INI",
            "correct it, or write a YAML configuration (`f2yaml schema config`)",
        ) from error
    lines = text.splitlines()
    problems: list[Problem] = []
    choices: list[DatabaseChoice] = []
    notes: list[str] = []
    for line in parser.get("calibs", "databases", fallback="").splitlines():
        entry = re.sub(r"(^|\s)#.*$", "", line).strip()
        if not entry:
            continue
        place = _place(path, lines, entry)
        name, flags, fault = _split(entry)
        if fault is not None:
            problems.append(Problem(*fault, where=place))
        elif "://" in name:
            notes.append(f"{name}: remote databases are not asked")
        else:
            try:
                file = database_file(_absolute(name, cwd, environ, place))
            except RequestError as error:
                problems += error.problems
                continue
            get = not flags or "get" in flags
            choices.append(DatabaseChoice(file, get=get, store="store" in flags))
    old = parser.get("calibs", "database_dir", fallback="").strip()
    if old and not choices and not problems:
        file = database_file(_absolute(f"{old}/", cwd, environ, _place(path, lines, old)))
        choices.append(DatabaseChoice(file, get=True, store=True))
    if problems:
        raise RequestError(problems=problems)
    if not choices:
        raise RequestError(
            f"{path} names no local database",
            "calibrations would be neither found nor kept",
            "add a line under `databases =` in section [calibs], or leave --config out",
        )
    return Configuration(path, tuple(choices), tuple(notes))


def _split(entry: str) -> tuple[str, tuple[str, ...], tuple[str, str, str] | None]:
    """Split ``"a path" get store`` into path and flags; a fault is (what, why, fix)."""
    match = re.fullmatch(r"""(?:"([^"]+)"|'([^']+)'|([^\s"']\S*))((?:\s+\S+)*)""", entry)
    if match is None:
        what = f"`{entry}` has a quote that is not closed"
        return "", (), (what, "the path ends nowhere", "close it")
    name = match[1] or match[2] or match[3]
    flags = tuple(match[4].split())
    for flag in flags:
        if flag not in _FLAGS:
            hint = did_you_mean(flag, _FLAGS) or "put a path with blanks in quotes"
            return name, flags, (f"unknown flag `{flag}`", "flags are get and store", hint)
    return name, flags, None


def _absolute(name: str, base: Path, environ: Mapping[str, str], place: Place | None) -> str:
    """Return a path with ``~`` and ``$NAME`` expanded; a slash at its end is kept.

    Raises
    ------
    RequestError
        A variable is not set, or ``~user`` is unknown.
    """

    def value(match: re.Match[str]) -> str:
        key = match[1] or match[2]
        if key not in environ:
            raise RequestError(
                f"${key} is not set",
                f"it stands in the path `{name}`",
                f"set {key} in the environment, or write the path out",
                place,
            )
        return environ[key]

    text = re.sub(r"\$(?:\{(\w+)\}|(\w+))", value, name)
    try:
        expanded = base / at_home(text)
    except RuntimeError as error:
        raise RequestError(
            f"`{name}` begins with a home folder that does not exist",
            str(error),
            "write the path out",
            place,
        ) from error
    return f"{expanded}{'/' if text.endswith('/') else ''}"


def _is_ini(path: Path) -> bool:
    """Whether the first line that says something opens a section, as no YAML mapping does."""
    for line in _read_text(path).splitlines():
        if line.strip() and line.lstrip()[0] not in "#;":
            return line.lstrip().startswith("[")
    return False


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"configuration {path} cannot be read: {error}",
            f"it is the first found of {_WHERE}",
            "check its permissions and that it is UTF-8 text",
        ) from error


def _place(path: Path, lines: list[str], entry: str) -> Place | None:
    for number, line in enumerate(lines, start=1):
        column = line.find(entry)
        if column >= 0:
            return Place(str(path), number, column + 1, len(entry), line)
    return None
