"""The same pixels from the workers of a Dask scheduler, though one of them dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import Night, Program
from f2yaml.interpreter.cluster.storage import Storage
from f2yaml.interpreter.cluster.worker import Job, do, versions
from f2yaml.interpreter.errors import BadInput, RequestError
from f2yaml.interpreter.fits import read_frame
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import PLANES, InMemory, Planes

WORKERS = 3


def planes(path: Path) -> dict[str, bytes]:
    given = zip(PLANES, read_frame(path).pixels.whole(), strict=True)
    return {name: plane.tobytes() for name, plane in given if plane is not None}


def until(reached: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait for something that happens in another process."""
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and workers, each a process of its own; their address and the workers."""
    file = tmp_path / "scheduler.json"
    python = (sys.executable, "-m")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    common = ("--scheduler-file", str(file), "--no-dashboard")
    begun = [
        subprocess.Popen(
            [*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
             *common],
            **quiet,  # type: ignore[call-overload]
        )
    ]  # fmt: skip
    try:
        until(file.exists)
        begun += [
            subprocess.Popen(
                [*python, "distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny",
                 "--memory-limit", "0", "--local-directory", str(tmp_path / f"w{n}"), *common],
                **quiet,  # type: ignore[call-overload]
            )
            for n in range(WORKERS)
        ]  # fmt: skip
        yield json.loads(file.read_text())["address"], begun[1:]
    finally:
        for process in begun:
            process.kill()
        for process in begun:
            process.wait()


@pytest.fixture(scope="module")
def local(f2yaml: Program, tiny: Night, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Products of `spoken` made by threads of one process."""
    folder = tmp_path_factory.mktemp("local")
    f2yaml("run", spoken(folder), "--inputs", *tiny.science, *tiny.user_cal, cwd=folder)
    return folder


def spoken(folder: Path) -> Path:
    """Return a recipe that does all of ultradeep and writes frames between steps."""
    path = folder / "spoken.yaml"
    path.write_text(
        "f2yaml: 1\nname: spoken\nextends: ultradeep.yaml\n"
        "override:\n  flatCorrect: {write: true}\n"
    )
    return path


def assert_same(made: Path, local: Path) -> None:
    names = sorted(path.name for path in local.glob("*.fits"))
    assert sorted(path.name for path in made.glob("*.fits")) == names
    assert len(names) > 2
    for name in names:
        assert planes(made / name) == planes(local / name), name
    assert [path.name for path in made.iterdir() if path.name.startswith(".")] == []


@pytest.mark.full
def test_workers_of_this_machine_make_the_same(
    f2yaml: Program, tiny: Night, local: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    made.mkdir()
    given = ("--inputs", *tiny.science, *tiny.user_cal, "--executor", "dask", "--jobs", 2)
    f2yaml("run", spoken(tmp_path), *given, "--outdir", "made", cwd=tmp_path)
    assert_same(made, local)


def test_a_worker_that_dies_is_survived(
    f2yaml: Program,
    tiny: Night,
    local: Path,
    tmp_path: Path,
    cluster: tuple[str, list[subprocess.Popen[bytes]]],
) -> None:
    """The run is on relative paths and asks for one worker less than there are at the start."""
    address, workers = cluster
    made = tmp_path / "made"
    made.mkdir()
    log = tmp_path / "run.log"
    words = ("--inputs", *tiny.science, *tiny.user_cal, "--outdir", "made", "--log", log)
    run = f2yaml.start(
        "run", spoken(tmp_path), *words, "--executor", "dask", "--scheduler", address, cwd=tmp_path
    )
    until(lambda: run.poll() is not None or (log.exists() and "associateSky" in log.read_text()))
    assert run.poll() is None
    workers[0].kill()  # as skyCorrect is at work
    _, err = run.communicate(timeout=300)
    assert run.returncode == 0, err
    assert workers[0].poll() == -signal.SIGKILL
    assert [worker.poll() for worker in workers[1:]] == [None] * (WORKERS - 1)
    assert_same(made, local)


@pytest.mark.full
def test_an_interrupted_run_leaves_no_worker(f2yaml: Program, tiny: Night, tmp_path: Path) -> None:
    words = ("--inputs", *tiny.science, *tiny.user_cal, "--log", "run.log", "--jobs", 2)
    run = f2yaml.start("run", "ultradeep", *words, "--executor", "dask", cwd=tmp_path)
    log = tmp_path / "run.log"
    until(lambda: run.poll() is not None or (log.exists() and "associateSky" in log.read_text()))
    os.killpg(run.pid, signal.SIGINT)
    _, err = run.communicate(timeout=120)
    assert run.returncode == 130, err
    assert "Traceback" not in err
    until(lambda: not in_group(run.pid))
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith(".f2yaml-scratch")]
    assert left == []


def in_group(group: int) -> list[int]:
    """Return the processes of a group that live."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            after = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(after[2]) == group and after[0] != "Z":
            found.append(int(folder.name))
    return found


def test_a_wrong_address_is_told(f2yaml: Program, tiny: Night, tmp_path: Path) -> None:
    words = ("run", "ultradeep", "--inputs", *tiny.science, *tiny.user_cal)
    where = ("--executor", "dask", "--scheduler", "tcp://127.0.0.1:9")
    done = f2yaml(*words, *where, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert "no Dask scheduler at tcp://127.0.0.1:9" in done.stderr
    assert "dask scheduler" in done.stderr.rpartition("fix:")[2]
    assert [path.name for path in tmp_path.iterdir()] == []


def test_an_address_without_dask_is_refused(f2yaml: Program, tiny: Night, tmp_path: Path) -> None:
    words = ("run", "ultradeep", "--inputs", *tiny.science, *tiny.user_cal)
    done = f2yaml(*words, "--scheduler", "tcp://a:1", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "--executor dask" in done.stderr


def test_dask_that_is_not_installed_is_named(
    f2yaml: Program, tiny: Night, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "distributed.py").write_text(
        "raise ModuleNotFoundError('gone', name='distributed')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(hidden))
    words = ("run", "ultradeep", "--inputs", *tiny.science, *tiny.user_cal)
    done = f2yaml(*words, "--executor", "dask", cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "distributed" in done.stderr
    assert "f2yaml[dask]" in done.stderr


# what is sent -----------------------------------------------------------------------------------
def ends(tmp_path: Path, *, synced: bool = False) -> tuple[Storage, Storage]:
    return Storage(tmp_path, synced=synced, owner=True), Storage(tmp_path, synced=synced)


def test_pixels_are_not_sent_but_named(tmp_path: Path) -> None:
    here, there = ends(tmp_path)
    data = np.arange(512 * 512, dtype=np.float32).reshape(512, 512)
    data.flags.writeable = False
    frame = Frame(name="a.fits", pixels=InMemory(Planes(data)), phu={}, sci={})  # type: ignore[arg-type]
    kept: list[object] = []
    sent = here.dumps([frame, frame, data[100:200, ::2]], kept)
    assert len(sent) < 4000
    first, second, part = there.loads(sent)
    assert first is second
    assert np.array_equal(first.pixels.whole().data, data)
    assert not first.pixels.whole().data.flags.writeable
    assert np.array_equal(part, data[100:200, ::2])
    assert len(list(tmp_path.iterdir())) == 2
    kept.clear()
    assert len(list(tmp_path.iterdir())) == 1  # the part had no other use


def test_files_of_inputs_are_still_checked_by_workers(tiny: Night, tmp_path: Path) -> None:
    """One that is written over after it was chosen is noticed there as well."""
    here, there = ends(tmp_path / "run")
    source = tmp_path / "a.fits"
    source.write_bytes(tiny.darks_5s[0].read_bytes())
    frame = there.loads(here.dumps(read_frame(source)))
    frame.pixels.rows(0, 4)
    os.utime(source, ns=(1, 1))
    with pytest.raises(BadInput, match="has changed while it was in use"):
        frame.pixels.rows(4, 8)


def test_small_arrays_keep_whether_they_can_be_written(tmp_path: Path) -> None:
    here, there = ends(tmp_path)
    fixed, free = np.arange(5), np.arange(5)
    fixed.flags.writeable = False
    one, other = there.loads(here.dumps((fixed, free)))
    assert (one.flags.writeable, other.flags.writeable) == (False, True)
    assert one.tolist() == other.tolist() == [0, 1, 2, 3, 4]


def test_files_go_with_the_arrays(tmp_path: Path) -> None:
    """A worker hands back an array it was given: its file stays as long as either is in use."""
    here, there = ends(tmp_path)
    data = np.ones((256, 256))
    data.flags.writeable = False
    again = here.loads(there.dumps(there.loads(here.dumps(data))))
    assert len(list(tmp_path.iterdir())) == 1
    del data
    assert np.array_equal(there.loads(here.dumps(again)), np.ones((256, 256)))
    assert len(list(tmp_path.iterdir())) == 1
    del again
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("synced", [False, True])
def test_bands_are_written_where_the_owner_sees_them(tmp_path: Path, synced: bool) -> None:
    here, there = ends(tmp_path, synced=synced)
    path = here.fresh("planes")
    path.write_bytes(bytes(300 * 301))
    filled = np.frombuffer(here.mapped(path, writable=True), np.uint8).reshape(300, 301)
    filled[:3] = 9

    def work(band: tuple[int, int]) -> int:
        filled[slice(*band)] = band[0] % 7 + 1
        return band[1]

    bands = [(0, 1), (3, 10), (10, 299)]
    job = here.write(here.dumps(Job(work, bands, [filled])), "job")
    made = [here.loads(do(str(job), n, synced, versions())) for n in range(3)]
    here.reread()
    assert made == [1, 10, 299]
    expected = np.zeros((300, 301), np.uint8)
    expected[:3] = 9
    expected[0], expected[3:10], expected[10:299] = 1, 4, 4
    assert np.array_equal(filled, expected)
    assert there.folder == here.folder


def test_other_versions_are_refused(tmp_path: Path) -> None:
    here, _ = ends(tmp_path)
    job = here.write(here.dumps(Job(len, ["abc"])), "job")
    with pytest.raises(RequestError, match=r"numpy \S+ instead of 0\.1") as caught:
        do(str(job), 0, False, {**versions(), "numpy": "0.1"})
    assert "same versions" in caught.value.problems[0].fix
    assert here.loads(do(str(job), 0, False, versions())) == 3


def test_a_worker_without_the_folder_says_so(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="does not see") as caught:
        do(str(tmp_path / "nowhere" / "1.job"), 0, False, versions())
    assert "--outdir" in caught.value.problems[0].fix
