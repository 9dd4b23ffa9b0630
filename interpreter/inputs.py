"""Lists of input files: names, patterns, ``@lists`` and standard input (spec: cli, 6.2).

A list file has one path a line, or several parted by blanks; ``#`` at the start of a word begins a
comment. A path with blanks stands alone on its line or in quotes.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from glob import has_magic
from pathlib import Path
from typing import TextIO

from f2yaml.interpreter.homes import at_home
from f2yaml.interpreter.patterns import Search, TooFar
from f2yaml.schema.problems import Problem, RequestError

_MAX_LIST_BYTES = 16 * 1024 * 1024
#: Lists inside each other, and lists taken in altogether.
_MAX_NESTING = 20
_MAX_LISTS = 1000


def expand(
    words: Sequence[str],
    *,
    stdin: TextIO | None = None,
    duplicates: bool = False,
    problems: list[Problem] | None = None,
) -> list[Path]:
    """Return the files that the words of a command line stand for, in the order given.

    Parameters
    ----------
    words : sequence of str
        File names; shell patterns (what they match is sorted); ``@list`` for the files of a list;
        ``-`` for a list on standard input.
    stdin : text stream, optional
        What ``-`` reads.
    duplicates : bool
        Keep a file that is named twice rather than report it.
    problems : list of Problem, optional
        Where to put problems; the good files are then returned. By default any problem raises.

    Raises
    ------
    RequestError
        All problems: files that are missing or named twice, patterns without a match, lists that
        are missing, unreadable, empty or include themselves; or nothing named at all. With
        `problems` given, nothing is raised.

    Notes
    -----
    Paths in a list are relative to the working folder (as DRAGONS has it), else to the list's
    folder; nested lists the other way round.
    """
    expansion = _Expansion(stdin, duplicates)
    if not words:
        expansion.fault(
            "no input files", "there is nothing to do", "name files, a pattern or @list"
        )
    for word in words:
        expansion.add(word, base=None, chain=())
    if words and not expansion.paths and not expansion.problems:
        expansion.fault("no input files", "the lists given are empty", "name at least one file")
    if problems is not None:
        problems += expansion.problems
    elif expansion.problems:
        raise RequestError(problems=expansion.problems)
    return expansion.paths


def require_file(path: Path) -> None:
    """Check that there is something under a name that a command is given.

    Raises
    ------
    RequestError
        There is nothing. What is there but cannot be used is told of by who reads it.
    """
    try:
        path.lstat()
    except PermissionError:
        return
    except (OSError, ValueError) as error:
        raise RequestError(problems=[absent(path, "it is named on the command line")]) from error


def absent(path: Path | str, why: str) -> Problem:
    """Return the problem of a name without a file."""
    return Problem(f"{path} does not exist", why, "check name and folder")


def split_line(line: str) -> list[str]:
    """Return the words of a line of a list file; quotes keep blanks together.

    Raises
    ------
    ValueError
        A quote is not closed.
    """
    words: list[str] = []
    lexer = shlex.shlex(line, posix=True, punctuation_chars=False)
    lexer.whitespace_split = True
    lexer.commenters = ""  # '#' counts only at the start of a word; shlex cuts words at it
    lexer.escape = ""
    for word in lexer:
        if word.startswith("#"):
            break
        words.append(word)
    return words


class _Expansion:
    """Files collected so far, and what was wrong with the rest."""

    def __init__(self, stdin: TextIO | None, duplicates: bool) -> None:
        self.stdin = stdin
        self.duplicates = duplicates
        self.paths: list[Path] = []
        self.problems: list[Problem] = []
        self.seen: dict[str, str] = {}
        self.lists = 0
        self.search = Search()

    def fault(self, what: str, why: str, fix: str, where: str | None = None) -> None:
        self.problems.append(Problem(what, why, fix, where))

    def add(self, word: str, base: Path | None, chain: tuple[Path, ...], where: str = "") -> None:
        """Add what one word stands for; `base` is the folder of the list that holds it."""
        if not word:
            self.fault(
                "an empty name is given",
                "it names no file; a variable of the shell that is not set gives such a word",
                "name a file, a pattern or @list, or leave it out",
                where or None,
            )
        elif word == "-" and base is None:
            self.add_stdin()
        elif word.startswith("@") and len(word) > 1:
            self.add_list(word[1:], base, chain, where)
        else:
            self.add_files(word, base, where)

    def add_files(self, word: str, base: Path | None, where: str) -> None:
        path = _existing(at_home(word), base)
        if path is not None:
            self.keep(path, where)
            return
        if not has_magic(word):
            place = f"named in {where}" if where else "it is listed as input"
            self.problems.append(absent(word, place))
            return
        pattern = at_home(word)
        try:
            matches = self.search.matching(pattern)
            if not matches and base is not None and not pattern.is_absolute():
                matches = self.search.matching(base / pattern)
        except TooFar:
            self.fault(
                f"{word} looks too far",
                f"patterns may look at {self.search.most} names of files and folders altogether",
                "begin it with the folder of the files, or name them in a list",
                where or None,
            )
            return
        for match in matches:
            self.keep(match, where)
        if not matches:
            self.fault(f"no file matches {word}", "a pattern has to find files", "check it", where)

    def keep(self, path: Path, where: str) -> None:
        if os.path.isdir(path):  # noqa: PTH112 -- a path that may not be looked at is no folder
            self.fault(
                f"{path} is a folder",
                "files are wanted here",
                f"give its files: {path}/*.fits",
                where or None,
            )
            return
        identity = _identity(path)
        place = f"in {where}" if where else "on the command line"
        if identity in self.seen and not self.duplicates:
            other = self.seen[identity]
            both = f"twice {place}" if other == place else f"{other} and {place}"
            self.fault(
                f"{path} is named twice",
                f"{both}; a frame counted twice gives a wrong mean and a wrong variance",
                "name it once",
            )
            return
        self.seen.setdefault(identity, place)
        self.paths.append(path)

    def add_list(self, name: str, base: Path | None, chain: tuple[Path, ...], where: str) -> None:
        given = at_home(name)
        path = _existing(given, base, base_first=True)
        if path is None:
            place = f"@{name} stands in {where}" if where else f"@{name} stands for a list of files"
            self.fault(f"list {name} does not exist", place, "check name and folder")
            return
        identity = Path(_identity(path))
        if identity in chain:
            names = " -> ".join(p.name for p in (*chain[chain.index(identity) :], identity))
            self.fault(f"list {path} includes itself", names, "take one of these inclusions out")
            return
        if len(chain) >= _MAX_NESTING:
            why = f"more than {_MAX_NESTING} lists inside each other"
            self.fault(f"list {path} is nested too deep", why, "put the files into one list")
            return
        self.lists += 1
        if self.lists > _MAX_LISTS:
            if self.lists == _MAX_LISTS + 1:
                why = "lists that name each other many times grow without limit"
                self.fault(f"more than {_MAX_LISTS} lists", why, "put the files into one list")
            return
        text = self.list_text(path)
        if text is not None:
            self.add_lines(text, str(path), path.parent, (*chain, identity))

    def list_text(self, path: Path) -> str | None:
        why = "a list of files is a text file with one path a line"
        try:
            if not path.is_file():
                self.fault(f"list {path} is no regular file", why, "give a text file")
                return None
            if path.stat().st_size > _MAX_LIST_BYTES:
                self.fault(f"list {path} is too large", why, f"give {path} without the @")
                return None
            content = path.read_bytes()
            other = _other_encoding(content)
            if other is None:
                return content.decode("utf-8-sig")
            fix = "save it as UTF-8" if other else f"give {path} without the @"
            self.fault(f"list {path} is not text in UTF-8{other}", why, fix)
        except OSError as error:
            self.fault(f"list {path} cannot be read", str(error.strerror), "check permissions")
        return None

    def add_stdin(self) -> None:
        if self.stdin is None:
            self.fault("`-` is not possible here", "standard input is not read", "name the files")
            return
        why = "it is read as a list of files, one path a line"
        try:
            text = self.stdin.read(_MAX_LIST_BYTES + 1)
        except UnicodeDecodeError:
            self.fault("standard input is not text in UTF-8", why, "name the files instead")
            return
        if len(text) > _MAX_LIST_BYTES:
            self.fault("standard input is too long for a list", why, "name the files instead")
        else:
            self.add_lines(text, "standard input", Path.cwd(), ())

    def add_lines(self, text: str, name: str, base: Path, chain: tuple[Path, ...]) -> None:
        found = 0
        for number, line in enumerate(text.splitlines(), start=1):
            where = f"{name}:{number}"
            whole = line.strip()
            if not whole or whole.startswith("#"):
                continue
            if " " in whole and _existing(Path(whole), base) is not None:
                words = [whole]  # a path with blanks
            else:
                try:
                    words = split_line(whole)
                except ValueError as error:
                    self.fault(f"cannot split `{whole}`", str(error), "close the quote", where)
                    continue
            for word in words:
                found += 1
                if word.startswith("-") and word != "-" and _existing(Path(word), None) is None:
                    self.fault(
                        f"`{word}` is an option",
                        "a list of files holds files only",
                        "give options on the command line",
                        where,
                    )
                else:
                    self.add(word, base, chain, where)
        if not found:
            self.fault(f"list {name} is empty", "it names no file", "fill it, or leave it out")


def _other_encoding(content: bytes) -> str | None:
    """Say what a list is that is not text in UTF-8: None where it is, empty where it is no text."""
    start = content[:4096]
    few, many = sorted((start[0::2].count(0), start[1::2].count(0)))
    every_other = few == 0 and many > len(start) / 4  # as of letters of ASCII
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or every_other:
        return ": it seems to be UTF-16"
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError:
        odd = any(byte < 32 and byte not in b"\t\n\f\r" for byte in start)
        return "" if odd or start.startswith(b"SIMPLE") else ": it is text in another encoding"
    return None


def _identity(path: Path) -> str:
    """Return what a file is called without links; its own name where they may not be looked at."""
    try:
        return os.path.realpath(path)
    except OSError:  # told when the file is read
        return os.path.abspath(path)  # noqa: PTH100 -- Path has none that keeps links


def _existing(path: Path, base: Path | None, *, base_first: bool = False) -> Path | None:
    """Return the path as it stands or relative to `base`, whichever exists first."""
    choices = [path] if base is None or path.is_absolute() else [path, base / path]
    if base_first:
        choices.reverse()
    for choice in choices:
        try:
            if choice.exists() or choice.is_symlink():
                return choice
        except (OSError, ValueError):  # such as a name that is too long, or holds a null byte
            continue
    return None
