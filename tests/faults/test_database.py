"""Calibration databases: many users at once, locks, damage, odd places, no space to write."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from caldb_products import write_product
from command_line import Program, checksums, names, refused
from f2yaml.interpreter import dbfile
from f2yaml.interpreter.caldb import CalibrationDatabase
from f2yaml.interpreter.errors import CalibrationDatabaseError


def darks(folder: Path, number: int) -> list[Path]:
    made = [folder / f"d{n}.fits" for n in range(number)]
    return [write_product(path, "processed_dark", value=float(n)) for n, path in enumerate(made)]


@pytest.fixture
def filled(tmp_path: Path) -> CalibrationDatabase:
    """A database of 30 entries in several pages."""
    database = CalibrationDatabase.create(tmp_path / "f2.db")
    entry = database.add(darks(tmp_path, 1)[0])
    for number in range(29):
        path = tmp_path / f"e{number}.fits"
        database.enter(replace(entry, path=path, name=path.name))
    return database


# many at once ---------------------------------------------------------------------------------
def test_eight_commands_at_once(f2yaml: Program, desk: Path) -> None:
    """Programs that add, remove and list: the caldb_worker does it within the library."""
    files = darks(desk, 8)
    f2yaml("caldb", "init", cwd=desk)
    f2yaml("caldb", "add", *files[:4], cwd=desk)
    commands = [("add", files[n]) for n in (4, 5, 6, 7)]
    commands += [("remove", files[n].name) for n in (0, 1)] + [("list",)] * 2
    running = [f2yaml.start("caldb", *words, cwd=desk) for words in commands]
    for process in running:
        _, err = process.communicate(timeout=120)
        assert (process.returncode, err) == (0, "")
    database = CalibrationDatabase.open(desk / "calibrations" / "f2yaml.db")
    assert {entry.name for entry in database.entries()} == {f"d{n}.fits" for n in range(2, 8)}
    assert all(entry.state() == "present" for entry in database.entries())
    assert names(desk / "calibrations") == ["f2yaml.db"]


# locks ----------------------------------------------------------------------------------------
def test_a_wait_is_told_of_and_ends_with_the_lock(f2yaml: Program, desk: Path) -> None:
    (file,) = darks(desk, 1)
    f2yaml("caldb", "init", cwd=desk)
    path = desk / "calibrations" / "f2yaml.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        f2yaml("caldb", "list", cwd=desk)  # readers never wait
        process = f2yaml.start("caldb", "add", file, cwd=desk)
        start = time.monotonic()
        assert process.stderr is not None
        said = process.stderr.readline()
        took = time.monotonic() - start
        holder.execute("ROLLBACK")
    who = f" ({os.getpid()})" if Path("/proc/locks").exists() else ""
    assert said == (
        f"waiting for up to 30 s: calibration database {path} is locked by another process{who}\n"
    )
    assert took < 15  # two seconds, and the start of a program on a busy machine
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0
    assert len(CalibrationDatabase.open(path).entries()) == 1


def test_a_program_that_keeps_the_file_to_itself(
    filled: CalibrationDatabase, capfd: pytest.CaptureFixture[str]
) -> None:
    """Even readers wait then: told of after a while, and refused in the end."""
    patient = CalibrationDatabase(filled.path, timeout_s=2.3)
    with closing(sqlite3.connect(filled.path, isolation_level=None)) as holder:
        holder.execute("PRAGMA locking_mode = EXCLUSIVE")
        holder.execute("BEGIN EXCLUSIVE")
        holder.execute("DELETE FROM calibration")
        with pytest.raises(CalibrationDatabaseError, match=r"still locked after 2\.3 s"):
            patient.entries()
        holder.execute("ROLLBACK")
    assert capfd.readouterr().err.startswith("waiting for up to 2.3 s: calibration database")
    assert len(patient.entries()) == 30


# damage ---------------------------------------------------------------------------------------
def cut(content: bytearray, chance: random.Random) -> None:
    del content[chance.randrange(len(content)) :]


def bits(content: bytearray, chance: random.Random) -> None:
    for _ in range(chance.choice((1, 8, 64))):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)


def block(content: bytearray, chance: random.Random) -> None:
    start = chance.randrange(len(content))
    length = min(chance.choice((16, 512, 4096)), len(content) - start)
    content[start : start + length] = chance.randbytes(length)


def refusal(database: CalibrationDatabase) -> str | None:
    try:
        CalibrationDatabase.create(database.path)
        assert all(isinstance(entry.keys, dict) for entry in database.entries())
    except CalibrationDatabaseError as error:
        return str(error)
    return None


@pytest.mark.parametrize("damage", [cut, bits, block])
def test_damage_is_named_and_never_written_to(
    filled: CalibrationDatabase, damage: Callable[[bytearray, random.Random], None]
) -> None:
    """60 damaged files of each kind: what is served is entries, what is not is an error of ours."""
    sound = filled.path.read_bytes()
    chance = random.Random(20200104)
    refusals = 0
    for _ in range(60):
        content = bytearray(sound)
        damage(content, chance)
        filled.path.write_bytes(content)
        refusals += bool(said := refusal(filled))
        assert said is None or (str(filled.path) in said and "  fix:  " in said)
        assert filled.path.read_bytes() == content
    # A bit in a checksum or in a page that is not used is not seen; a file cut short always is.
    assert refusals == 60 if damage is cut else refusals > 10


@pytest.mark.parametrize("spoilt", ["'[]'", "'{'", "CAST(x'ff7b7d' AS TEXT)"])
def test_keys_that_are_no_mapping(filled: CalibrationDatabase, spoilt: str) -> None:
    with closing(sqlite3.connect(filled.path, isolation_level=None)) as connection:
        connection.execute(f"UPDATE calibration SET keys = {spoilt} WHERE id = 7")
    with pytest.raises(CalibrationDatabaseError, match="is damaged"):
        filled.entries()


# odd places -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    "name", [b"two words.db", b"a?b#c%20d&mode=ro.db", b"tab\tnew\nline\x1b[31m.db", b"caf\xe9.db"]
)
def test_names_of_databases(f2yaml: Program, desk: Path, name: bytes) -> None:
    """Blanks, what has a meaning in addresses, control characters, and no UTF-8."""
    (file,) = darks(desk, 1)
    path = os.fsdecode(name)
    f2yaml("caldb", "init", "-d", path, cwd=desk)
    f2yaml("caldb", "add", "-d", path, file, cwd=desk)
    shown = f2yaml("caldb", "list", "-d", path, "--format", "json", cwd=desk).stdout
    assert '"state": "present"' in shown
    assert "\x1b" not in shown
    assert names(desk) == sorted([path, "d0.fits"])
    (desk / path).write_bytes(b"notes" * 100)
    done = f2yaml("caldb", "list", "-d", path, cwd=desk, check=False)
    refused(done, 1, "is not an SQLite database")
    assert "\x1b" not in done.stderr


# no space -------------------------------------------------------------------------------------
def limited(size: int) -> Callable[[], None]:
    """Let no file of a process grow over a size; Python then gets an error, not a signal."""

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    return limit


def test_a_database_without_space_to_grow(f2yaml: Program, desk: Path) -> None:
    files = darks(desk, 2)
    f2yaml("caldb", "init", cwd=desk)
    f2yaml("caldb", "add", files[0], cwd=desk)
    before = checksums([desk])
    done = f2yaml("caldb", "add", files[1], cwd=desk, check=False, preexec_fn=limited(4096))
    refused(done, 1, "calibration database", "fails", "the disk may be full")
    database = CalibrationDatabase.open(desk / "calibrations" / "f2yaml.db")
    assert [entry.name for entry in database.entries()] == ["d0.fits"]
    assert checksums([desk]) == before  # a log that the failed command left is gone, too
    done = f2yaml("caldb", "init", "-d", "new.db", cwd=desk, check=False, preexec_fn=limited(4096))
    refused(done, 1, "new.db cannot be made")
    assert checksums([desk]) == before


def test_scratch_files_without_space(tmp_path: Path) -> None:
    """Named before the first pixel, where a mapping would end the process by a signal."""
    code = (
        "import sys; from pathlib import Path; from f2yaml.interpreter.engine import Engine\n"
        "from f2yaml.interpreter.errors import OutputError\n"
        "engine = Engine(1, 0, Path(sys.argv[1]))\n"
        "engine.empty((8, 8), 'f4')[:] = 1\n"
        "try: engine.empty((1 << 20,), 'f4')\n"
        "except OutputError as error: print(error)\n"
        "engine.close()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path],
        capture_output=True, text=True, timeout=60, check=False, preexec_fn=limited(1 << 20),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"scratch files cannot be made in {tmp_path}: File too large\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [("--version",), ("show",), ("caldb", "list")])
def test_standard_output_that_is_full(
    f2yaml: Program, desk: Path, words: tuple[str, ...], unbuffered: str
) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            ["f2yaml", *words],
            cwd=desk,
            env={**f2yaml.environment, "PYTHONUNBUFFERED": unbuffered},
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == (
        "f2yaml: standard output cannot be written: No space left on device\n"
        "  why:  what was to be shown there is lost; products already written are complete\n"
        "  fix:  free some space, or send the output elsewhere\n"
    )


def test_streams_that_are_closed(f2yaml: Program, desk: Path) -> None:
    """The database is not opened in the place of standard output, and printed into."""
    darks(desk, 1)
    for line in ("caldb init", "caldb add d0.fits", "caldb list"):
        done = f2yaml.shell(f"f2yaml {line} <&- >&- 2>&-", desk)
        assert done.returncode == 0
    entries = CalibrationDatabase.open(desk / "calibrations" / "f2yaml.db").entries()
    assert [entry.name for entry in entries] == ["d0.fits"]


def test_holders_are_found_where_the_system_tells(filled: CalibrationDatabase) -> None:
    """A line that cannot be read, or a system without the list, names nobody."""
    with suppress(FileNotFoundError):
        assert dbfile._holders(filled.path) == set()
    assert dbfile._holders(filled.path.parent / "none.db") == set()
