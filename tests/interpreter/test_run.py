"""Plans executed: streams, chains, conditions, what is written, and what never changes a result."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from f2_headers import raw_headers, write_raw
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.errors import FrameMismatch, RequestError
from f2yaml.interpreter.events import (
    FileWritten,
    FrameDone,
    Noted,
    RunFinished,
    RunStarted,
    StepFinished,
    StepStarted,
    TableMade,
)
from f2yaml.interpreter.fits import checksum, read_frame, write_frame
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import InMemory
from f2yaml.interpreter.run import Execution
from f2yaml.interpreter.sources import unread_frame
from numpy.testing import assert_array_equal
from stubs import Bench, Library, install
from synthetic import assert_unchanged, dither, frame, snapshot


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    return Bench(tmp_path)


def frames(count: int, shape: tuple[int, int] = (5, 4)) -> list[Frame]:
    """Return frames of the values 10, 20, 30 ..."""
    return [
        frame(np.full(shape, 10.0 * n), name=f"S20200104S{n:04d}.fits") for n in range(1, count + 1)
    ]


def steps(*lines: str) -> str:
    return "steps:\n" + "".join(f"  - {line}\n" for line in lines)


def outputs(*streams: str) -> str:
    """Return the outputs of a recipe; streams that nothing reads any more are let go."""
    return "outputs:\n" + "".join(f"  {name}: {{suffix: _{name}}}\n" for name in streams)


def levels(run: Execution, stream: str = "main") -> list[float]:
    return [float(f.data[0, 0]) for f in run.streams[stream]]


# streams and steps ----------------------------------------------------------------------------
def test_steps_run_in_order_on_every_frame(bench: Bench) -> None:
    given = frames(3)
    before = snapshot(*given)
    run = bench.run(steps("{do: addOne}", "{do: rowNumber}", "{do: addOne}"), given)
    assert levels(run) == [23, 43, 63]  # (10 + 1) * 2 + 1
    assert run.streams["main"][0].data[:, 0].tolist() == [23, 24, 25, 26, 27]
    assert_unchanged(before, *given)


def test_streams_are_read_filled_copied_and_cleared(bench: Bench) -> None:
    lines = (
        "{do: copyInputs, to: kept}",
        "{do: split, to: [one, rest]}",
        "{do: addOne, from: rest, to: more}",
        "{do: addTo, from: one, to: more}",
        "{do: meanOf, from: rest, to: mean}",
        "{do: clearStream, from: rest}",
    )
    run = bench.run(steps(*lines) + outputs("main", "kept", "one", "more", "mean"), frames(3))
    assert levels(run, "main") == levels(run, "kept") == [10, 20, 30]
    assert levels(run, "one") == [10]
    assert levels(run, "more") == [31, 41]
    assert levels(run, "mean") == [25]
    assert run.streams["rest"] == ()


def test_frame_by_frame_steps_on_different_streams_do_not_mix(bench: Bench) -> None:
    lines = (
        "{do: copyInputs, to: kept}",
        "{do: addOne}",
        "{do: rowNumber, from: kept, to: kept}",
        "{do: addOne, to: more}",
        "{do: rowNumber, from: main}",
    )
    run = bench.run(steps(*lines) + outputs("main", "kept", "more"), frames(1))
    assert (levels(run), levels(run, "kept"), levels(run, "more")) == ([22], [20], [12])


def test_a_false_condition_breaks_a_chain_of_steps(bench: Bench) -> None:
    text = steps(
        "{do: addOne}", "{when: count(main) > 1, steps: [{do: rowNumber}]}", "{do: addOne}"
    )
    assert levels(bench.run(text, frames(1))) == [12]
    assert levels(bench.run(text, frames(2))) == [23, 43]


def test_streams_hold_pixels_not_promises(bench: Bench) -> None:
    run = bench.run(steps("{do: addOne}", "{do: rowNumber}"), frames(2))
    assert all(isinstance(f.pixels, InMemory) for f in run.streams["main"])


def test_streams_that_nothing_reads_any_more_are_let_go(bench: Bench) -> None:
    text = steps(
        "{do: copyInputs, to: kept}", "{do: addOne, from: kept, to: kept}", "{do: addOne}",
        "{when: count(kept) == 2, steps: [{do: rowNumber}]}",
    )  # fmt: skip
    run = bench.run(text, frames(2))
    assert "kept" not in run.streams
    assert levels(run) == [22, 42]  # what is gone is still counted
    text = steps(
        "{do: copyInputs, to: kept}", "{do: addOne}", "{do: split, to: [kept, rest]}",
        "{when: count(kept) == 1, steps: [{do: rowNumber, from: rest, to: main}]}",
    )  # fmt: skip
    assert levels(bench.run(text, frames(2))) == [42]  # and counted anew when it is filled again


def test_an_include_gives_its_result_to_another_stream(bench: Bench) -> None:
    (bench.folder / "inner.yaml").write_text("f2yaml: 1\nname: inner\n" + steps("{do: addOne}"))
    text = steps("{include: inner.yaml, to: deep}", "{do: rowNumber}") + outputs("main", "deep")
    run = bench.run(text, frames(1))
    assert (levels(run, "deep"), levels(run)) == ([11], [20])


@pytest.mark.parametrize(("count", "expected"), [(2, [10, 20]), (3, [11, 21, 31])])
def test_a_condition_on_frames_is_decided_once_before_its_steps(
    bench: Bench, count: int, expected: list[float]
) -> None:
    text = (
        "steps:\n  - when: count(main) > 2\n    steps:\n"
        "      - {do: addOne, to: more}\n      - {do: split, to: [main, rest]}\n"
        "      - {do: copyInputs, from: more}\n"  # count(main) is 1 here
    )
    assert levels(bench.run(text, frames(count))) == expected


def test_a_requirement_stops_the_run_with_its_reason(bench: Bench) -> None:
    text = "steps:\n  - {do: addOne}\n  - {require: count(main) == 2, because: pairs are needed}\n"
    assert levels(bench.run(text, frames(2))) == [11, 21]
    with pytest.raises(RequestError, match=r"requires count.main. == 2 .frames per stream: main 3"):
        bench.run(text, frames(3))
    with pytest.raises(RequestError, match=r"test.yaml:5:.*\n(.*\n)+  why:  pairs are needed"):
        bench.run(text, frames(3))


def test_recipe_parameters_reach_conditions_at_run_time(bench: Bench) -> None:
    text = (
        "parameters: {least: {default: 3}}\nsteps:\n"
        "  - when: count(main) >= $least\n    steps: [{do: addOne}]\n  - {do: rowNumber}\n"
    )
    assert levels(bench.run(text, frames(2))) == [20, 40]
    assert levels(bench.run(text, frames(2), param=["least=2"])) == [22, 42]


@pytest.mark.parametrize("jobs", [1, 2, 4])
def test_frames_keep_their_order_whichever_is_done_first(bench: Bench, jobs: int) -> None:
    run = bench.run(steps("{do: slow}", "{do: addOne}"), frames(4), engine=Engine(jobs))
    assert levels(run) == [11, 21, 31, 41]
    done = [e.name for e in bench.events if isinstance(e, FrameDone) and e.number == 1]
    assert sorted(done) == [f"S20200104S{n:04d}_one.fits" for n in range(1, 5)]
    if jobs == 4:
        assert done[0] == "S20200104S0004_one.fits"  # the first one sleeps longest


# headers and history --------------------------------------------------------------------------
def test_a_step_renames_stamps_and_records(bench: Bench) -> None:
    text = "steps:\n  - {do: addOne, with: {amount: 2.5}}\n  - {do: tell}\n  - {do: meanOf}\n"
    (made,) = bench.run(text, frames(2)).streams["main"]
    assert made.name == "S20200104S0001_mean.fits"
    assert [row.primitive for row in made.history] == ["addOne", "meanOf"]  # tell changes nothing
    first, second = made.history
    assert json.loads(first.args) == {"amount": 2.5, "suffix": "_one", "word": None}
    assert first.timestamp_start <= first.timestamp_stop <= second.timestamp_start
    assert made.phu["ADDONE"] == first.timestamp_stop
    assert made.phu["MEANOF"] == made.phu["GEM-TLM"] == second.timestamp_stop
    assert "addOne" in made.phu.comments["ADDONE"]


def test_what_goes_into_a_frame_is_listed_with_checksums(bench: Bench) -> None:
    dark = bench.folder / "dark.fits"
    write_frame(frame(np.full((4, 4), 3.0), name="dark.fits"), dark)
    bench.library = Library({"processed_dark": dark})
    path = write_raw(bench.folder, raw_headers("A"), np.full((4, 4), 50))
    text = "steps:\n  - {do: addOne}\n  - {do: needDark}\n  - {do: needDark}\n"
    (made,) = bench.run(text, [unread_frame(path)]).streams["main"]
    assert (made.data == 45).all()
    assert [(r.filename, r.md5, r.provenance_added_by) for r in made.provenance] == [
        (path.name, checksum(path), "addOne"),
        ("dark.fits", checksum(dark), "needDark"),
    ]


def test_the_dark_of_a_lamp_flat_is_listed(bench: Bench) -> None:
    dark = bench.folder / "dark.fits"
    cards = {"OBSTYPE": "DARK", "EXPTIME": 2.0}
    write_frame(frame(np.full((4, 4), 3.0), name="dark.fits", **cards), dark)
    bench.library = Library({"processed_dark": dark})
    flats = [f.with_cards(phu={"OBSTYPE": "FLAT", "EXPTIME": 2.0}) for f in frames(2, (4, 4))]
    (made,) = bench.run("steps: [{do: makeLampFlat}]\n", flats).streams["main"]
    assert [r.filename for r in made.provenance] == ["dark.fits"]
    assert made.provenance[0].md5 == checksum(dark)


def test_a_product_read_again_keeps_its_history(bench: Bench) -> None:
    text = steps("{do: addOne}") + "outputs:\n  main: {suffix: _a}\n"
    bench.run(text, frames(1))
    again = unread_frame(bench.folder / "out" / "S20200104S0001_a.fits")
    (made,) = bench.run(steps("{do: rowNumber}"), [again]).streams["main"]
    assert [row.primitive for row in made.history] == ["addOne", "rowNumber"]
    assert made.name == "S20200104S0001_row.fits"


# events ---------------------------------------------------------------------------------------
def test_a_run_tells_what_it_does(bench: Bench) -> None:
    text = "steps:\n  - {do: addOne}\n  - {do: rowNumber}\n  - {do: tell}\n"
    text += "outputs:\n  main: {suffix: _x}\n"
    bench.run(text, frames(2))
    kinds = [type(e) for e in bench.events]
    assert kinds == [
        RunStarted,
        StepStarted,  # a chain is begun together
        StepStarted,
        FrameDone,
        FrameDone,
        FrameDone,
        FrameDone,
        StepFinished,
        StepFinished,
        StepStarted,
        TableMade,
        Noted,
        StepFinished,
        FileWritten,
        FileWritten,
        RunFinished,
    ]
    first = bench.events[0]
    assert first == RunStarted("test", 3, 2)
    assert [(e.number, e.name) for e in bench.events if isinstance(e, FrameDone)] == [
        (1, "S20200104S0001_row.fits"),
        (2, "S20200104S0001_row.fits"),
        (1, "S20200104S0002_row.fits"),
        (2, "S20200104S0002_row.fits"),
    ]
    last = [e for e in bench.events if isinstance(e, StepFinished)][-1]
    assert (last.number, last.name, last.frames, last.health) == (3, "tell", 2, "well")
    table = next(e.table for e in bench.events if isinstance(e, TableMade))
    assert table.rows == (("S20200104S0001_row.fits",), ("S20200104S0002_row.fits",))


def test_shortfalls_are_told_and_written_into_the_products(bench: Bench) -> None:
    text = steps("{do: darkCorrect, with: {do_cal: skip}}", "{do: tell}")
    run = bench.run(text + "outputs:\n  main: {suffix: _x}\n", frames(1))
    expected = ["darkCorrect is left out, as do_cal=skip asks", "told"]
    assert [e.text for e in bench.events if isinstance(e, Noted)] == expected
    assert run.notes == expected
    header = fits.getheader(bench.folder / "out" / "S20200104S0001_x.fits")
    assert list(header["COMMENT"]) == expected


# files ----------------------------------------------------------------------------------------
def written(bench: Bench) -> list[str]:
    return sorted(path.name for path in (bench.folder / "out").iterdir())


def test_only_what_is_asked_for_is_written(bench: Bench) -> None:
    text = steps(
        "{do: addOne, write: true}",
        "{do: rowNumber, write: {suffix: _mine, planes: [SCI]}}",
        "{do: meanOf, write: true}",
    )
    bench.run(text, frames(2))
    assert written(bench) == [
        "S20200104S0001_mean.fits",
        "S20200104S0001_mine.fits",
        "S20200104S0001_one.fits",
        "S20200104S0002_mine.fits",
        "S20200104S0002_one.fits",
    ]
    one = read_frame(bench.folder / "out" / "S20200104S0001_one.fits")
    assert (one.data == 11).all()
    assert one.pixels.present == {"data", "variance", "mask"}
    mine = read_frame(bench.folder / "out" / "S20200104S0001_mine.fits")
    assert mine.pixels.present == {"data"}
    assert mine.data[2, 0] == 24
    assert mine.name == "S20200104S0001_mine.fits"


def test_outputs_have_their_suffix_or_that_of_the_user(bench: Bench) -> None:
    text = (
        steps("{do: addOne, to: more}") + "outputs:\n  more: {suffix: _x}\n  main: {suffix: _y}\n"
    )
    bench.run(text, frames(1))
    assert written(bench) == ["S20200104S0001_x.fits", "S20200104S0001_y.fits"]
    short = steps("{do: addOne}") + "outputs:\n  main: {suffix: _x}\n"
    bench.run(short, frames(1), suffix="_z")
    assert "S20200104S0001_z.fits" in written(bench)


# the machine does not matter ------------------------------------------------------------------
MACHINES = [(1, 1, 1 << 30), (2, 7, 1 << 30), (1, 64, 0), (2, 64, 0), (2, 1, 3000)]


def planes_of(run: Execution) -> list[Any]:
    return [p for f in run.streams["main"] for p in f.pixels.whole() if p is not None]


@pytest.mark.parametrize(("jobs", "band_rows", "memory"), MACHINES)
def test_jobs_bands_and_memory_do_not_change_a_bit(
    bench: Bench, jobs: int, band_rows: int, memory: int
) -> None:
    given = dither([(0, 0), (1.3, 2.0), (-2.5, 0.7), (4, 4)], shape=(70, 40)).frames
    text = steps(
        "{do: rowNumber}",
        "{do: addOne}",
        "{do: resampleToCommonFrame}",
        "{do: scaleCountsToReference}",
        "{do: stackFrames}",
        "{do: rowNumber}",
    )
    plain = planes_of(bench.run(text, given))
    scratch = bench.folder / "scratch"
    scratch.mkdir()
    engine = Engine(jobs, memory, scratch, band_rows)
    other = planes_of(bench.run(text, given, engine=engine))
    assert len(plain) == 4  # data, variance, mask, coverage
    for left, right in zip(plain, other, strict=True):
        assert_array_equal(left, right)
    assert list(scratch.iterdir()) == []


def test_detection_in_threads_finds_the_same(bench: Bench) -> None:
    stars = [(30.0, 30.0, 50000.0), (60.0, 50.0, 80000.0)]
    given = dither([(0, 0), (3, 3)], shape=(96, 96), stars=stars, sky=100.0).frames
    text = steps("{do: addOne}", "{do: detectSources}")
    scratch = bench.folder / "scratch"
    scratch.mkdir()
    one = bench.run(text, given).streams["main"]
    two = bench.run(text, given, engine=Engine(2, scratch=scratch)).streams["main"]
    for left, right in zip(one, two, strict=True):
        assert left.name == right.name
        assert left.objcat is not None
        assert len(left.objcat) == 2
        assert_array_equal(left.objcat, right.objcat)
        for a, b in zip(left.pixels.whole(), right.pixels.whole(), strict=True):
            assert_array_equal(a, b)
        assert [r.primitive for r in right.history] == ["addOne", "detectSources"]
    finished = [e for e in bench.events if isinstance(e, StepFinished)][-1]
    assert finished.health.startswith("2 sources, FWHM ")
    assert list(scratch.iterdir()) == []


# errors ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("jobs", [1, 2])
def test_an_error_says_step_place_and_frame_and_leaves_nothing(bench: Bench, jobs: int) -> None:
    scratch = bench.folder / "scratch"
    scratch.mkdir()
    text = steps("{do: addOne, write: true}", "{do: meanOf, to: mean}", "{do: fail}")
    with pytest.raises(FrameMismatch, match="it does not fit") as error:
        bench.run(
            text + "outputs:\n  main: {suffix: _x}\n",
            frames(3),
            engine=Engine(jobs, 0, scratch),
        )
    (problem,) = error.value.problems
    assert str(problem.where).startswith("step 3 fail (test.yaml:6:")
    assert str(problem.where).endswith(", frame S20200104S0002_one.fits")
    assert list(scratch.iterdir()) == []
    assert written(bench) == [f"S20200104S{n:04d}_one.fits" for n in (1, 2, 3)]


def test_an_error_of_a_group_step_says_where(bench: Bench) -> None:
    mixed: Sequence[Frame] = [*frames(1), *frames(2, (3, 3))[1:]]
    with pytest.raises(FrameMismatch, match=r"step 1 stackFrames \(test.yaml:4:") as error:
        bench.run(steps("{do: stackFrames}"), mixed)
    assert "shape of S20200104S0001.fits" in str(error.value)


def test_an_error_of_detection_says_where(bench: Bench) -> None:
    tiny = [f.with_(data=np.full(f.shape, np.nan, np.float32)) for f in frames(2)]
    broken = [f.with_cards(sci={"CTYPE1": "RA---SIN"}) for f in tiny]
    for jobs in (1, 2):
        with pytest.raises(Exception, match=r"step 1 detectSources \(test.yaml:4:.*") as error:
            bench.run(steps("{do: detectSources}"), broken, engine=Engine(jobs))
        assert "projection RA---SIN" in str(error.value)
