"""The calibration database: entries, changes of files, several processes, and bad databases."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from caldb_products import raw_headers, write_product, write_raw
from f2yaml.interpreter import caldb
from f2yaml.interpreter.caldb import CalibrationDatabase, read_product
from f2yaml.interpreter.calibrations import Calibrations, check_user_cal, user_calibrations
from f2yaml.interpreter.config import Configuration, DatabaseChoice, database_file
from f2yaml.interpreter.dbfile import LAYOUT
from f2yaml.interpreter.errors import (
    BadInput,
    CalibrationDatabaseError,
    FrameMismatch,
    MissingCalibration,
    NotSupported,
    RequestError,
)

WORKERS = 8
NOBODY = 65534


@pytest.fixture
def database(tmp_path: Path) -> CalibrationDatabase:
    return CalibrationDatabase.create(tmp_path / "calibrations" / "f2.db")


def service(tmp_path: Path, *paths: Path) -> Calibrations:
    choices = tuple(DatabaseChoice(path, get=True, store=True) for path in paths)
    return Calibrations(Configuration(None, choices), tmp_path)


def dark(folder: Path, name: str, **cards: object) -> Path:
    return write_product(folder / name, "processed_dark", **cards)


# entries ------------------------------------------------------------------------------------
def test_an_entry_holds_what_the_rules_compare(
    tmp_path: Path, database: CalibrationDatabase
) -> None:
    file = dark(tmp_path, "d.fits", DATE_OBS="2020-01-07")
    entry = database.add(file)
    assert (entry.name, entry.type, entry.mode) == ("d.fits", "processed_dark", "sq")
    assert entry.time == "2020-01-07T06:30:30"
    assert entry.keys["exposure_time"] == 5.0
    assert entry.size == file.stat().st_size
    assert database.entries() == [entry]
    assert entry.state() == "present"


def test_init_is_idempotent_and_keeps_what_is_there(
    tmp_path: Path, database: CalibrationDatabase
) -> None:
    database.add(dark(tmp_path, "d.fits"))
    again = CalibrationDatabase.create(database.path)
    assert [entry.name for entry in again.entries()] == ["d.fits"]
    assert sorted(p.name for p in database.path.parent.iterdir()) == ["f2.db"]


def test_a_folder_stands_for_the_database_in_it(tmp_path: Path) -> None:
    assert database_file(tmp_path) == tmp_path / "cal_manager.db"
    assert database_file(f"{tmp_path}/new/") == tmp_path / "new" / "cal_manager.db"
    assert database_file(tmp_path / "x.db") == tmp_path / "x.db"
    assert CalibrationDatabase.create(tmp_path).path.name == "cal_manager.db"


def test_adding_again_renews_the_entry(tmp_path: Path, database: CalibrationDatabase) -> None:
    database.add(dark(tmp_path, "d.fits"))
    database.add(dark(tmp_path, "d.fits", EXPTIME=20.0))
    assert [entry.keys["exposure_time"] for entry in database.entries()] == [20.0]


def test_files_of_one_name_in_two_folders_are_removed_together(
    tmp_path: Path, database: CalibrationDatabase
) -> None:
    files = [dark(tmp_path / folder, "d.fits") for folder in ("a", "b")]
    for file in files:
        database.add(file)
    assert database.remove("d.fits") == files
    assert database.remove("d.fits") == []
    assert database.entries() == []
    assert all(file.exists() for file in files)


def test_newest_observation_first(tmp_path: Path, database: CalibrationDatabase) -> None:
    for day in ("07", "09", "08"):
        database.add(dark(tmp_path, f"{day}.fits", DATE_OBS=f"2020-01-{day}"))
    assert [entry.name for entry in database.entries()] == ["09.fits", "08.fits", "07.fits"]


@pytest.mark.parametrize("trial", range(6))
def test_a_mask_made_from_flats_is_never_served_as_the_flat(
    tmp_path: Path, database: CalibrationDatabase, trial: int
) -> None:
    """DRAGONS gets this wrong in about one of six trials (spec: instrument, section 5.4)."""
    mask = write_product(tmp_path / f"{trial}_bpm.fits", "processed_bpm", DATE_OBS="2020-01-04")
    assert database.add(mask).type == "processed_bpm"
    assert database.candidates("processed_flat") == []
    frame = raw_headers(EXPTIME=2.0)
    with pytest.raises(MissingCalibration, match="holds no processed_flat"):
        service(tmp_path, database.path).find(frame, "processed_flat")
    assert service(tmp_path, database.path).find(frame, "processed_bpm").path == mask


def test_raw_files_and_other_instruments_are_refused(
    tmp_path: Path, database: CalibrationDatabase
) -> None:
    raw = write_raw(tmp_path / "raw.fits", OBSTYPE="DARK")
    with pytest.raises(NotSupported, match=r"raw\.fits is a raw file"):
        database.add(raw)
    foreign = dark(tmp_path, "g.fits", INSTRUME="GNIRS")
    with pytest.raises(NotSupported, match="is a file of GNIRS, not of F2"):
        database.add(foreign)
    image = dark(tmp_path, "i.fits", PROCDARK=None, OBSTYPE="OBJECT", FILTER2="Open")
    with pytest.raises(NotSupported, match=r"i\.fits is not a processed dark, flat or"):
        database.add(image)
    assert database.entries() == []


def test_forced_entries_are_kept_but_never_served(
    tmp_path: Path, database: CalibrationDatabase
) -> None:
    database.add(write_raw(tmp_path / "raw.fits", OBSTYPE="DARK"), force=True)
    forced = database.add(dark(tmp_path, "g.fits", INSTRUME="GNIRS"), force=True)
    assert forced.keys == {"instrument": "GNIRS"}
    assert [entry.type for entry in database.entries()] == ["other", "other"]
    assert database.candidates("processed_dark") == []


def test_what_is_not_fits_is_refused(tmp_path: Path, database: CalibrationDatabase) -> None:
    (tmp_path / "x.fits").write_text("no image")
    with pytest.raises(BadInput, match=r"x\.fits"):
        database.add(tmp_path / "x.fits")


def test_names_with_odd_characters(tmp_path: Path) -> None:
    folder = tmp_path / "a?b #1 %20 'q\" é"
    database = CalibrationDatabase.create(folder / "my db?.db")
    entry = database.add(dark(folder, "d 1.fits"))
    assert CalibrationDatabase.open(folder / "my db?.db").entries() == [entry]


def test_a_name_that_is_not_utf8_is_refused_with_a_reason(
    tmp_path: Path, database: CalibrationDatabase
) -> None:
    file = dark(tmp_path, os.fsdecode(b"d\xff.fits"))
    with pytest.raises(BadInput, match=r"not valid UTF-8|cannot be shown"):
        database.add(file)


# files that move or change ------------------------------------------------------------------
def test_a_moved_folder_keeps_working(tmp_path: Path, database: CalibrationDatabase) -> None:
    database.add(dark(database.path.parent / "processed_dark", "d.fits"))
    outside = dark(tmp_path / "elsewhere", "e.fits")
    database.add(outside)
    moved = tmp_path / "moved"
    shutil.move(database.path.parent, moved)
    entries = {e.name: e for e in CalibrationDatabase.open(moved / "f2.db").entries()}
    assert entries["d.fits"].path == moved / "processed_dark" / "d.fits"
    assert entries["e.fits"].path == outside
    assert {entry.state() for entry in entries.values()} == {"present"}


def test_a_touched_file_is_the_same_and_a_changed_one_is_not(
    tmp_path: Path, database: CalibrationDatabase
) -> None:
    file = dark(tmp_path, "d.fits")
    entry = database.add(file)
    os.utime(file, ns=(1, 1))
    assert entry.state() == "present"
    content = bytearray(file.read_bytes())
    content[-2880] ^= 1
    file.write_bytes(content)
    assert file.stat().st_size == entry.size
    assert entry.state() == "altered"
    file.write_bytes(content + bytes(2880))
    os.utime(file, ns=(entry.mtime_ns, entry.mtime_ns))
    assert entry.state() == "altered"
    file.unlink()
    assert entry.state() == "missing"


def test_a_copied_file_is_read_once_for_all_frames_until_it_changes(
    tmp_path: Path, database: CalibrationDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy has another time of change than the entry says: its content is compared."""
    file = dark(tmp_path, "d.fits")
    entry = database.add(file)
    read: list[Path] = []

    def checksum(path: Path) -> str:
        read.append(path)
        return caldb.hashlib.sha256(path.read_bytes()).hexdigest()

    monkeypatch.setattr(caldb, "checksum", checksum)
    os.utime(file, ns=(1, 1))
    assert [entry.state() for _ in range(3)] == ["present"] * 3
    assert len(read) == 1
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"x")
    assert [entry.state() for _ in range(2)] == ["altered"] * 2
    assert len(read) == 3  # changed a moment ago: it may change again within a tick of the clock


def test_frames_of_a_run_open_the_database_once(
    tmp_path: Path, database: CalibrationDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.add(dark(tmp_path, "d.fits"))
    calibrations = service(tmp_path, database.path)
    opened: list[Path] = []
    opens = CalibrationDatabase.open

    def counted(path: Path) -> CalibrationDatabase:
        opened.append(path)
        return opens(path)

    monkeypatch.setattr(CalibrationDatabase, "open", counted)
    for _ in range(3):
        assert len(calibrations.search(raw_headers(), "processed_dark").candidates) == 1
    assert opened == [database.path]
    calibrations.store(dark(tmp_path, "e.fits"), "processed_dark")
    assert len(calibrations.search(raw_headers(), "processed_dark").candidates) == 2


def test_contents_are_not_read_while_size_and_time_agree(
    tmp_path: Path, database: CalibrationDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = database.add(dark(tmp_path, "d.fits"))

    def never(path: Path) -> str:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("f2yaml.interpreter.caldb.checksum", never)
    assert entry.state() == "present"


# look-up ------------------------------------------------------------------------------------
def test_the_nearest_in_time_is_taken(tmp_path: Path, database: CalibrationDatabase) -> None:
    for day in ("02", "05", "09"):
        database.add(dark(tmp_path, f"{day}.fits", DATE_OBS=f"2020-01-{day}"))
    found = service(tmp_path, database.path).find(raw_headers(), "processed_dark")
    assert found.path.name == "05.fits"
    assert found.age_days == 1.0
    assert found.why == f"nearest in time of 3 that fit, 1.0 days later, from {database.path}"


def test_a_full_tie_goes_to_the_latest_entry(tmp_path: Path, database: CalibrationDatabase) -> None:
    files = [dark(tmp_path, name) for name in ("a.fits", "b.fits")]
    for file in (*files, files[0]):
        database.add(file)
    found = service(tmp_path, database.path).find(raw_headers(), "processed_dark")
    assert found.path == files[0]


@pytest.mark.parametrize("damage", ["deleted", "altered"])
def test_the_second_choice_serves_when_the_first_is_gone(
    tmp_path: Path, database: CalibrationDatabase, damage: str
) -> None:
    near = dark(tmp_path, "near.fits", DATE_OBS="2020-01-05")
    far = dark(tmp_path, "far.fits", DATE_OBS="2020-01-09")
    for file in (near, far):
        database.add(file)
    calibrations = service(tmp_path, database.path)
    assert calibrations.find(raw_headers(), "processed_dark").path == near
    if damage == "deleted":
        near.unlink()
    else:
        write_product(near, "processed_dark", value=1.0, DATE_OBS="2020-01-05")
    assert calibrations.find(raw_headers(), "processed_dark").path == far
    rejected = calibrations.search(raw_headers(), "processed_dark").candidates[1]
    assert rejected.failed == ("file",)
    assert rejected.verdicts[-1].candidate_value == damage.replace("deleted", "missing")


def test_the_first_database_that_has_one_answers(tmp_path: Path) -> None:
    first, second = (CalibrationDatabase.create(tmp_path / n) for n in ("1.db", "2.db"))
    first.add(dark(tmp_path, "far.fits", DATE_OBS="2020-02-09"))
    second.add(dark(tmp_path, "near.fits", DATE_OBS="2020-01-05"))
    second.add(dark(tmp_path, "ten.fits", EXPTIME=10.0))
    calibrations = service(tmp_path, first.path, second.path)
    assert calibrations.find(raw_headers(), "processed_dark").path.name == "far.fits"
    assert calibrations.find(raw_headers(EXPTIME=10.0), "processed_dark").path.name == "ten.fits"


def test_databases_without_get_are_not_asked(tmp_path: Path, database: CalibrationDatabase) -> None:
    database.add(dark(tmp_path, "d.fits"))
    choice = DatabaseChoice(database.path, get=False, store=True)
    calibrations = Calibrations(Configuration(None, (choice,)), tmp_path)
    with pytest.raises(MissingCalibration, match="no database is open for look-up"):
        calibrations.find(raw_headers(), "processed_dark")


def test_a_missing_calibration_shows_what_each_candidate_failed(
    tmp_path: Path, database: CalibrationDatabase
) -> None:
    database.add(dark(tmp_path, "two.fits", EXPTIME=2.0, DATE_OBS="2020-04-06"))
    database.add(dark(tmp_path, "ql.fits", PROCMODE="ql", DATE_OBS="2020-01-05"))
    with pytest.raises(MissingCalibration) as caught:
        service(tmp_path, database.path).find(raw_headers(), "processed_dark")
    why = f"{database.path} holds 2 candidates; what each fails:"
    assert str(caught.value).splitlines() == [
        "no processed_dark fits S20200104S0075.fits",
        f"  why:  {why}",
        "          criterion      frame                calibration          rule           result",
        f"        ql.fits ({tmp_path}): rejected",
        "          processing     sq                   ql                   sq             FAILED",
        f"        two.fits ({tmp_path}): rejected",
        "          exposure_time  5 s                  2 s                  within 0.01 s  FAILED",
        "          time           2020-01-04 06:30:30  2020-04-06 06:30:30  under 90 days  "
        "FAILED: 93.0 days later",
        "  fix:  reduce a dark that fits (`f2yaml run` on its raw frames), register one with "
        "`f2yaml caldb add FILE`, or name one: --user-cal processed_dark:FILE; "
        "--allow calibration-quality would take ql.fits",
    ]


def test_an_unknown_type_is_refused(tmp_path: Path, database: CalibrationDatabase) -> None:
    with pytest.raises(RequestError, match="did you mean `processed_dark`"):
        service(tmp_path, database.path).find(raw_headers(), "procesed_dark")


# storing and the built-in default -----------------------------------------------------------
def test_the_built_in_database_is_made_when_first_stored_to(tmp_path: Path) -> None:
    calibrations = Calibrations.from_config(None, tmp_path)
    calibrations.check(storing=True)
    with pytest.raises(MissingCalibration, match=r"calibrations/f2yaml\.db holds no processed"):
        calibrations.find(raw_headers(), "processed_dark")
    assert list(tmp_path.iterdir()) == []
    file = dark(tmp_path, "calibrations/processed_dark/d.fits")
    assert file == calibrations.cache_path("processed_dark", "d.fits")
    assert calibrations.store(file, "processed_dark") == (tmp_path / "calibrations/f2yaml.db",)
    found = calibrations.find(raw_headers(), "processed_dark")
    assert found.path == file
    assert found.entry is not None
    assert found.entry.origin == "f2yaml run"
    assert found.why.startswith("only one that fits, 0 s later, from ")


def test_storing_feeds_every_store_database(tmp_path: Path) -> None:
    paths = [CalibrationDatabase.create(tmp_path / n).path for n in ("1.db", "2.db", "3.db")]
    choices = tuple(DatabaseChoice(p, get=True, store=p.name != "2.db") for p in paths)
    calibrations = Calibrations(Configuration(None, choices), tmp_path)
    calibrations.store(dark(tmp_path, "d.fits"), "processed_dark")
    assert [len(CalibrationDatabase.open(p).entries()) for p in paths] == [1, 0, 1]


def test_storing_under_the_wrong_type_is_refused(
    tmp_path: Path, database: CalibrationDatabase
) -> None:
    mask = write_product(tmp_path / "m.fits", "processed_bpm")
    with pytest.raises(RequestError, match="is a processed_bpm, not a processed_flat"):
        service(tmp_path, database.path).store(mask, "processed_flat")
    assert database.entries() == []


def test_a_configured_database_that_does_not_exist_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(CalibrationDatabaseError, match="Unable to find calibration database file"):
        service(tmp_path, tmp_path / "none.db").check()
    assert list(tmp_path.iterdir()) == []


# calibrations named by the user -------------------------------------------------------------
def test_a_file_named_by_the_user_beats_the_database(
    tmp_path: Path, database: CalibrationDatabase
) -> None:
    database.add(dark(tmp_path, "d.fits"))
    mine = dark(tmp_path, "mine.fits", DATE_OBS="2019-12-24")
    found = service(tmp_path, database.path).find(
        raw_headers(), "processed_dark", user={"processed_dark": mine}
    )
    assert (found.path, found.entry) == (mine, None)
    assert found.why == "named by the user, 11.0 days earlier"
    assert found.allowed == ()


@pytest.mark.parametrize(
    ("caltype", "cards", "message"),
    [
        ("processed_dark", {"EXPTIME": 3.0}, r"exposure_time is 3 s, the frame's 5 s \(within"),
        ("processed_flat", {"FILTER2": "J_G0802"}, r"filter_name is J, the frame's K-red \(equal"),
    ],
)
def test_a_named_file_for_other_frames_is_refused(
    tmp_path: Path, caltype: str, cards: dict[str, object], message: str
) -> None:
    file = write_product(tmp_path / "mine.fits", caltype, **cards)
    with pytest.raises(FrameMismatch, match=message):
        check_user_cal(file, caltype, raw_headers())
    assert check_user_cal(file, caltype).age_days is None


def test_a_named_file_of_another_size_is_refused(tmp_path: Path) -> None:
    mask = write_product(tmp_path / "m.fits", "processed_bpm")
    with pytest.raises(FrameMismatch, match="array_shape is 8x8, the frame's 2048x2048"):
        check_user_cal(mask, "processed_bpm", raw_headers(size=2048))


def test_a_named_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    mask = write_product(tmp_path / "m.fits", "processed_bpm")
    with pytest.raises(RequestError, match="is a processed_bpm, not a processed_flat"):
        check_user_cal(mask, "processed_flat", raw_headers())
    raw = write_raw(tmp_path / "raw.fits", OBSTYPE="DARK")
    with pytest.raises(
        RequestError, match="is no processed calibration; a processed_dark is wanted"
    ):
        check_user_cal(raw, "processed_dark", raw_headers())
    with pytest.raises(RequestError, match="there is no such file"):
        check_user_cal(tmp_path / "none.fits", "processed_dark")


def test_words_of_user_calibrations(tmp_path: Path) -> None:
    words = ["processed_dark:a:b.fits", "processed_flat:/abs/f.fits"]
    assert user_calibrations(words, tmp_path) == {
        "processed_dark": tmp_path / "a:b.fits",
        "processed_flat": Path("/abs/f.fits"),
    }
    for bad, message in (
        (["dark.fits"], "has no type"),
        ([":dark.fits"], "has no type"),
        (["processed_dark:"], "processed_dark: names no file"),
        (["processed_drak:x"], "did you mean `processed_dark`"),
        (["processed_dark:x", "processed_dark:y"], "names two files"),
    ):
        with pytest.raises(RequestError, match=message):
            user_calibrations(bad, tmp_path)


# several processes --------------------------------------------------------------------------
def test_eight_processes_at_once_lose_nothing(tmp_path: Path) -> None:
    for number in range(WORKERS):
        for turn in range(6):
            dark(tmp_path, f"{number}_{turn}.fits")
    path = tmp_path / "shared.db"
    script = Path(__file__).parents[1] / "caldb_worker.py"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script, path, tmp_path, str(WORKERS)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    kept = {f"{n}_{t}.fits" for n in range(WORKERS) for t in range(1, 6)}
    assert {entry.name for entry in CalibrationDatabase.open(path).entries()} == kept
    assert sorted(p.name for p in tmp_path.glob("*shared*")) == ["shared.db"]


def test_a_locked_database_says_so_after_the_timeout(
    tmp_path: Path, database: CalibrationDatabase
) -> None:
    file = dark(tmp_path, "d.fits")
    database.timeout_s = 0.1
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CalibrationDatabaseError, match="is locked by another process") as err:
            database.add(file)
        assert "still locked after 0.1 s" in str(err.value)
        assert database.entries() == []  # readers never wait
        other.execute("ROLLBACK")
    database.add(file)
    assert len(database.entries()) == 1


def test_an_interrupted_transaction_leaves_no_trace(
    tmp_path: Path, database: CalibrationDatabase
) -> None:
    database.add(dark(tmp_path, "d.fits"))

    def interrupted() -> None:
        with database._connection(write=True) as connection:
            connection.execute("DELETE FROM calibration")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(database.entries()) == 1


# bad databases ------------------------------------------------------------------------------
def _refused(path: Path, message: str, product: Path) -> None:
    """Check that no operation touches the file and that each names what is wrong."""
    before = path.read_bytes()
    for action in (
        lambda: CalibrationDatabase.open(path),
        lambda: CalibrationDatabase.create(path),
        lambda: CalibrationDatabase.open(path).add(product),
    ):
        with pytest.raises(CalibrationDatabaseError, match=message) as caught:
            action()
        problem = caught.value.problems[0]
        assert str(path) in problem.what
        assert problem.why
        assert problem.fix
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    file = dark(tmp_path, "d.fits")
    for name, content in (("a.db", b"notes\n" * 100), ("b.db", b"x"), ("c.db", b"")):
        (tmp_path / name).write_bytes(content)
        _refused(tmp_path / name, "is empty" if not content else "not an SQLite database", file)


@pytest.mark.parametrize(
    ("tables", "maker"), [(("diskfile", "fulltextheader"), "DRAGONS"), (("t",), "another program")]
)
def test_a_database_of_another_program_is_named(
    tmp_path: Path, tables: tuple[str, ...], maker: str
) -> None:
    path = tmp_path / "cal_manager.db"
    with closing(sqlite3.connect(path)) as connection:
        for table in tables:
            connection.execute(f"CREATE TABLE {table} (id INTEGER)")
    _refused(path, f"is a database of {maker}", dark(tmp_path, "d.fits"))


def test_a_newer_layout_is_named(tmp_path: Path, database: CalibrationDatabase) -> None:
    with closing(sqlite3.connect(database.path)) as connection:
        connection.execute(f"PRAGMA user_version = {LAYOUT + 1}")
    _refused(database.path, f"has layout {LAYOUT + 1}", dark(tmp_path, "d.fits"))


@pytest.mark.parametrize("pages", [slice(4096, -4096), slice(-4096, None)])
def test_a_damaged_database_is_named(
    tmp_path: Path, database: CalibrationDatabase, pages: slice
) -> None:
    """Damage everywhere but in the first and last page, and in the last page only."""
    entry = database.add(dark(tmp_path, "d.fits"))
    for number in range(30):
        path = tmp_path / f"{number}.fits"
        database.enter(dataclasses.replace(entry, path=path, name=path.name))
    content = bytearray(database.path.read_bytes())
    assert len(content) > 6 * 4096
    content[pages] = b"\xa5" * len(content[pages])
    database.path.write_bytes(content)
    _refused(database.path, "is damaged", dark(tmp_path, "d.fits"))


def test_a_truncated_database_is_named(tmp_path: Path, database: CalibrationDatabase) -> None:
    entry = database.add(dark(tmp_path, "d.fits"))
    for number in range(30):
        path = tmp_path / f"{number}.fits"
        database.enter(dataclasses.replace(entry, path=path, name=path.name))
    database.path.write_bytes(database.path.read_bytes()[: 2 * 4096])
    _refused(database.path, "is damaged", dark(tmp_path, "d.fits"))


def test_unreadable_keys_are_damage(tmp_path: Path, database: CalibrationDatabase) -> None:
    database.add(dark(tmp_path, "d.fits"))
    with closing(sqlite3.connect(database.path, isolation_level=None)) as connection:
        connection.execute("UPDATE calibration SET keys = '{\"a\": '")
    with pytest.raises(CalibrationDatabaseError, match=r"match keys of d\.fits are unreadable"):
        database.entries()


def test_a_folder_in_place_of_the_database(tmp_path: Path) -> None:
    (tmp_path / "f2.db" / "cal_manager.db").mkdir(parents=True)
    with pytest.raises(CalibrationDatabaseError, match="cannot be read: Is a directory"):
        CalibrationDatabase.open(tmp_path / "f2.db")


# read-only folders --------------------------------------------------------------------------
@contextmanager
def _without_root() -> Iterator[None]:
    """Give up root's right to write everywhere, which would hide what is tested here."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared_folder() -> Iterator[Path]:
    """Yield a folder that other users may enter, which pytest's own may not be."""
    folder = Path(tempfile.mkdtemp(prefix="f2yaml-test-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def test_a_read_only_folder_serves_look_ups_and_refuses_changes(shared_folder: Path) -> None:
    database = CalibrationDatabase.create(shared_folder / "f2.db")
    file = dark(shared_folder, "d.fits")
    database.add(file)
    calibrations = service(shared_folder, database.path)
    shared_folder.chmod(0o555)
    with _without_root():
        assert calibrations.find(raw_headers(), "processed_dark").path == file
        calibrations.check()
        for change in (
            lambda: database.add(file),
            lambda: database.remove("d.fits"),
            lambda: calibrations.check(storing=True),
        ):
            with pytest.raises(CalibrationDatabaseError, match=r"cannot be written: .*readonly"):
                change()
        with pytest.raises(CalibrationDatabaseError, match=r"cannot be made: .*Permission denied"):
            CalibrationDatabase.create(shared_folder / "new.db")
    assert stat.S_IMODE(shared_folder.stat().st_mode) == 0o555
    assert sorted(p.name for p in shared_folder.iterdir()) == ["d.fits", "f2.db"]


def test_a_database_that_may_not_be_read(shared_folder: Path) -> None:
    database = CalibrationDatabase.create(shared_folder / "f2.db")
    database.path.chmod(0)
    with _without_root(), pytest.raises(CalibrationDatabaseError, match="cannot be read: Perm"):
        database.entries()


def test_a_product_is_read_whole_before_it_is_entered(tmp_path: Path) -> None:
    file = dark(tmp_path, "d.fits")
    entry = read_product(file, origin="test")
    assert len(entry.sha256) == 64
    assert entry.path == file
