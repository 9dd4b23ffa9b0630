"""Journals: frames kept and made again, what makes a run begin anew, and journals that are bad."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from f2yaml.interpreter import journal as journals
from f2yaml.interpreter import keeping
from f2yaml.interpreter.checkpoint import Packer, Shelf, Sink, unwritten, write_part, write_source
from f2yaml.interpreter.engine import Engine
from f2yaml.interpreter.events import (
    Announced,
    Event,
    FileWritten,
    Noted,
    Resumed,
    RunStarted,
    StepFinished,
    StepStarted,
    TableMade,
)
from f2yaml.interpreter.fits import read_frame, write_frame
from f2yaml.interpreter.frame import Frame, HistoryRow, ProvenanceRow
from f2yaml.interpreter.framerows import frame_rows
from f2yaml.interpreter.journal import Blob, FrameDoc, StateDoc
from f2yaml.interpreter.journalfolder import Damaged, Folder, folder_of
from f2yaml.interpreter.keeping import Journal
from f2yaml.interpreter.liveview import LiveView
from f2yaml.interpreter.origins import Origins
from f2yaml.interpreter.pixels import PLANES, Computed, InMemory, Overlay, Planes
from f2yaml.interpreter.products import Writer
from f2yaml.interpreter.records import FactRow, RunRecord
from f2yaml.interpreter.restoring import Restorer
from f2yaml.interpreter.run import execute
from f2yaml.interpreter.sources import unread_frame
from stubs import Bench, Library, install
from synthetic import frame

RECIPE = """
parameters:
  more: {default: true, doc: one step more}
steps:
  - {do: addOne, write: {suffix: _saved}}
  - {do: copyInputs, to: other}
  - {do: tell}
  - {do: needDark}
  - {do: addTo, from: main, to: other}
  - when: $more and count(other) == 3
    steps:
      - {do: rowNumber}
  - {do: meanOf}
outputs:
  main: {suffix: _main}
  other: {suffix: _other}
"""
STEPS = 7


class Killed(BaseException):
    """The end of a process, at no time of its own choice."""


@dataclass
class Desk:
    """A bench with three inputs and a dark in files, and runs that keep a journal."""

    bench: Bench
    inputs: list[Path]
    said: list[Event] = field(default_factory=list)

    @property
    def out(self) -> Path:
        return self.bench.folder / "out"

    @property
    def folder(self) -> Path:
        return folder_of(self.out, self.inputs[0].stem, "test")

    def run(
        self,
        *,
        resume: bool = True,
        stop: int | None = None,
        clock: Callable[[], float] | None = None,
        text: str = RECIPE,
        **more: Any,
    ) -> Journal:
        """Run until step `stop` begins; returns the journal as it was then."""
        plan = self.bench.plan(text, [unread_frame(path) for path in self.inputs], **more)
        writer = Writer(self.out)
        writer.check()
        self.said.clear()
        words = {} if clock is None else {"clock": clock}
        journal = Journal(plan, self.out, resume=resume, **words)

        def listen(event: Event) -> None:
            self.said.append(event)
            if isinstance(event, StepStarted) and event.number == stop:
                raise Killed

        try:
            execute(plan, Engine(2), writer, listen, journal)
            assert stop is None
        except Killed:
            assert stop is not None
        return journal

    @property
    def lines(self) -> list[str]:
        """What was announced, and after which step the run was resumed."""
        told = []
        for event in self.said:
            if isinstance(event, Announced):
                told.append(event.text)
            elif isinstance(event, Resumed):
                told.append(f"after {event.number}")
        return told

    def results(self) -> dict[str, Any]:
        """Return the bytes of every file that was made, and what else a user gets."""
        planes: dict[str, Any] = {
            path.name: [None if p is None else p.tobytes() for p in read_frame(path).pixels.whole()]
            for path in self.out.glob("*.fits")
        }
        planes["tables"] = [e.table for e in self.said if isinstance(e, TableMade)]
        planes["notes"] = [e.text for e in self.said if isinstance(e, Noted)]
        planes["written"] = {e.path.name for e in self.said if isinstance(e, FileWritten)}
        return planes


def set_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    install(monkeypatch)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(os, "fsync", lambda number: None)  # 40 ms each on a busy disk
    rng = np.random.default_rng(20200104)
    inputs = []
    for n in range(1, 4):
        name = f"S20200104S000{n}.fits"
        made = frame(rng.normal(100, 10, (9, 13)), name=name, objmask=rng.random((9, 13)) > 0.7)
        inputs.append(write_frame(made, folder / name))
    dark = write_frame(frame(rng.normal(0, 1, (9, 13)), name="d.fits"), folder / "d.fits")
    return Desk(Bench(folder, Library({"processed_dark": dark})), inputs)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return set_up(tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a run gives that nothing has disturbed and that keeps no journal."""
    with pytest.MonkeyPatch.context() as patch:
        undisturbed = set_up(tmp_path_factory.mktemp("unbroken"), patch)
        undisturbed.run(resume=False)
        made = undisturbed.results()
    assert len(made) == 3 + 1 + 3 + 3  # saved, mean, others; and what it told
    return made


# going on -------------------------------------------------------------------------------------
@pytest.mark.parametrize("stop", range(1, STEPS + 1))
def test_a_run_goes_on_to_the_same_result(desk: Desk, unbroken: dict[str, Any], stop: int) -> None:
    desk.run(stop=stop)
    desk.run()
    # Steps that only look at headers, and those that nothing has come of, are not kept.
    after = {1: None, 2: 1, 3: 1, 4: 3, 5: 4, 6: 5, 7: 6}[stop]
    begin = "nothing to resume: the run begins at its first step"
    assert desk.lines == ([begin] if after is None else [f"after {after}"])
    assert desk.results() == unbroken
    assert not desk.folder.exists()


def test_a_run_broken_at_every_step_goes_on_each_time(desk: Desk, unbroken: dict[str, Any]) -> None:
    reached = []
    for stop in (2, 4, 5, 6, 7):
        journal = desk.run(stop=stop)
        reached.append(journal.left)
    assert reached == [
        "step 1 of 7, addOne", "step 3 of 7, tell", "step 4 of 7, needDark", "step 5 of 7, addTo",
        "step 6 of 7, rowNumber",
    ]  # fmt: skip
    finished = desk.run().left, [e for e in desk.said if isinstance(e, Resumed)]
    assert finished[0] == ""
    assert [step.number for step in finished[1][0].finished] == [1, 2, 3, 4, 5, 6]
    assert desk.results() == unbroken


def test_a_condition_stays_as_it_was_decided(desk: Desk) -> None:
    """It counted the stream before its own first step changed that."""
    text = (
        "steps:\n  - {do: tell}\n  - when: count(main) == 3\n    steps:\n"
        "      - {do: meanOf}\n      - {do: addOne}\n  - {do: tell}\n"
        "outputs: {main: {suffix: _main}}\n"
    )
    desk.run(stop=3, text=text)
    desk.run(text=text)
    assert desk.lines == ["after 2"]
    assert [e.name for e in desk.said if isinstance(e, StepFinished)] == ["addOne", "tell"]


def test_what_was_done_before_counts_for_no_time() -> None:
    now = 0.0
    view = LiveView({1: 100.0, 2: 10.0}, clock=lambda: now)
    view.take(RunStarted("r", 2, 1))
    assert view.left() == pytest.approx(110)
    view.take(Resumed(1, 2, "a", (StepFinished(1, "a", 1, 99.0),)))
    assert view.left() == pytest.approx(10)


# what has changed -----------------------------------------------------------------------------
def test_a_parameter_that_changed_is_told_and_redone(desk: Desk) -> None:
    desk.run(p=["addTo:skip_primitive=False"], stop=STEPS)
    text = RECIPE.replace("{do: rowNumber}", "{do: addOne, id: again, with: {amount: 2.0}}")
    desk.run(text=text)
    assert desk.lines[0].startswith("redone from addOne (")
    assert desk.lines[0].endswith("test.yaml:14:14) on: it is addOne, was rowNumber")
    resumed = desk.results()
    for path in desk.out.iterdir():
        path.unlink()
    desk.run(text=text, resume=False)
    assert resumed == desk.results()


def test_the_value_that_changed_is_named(desk: Desk, unbroken: dict[str, Any]) -> None:
    desk.run(p=["addOne:amount=3"], stop=STEPS)
    desk.run()
    assert desk.lines[0].endswith(" on: amount is 1.0, was 3.0")
    assert desk.lines[1:] == ["nothing is left to resume: the run begins at its first step"]
    assert desk.results() == unbroken


def replaced_input(desk: Desk) -> None:
    write_frame(frame(np.ones((9, 13)), name=desk.inputs[1].name), desk.inputs[1])


def fewer(desk: Desk) -> None:
    desk.inputs.pop()
    (desk.out / "S20200104S0003_saved.fits").unlink()


def turned(desk: Desk) -> None:
    desk.inputs[1:] = desk.inputs[:0:-1]


def another_dark(desk: Desk) -> None:
    write_frame(frame(np.ones((9, 13)), name="d.fits"), desk.bench.folder / "d.fits")


def gone(desk: Desk) -> None:
    (desk.out / "S20200104S0002_saved.fits").unlink()


def newer(desk: Desk) -> None:
    journals.versions = lambda: {"f2yaml": "9.9"}  # type: ignore[attr-defined]
    keeping.versions = journals.versions


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replaced_input, "all is redone: S20200104S0002.fits has changed since"),
        (fewer, "nothing can be resumed, all is redone: the list of inputs is another: 1 fewer "
                "(S20200104S0003.fits)"),
        (turned, "nothing can be resumed, all is redone: the inputs come in another order"),
        (another_dark, "on: d.fits has changed since"),
        (newer, "nothing can be resumed, all is redone: it was made by f2yaml 0"),
        (gone, "cannot resume after step 6 of 7, rowNumber: S20200104S0002_saved.fits, which step "
               "1 had saved, is gone or changed"),
    ],
)  # fmt: skip
def test_what_has_changed_is_told_and_redone(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, change: Callable[[Desk], None], said: str
) -> None:
    for module in (journals, keeping):
        monkeypatch.setattr(module, "versions", module.versions)  # put back at the end
    desk.run(stop=STEPS)
    change(desk)
    desk.run()
    assert said in desk.lines[0]
    resumed = desk.results()
    for path in desk.out.iterdir():
        path.unlink()
    desk.run(resume=False)
    assert resumed == desk.results()


def test_a_mark_of_time_alone_is_no_change_where_the_checksum_is_known(desk: Desk) -> None:
    """Of raw files the run knows the checksum; of products, size and time tell."""
    known = journals.InputDoc(name="a", size=1, mtime_ns=1, md5="x")
    same, other = known.model_copy(update={"mtime_ns": 2}), known.model_copy(update={"md5": "y"})
    plain = known.model_copy(update={"md5": ""})
    changed = journals._changed_inputs
    assert changed([known], [same]) == ""
    assert changed([known], [other]) == "a has changed since"
    assert changed([plain], [known]) == ""
    assert changed([plain], [same]) == "a has changed since"


# journals that are bad ------------------------------------------------------------------------
def spoil(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    match chance.randrange(4):
        case 0:
            del content[chance.randrange(len(content)) :]
        case 1:
            for _ in range(chance.choice((1, 4, 30))):
                content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        case 2:
            content.clear()
        case _:
            path.unlink()
            return
    path.write_bytes(content)


@pytest.mark.parametrize("times", [12, pytest.param(100, marks=pytest.mark.full)])
def test_damage_is_told_or_does_no_harm(desk: Desk, unbroken: dict[str, Any], times: int) -> None:
    """Damaged journals: every run ends with the same pixels."""
    chance = random.Random(75)
    outcomes = set()
    desk.run(stop=STEPS)
    saved = desk.out.rename(desk.bench.folder / "saved")
    for _ in range(times):
        shutil.rmtree(desk.out, ignore_errors=True)
        shutil.copytree(saved, desk.out)
        files = sorted(p for p in desk.folder.iterdir() if p.name != "lock")
        spoil(chance.choice(files), chance)
        desk.run()
        outcomes |= {line.split(" ")[0] for line in desk.lines}
        assert desk.results() == unbroken
    assert outcomes >= {"cannot", "nothing"}


def test_a_single_bit_is_noticed(desk: Desk, unbroken: dict[str, Any]) -> None:
    desk.run(stop=STEPS)
    entry = Folder(desk.folder).document().states[-1]
    file = desk.folder / next(name for name in entry.needs if name.startswith("planes"))
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    desk.run()
    assert desk.lines[0] == f"cannot resume after step 6 of 7, rowNumber: {file.name} is damaged"
    assert desk.results() == unbroken


def rewritten(desk: Desk, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the newest state of a journal, with all checksums right."""
    with_state = Folder(desk.folder)
    document = with_state.document()
    entry = document.states[-1]
    content = json.loads((desk.folder / entry.file).read_text())
    change(content)
    data = json.dumps(content).encode()
    (desk.folder / entry.file).write_bytes(data)
    told = json.loads((desk.folder / "journal.json").read_text())
    told["states"][-1] |= {"size": len(data), "sum": zlib.crc32(data)}
    (desk.folder / "journal.json").write_text(json.dumps(told))


def first_plane(content: dict[str, Any]) -> dict[str, Any]:
    stored = next(s for s in content["pixels"] if s["kind"] == "stored")
    plane: dict[str, Any] = stored["planes"]["data"]
    return plane


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "shape": lambda c: first_plane(c).update(shape=[1 << 40, 1 << 40]),
    "long": lambda c: first_plane(c).update(shape=[1 << 14, 1 << 14]),
    "end": lambda c: first_plane(c).update(at=1 << 50),
    "file": lambda c: first_plane(c).update(file="../../etc/passwd"),
    "type": lambda c: first_plane(c).update(dtype="|O8"),
    "text": lambda c: first_plane(c).update(dtype="<U4"),
    "more": lambda c: c.update(code="import os"),
    "frames": lambda c: c.update(frames=c["frames"] * 1000),
    "number": lambda c: c["frames"][0].update(pixels=99),
    "cycle": lambda c: c["pixels"].append({"kind": "over", "base": 99, "planes": {}}),
    "steps": lambda c: c["pixels"].append(
        {"kind": "again", "root": "S20200104S0001", "steps": [99], "opened": True}
    ),
    "group": lambda c: c.update(
        pixels=[{"kind": "again", "root": "S20200104S0001", "steps": [1], "opened": True}]
        * len(c["pixels"])
    ),
    "root": lambda c: c["headers"][0].update(root="S1"),
    "card": lambda c: c["headers"].append({"cards": [["A\x1b[2J"]]}),
    "name": lambda c: c["written"][0].update(name="../../x"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_absurd_journals_are_refused(desk: Desk, unbroken: dict[str, Any], kind: str) -> None:
    desk.run(stop=STEPS)
    rewritten(desk, CHANGES[kind])
    desk.run()
    assert desk.lines[0].startswith("cannot resume after step 6 of 7, rowNumber: ")
    assert desk.results() == unbroken


@pytest.mark.parametrize("text", ["[" * 200_000, '{"format": 7}', "null", "", "x" * 100])
def test_documents_that_are_none_are_named(desk: Desk, text: str) -> None:
    desk.run(stop=3)
    (desk.folder / "journal.json").write_text(text)
    desk.run()
    assert desk.lines[0].startswith(f"the journal {desk.folder} cannot be used: ")
    assert len(desk.lines) == 1


def test_links_and_pipes_are_no_journals(desk: Desk, unbroken: dict[str, Any]) -> None:
    desk.run(stop=3)
    (desk.folder / "journal.json").unlink()
    os.mkfifo(desk.folder / "journal.json")
    desk.run()
    assert "journal.json is no plain file" in desk.lines[0]
    desk.run(stop=3)
    elsewhere = desk.bench.folder / "elsewhere"
    desk.folder.rename(elsewhere)
    desk.folder.symlink_to(elsewhere)
    before = sorted(elsewhere.iterdir())
    desk.run()
    assert desk.lines[-1].startswith("no journal is kept: ")
    assert sorted(elsewhere.iterdir()) == before
    assert desk.results() == unbroken


# whose it is ----------------------------------------------------------------------------------
def test_a_second_run_goes_on_without_a_journal(desk: Desk, unbroken: dict[str, Any]) -> None:
    text = RECIPE.replace(", write: {suffix: _saved}", "")  # which both would replace
    desk.run(stop=5, text=text)
    first = Folder(desk.folder)
    first.claim()
    kept = {path.name: path.read_bytes() for path in desk.folder.iterdir()}
    pixels = {n: made for n, made in unbroken.items() if n.endswith(("_main.fits", "_other.fits"))}
    assert len(pixels) == 4
    for resume in (True, False):
        desk.run(resume=resume, text=text)
        assert desk.lines == [
            f"another run of test on these frames is at work in {desk.out}: this one keeps no "
            "journal"
        ]
        assert desk.results().items() >= pixels.items()
    assert {path.name: path.read_bytes() for path in desk.folder.iterdir()} == kept
    first.leave()
    desk.run(text=text)
    assert desk.lines == ["after 4"]


def test_a_claim_is_of_the_folder_that_is_there(desk: Desk) -> None:
    """Another run may remove the folder between two moments of a claim."""
    desk.out.mkdir()
    one, other = Folder(desk.folder), Folder(desk.folder)
    one.claim()
    stale = os.open(desk.folder / "lock", os.O_RDWR)
    one.remove()
    assert not desk.folder.exists()
    other.claim()
    assert other.claimed
    assert not one._locked(stale)
    assert not one.claimed


def test_a_run_over_an_old_journal_says_so(desk: Desk, unbroken: dict[str, Any]) -> None:
    desk.run(stop=5)
    desk.run(resume=False)
    assert desk.lines == [
        "an interrupted run had come to step 4 of 7, needDark; this one begins anew (--resume "
        "would go on from there)"
    ]
    assert desk.results() == unbroken
    assert not desk.folder.exists()


# cost and room --------------------------------------------------------------------------------
class Clock:
    """Time passes by steps, a fixed time for each look."""

    def __init__(self, step: float) -> None:
        self.step, self.now = step, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_without_resume_only_what_is_cheap_is_kept(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert desk.run(resume=False, stop=STEPS).left == ""  # nothing of it took two seconds
    journal = desk.run(resume=False, stop=STEPS, clock=Clock(2.5))
    assert journal.left == "step 6 of 7, rowNumber"
    desk.run()  # it goes on from there
    assert desk.lines == ["after 6"]
    monkeypatch.setattr(keeping, "RATE", 10.0)  # a disk so slow that nothing is worth it
    assert desk.run(resume=False, stop=STEPS, clock=Clock(2.5)).left == ""
    assert not desk.folder.exists()


def test_a_full_disk_ends_the_journal_not_the_run(
    desk: Desk, unbroken: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    add = Sink.add

    def full(sink: Sink, array: Any, **words: Any) -> Blob:
        if sink.name > "planes-000004":
            raise OSError(errno.ENOSPC, "No space left on device")
        return add(sink, array, **words)

    monkeypatch.setattr(Sink, "add", full)
    journal = desk.run(stop=STEPS)
    assert journal.left == "step 3 of 7, tell"
    line = (
        f"the run goes on without its journal: {desk.folder} cannot be written: no space left on "
        "the device"
    )
    assert desk.lines[1:] == [line]
    desk.run()
    assert desk.lines == ["after 3", line]
    assert desk.results() == unbroken


def test_no_room_is_taken_from_the_products(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 1 << 20

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    assert desk.run(stop=STEPS).left == ""
    assert desk.lines[1].endswith("no space left on the device")
    assert not desk.folder.exists()


def test_planes_of_the_past_are_removed(desk: Desk) -> None:
    desk.run(stop=STEPS)
    (entry,) = Folder(desk.folder).document().states
    names = {path.name for path in desk.folder.iterdir()}
    assert names == {"lock", "journal.json", entry.file, *entry.needs}


# frames ---------------------------------------------------------------------------------------
def rich() -> Frame:
    """Return a frame that has all that frames may have."""
    rng = np.random.default_rng(5)
    shape = (7, 19)
    made = frame(
        rng.normal(size=shape), variance=rng.random(shape), mask=3, objmask=rng.random(shape) > 0.5
    )
    cards = {
        "THIRD": (1 / 3, "does not fit in 20 characters"),
        "SINGLE": np.float32(0.1),
        "FLAG": True,
        "COUNT": np.int64(7),
        "OBJECT": None,
        "LONG": ("x" * 150, "of several cards"),
        "HIERARCH LONG KEYWORD": 3,
    }
    header = made.phu.copy()
    header["FRACTION"] = (-1.2345678901234567e-100, "more digits than a card holds")
    header.add_comment("a comment")
    header.add_history("a step")
    header["EMPTY"] = None
    table = np.array(
        [(1, 0.1 + 0.2, b"a"), (2, np.nan, b"bc")], [("n", "i4"), ("x", "f8"), ("s", "S2")]
    )
    run = RunRecord(("f2yaml: 1", "name: a"), facts=(FactRow("run", "recipe", "a"),))
    made = replace(
        made,
        phu=header,
        objcat=table,
        refcat=table[:0],
        skies=("a", "b"),
        history=(HistoryRow("a", '{"b": 1}', "c", "d"),),
        provenance=(ProvenanceRow("a", "b", "c", "d"),),
        runs=(run,),
        md5="abc",
    ).with_cards(cards, {"BUNIT": "electron", "SKYLEVEL": 2 / 3})
    made = replace(made, members=frame_rows([made]))
    over = Overlay(made.pixels, {"mask": rng.integers(0, 9, shape, np.uint16), "variance": None})
    return replace(made, pixels=over)


def through(frames: Sequence[Frame], folder: Path) -> list[Frame]:
    """Write frames into files and a document, and make them again of these."""
    shelf, origins = Shelf(), Origins()
    todo = unwritten(frames, origins, shelf)
    for n, source in enumerate(todo.sources):
        sink = Sink(folder, f"planes-{n:06d}")
        shelf.put(source, write_source(sink, source))
        sink.close()
    sink = Sink(folder, "small-000001")
    for part in todo.parts:
        shelf.put(part, write_part(sink, part))
    sink.close()
    packer = Packer(origins, shelf)
    numbers = tuple(packer.frame(f) for f in frames)
    state = StateDoc(
        streams={"main": numbers}, past={}, decisions=(), finished=(), tables=(), notes=(),
        written=(), frames=tuple(packer.frames), pixels=tuple(packer.pixels),
        headers=tuple(packer.headers), runs=tuple(packer.runs),
    )  # fmt: skip
    kept = Folder(folder)
    name, size, total = kept.write_state(state)
    entry = journals.StateEntry(done=0, step=0, name="", file=name, size=size, sum=total, needs=())
    restorer = Restorer(kept.state(entry), folder, {}, Origins(), Shelf())
    restorer.check(0, Engine().map)

    def none(*words: object) -> Any:
        raise AssertionError

    return list(restorer.streams(none, none, Engine().map)["main"])


def test_every_attribute_of_a_frame_survives(tmp_path: Path) -> None:
    given = rich()
    (made,) = through([given], tmp_path)
    assert made.pixels.present == given.pixels.present
    for name, one, other in zip(PLANES, given.pixels.whole(), made.pixels.whole(), strict=True):
        assert (one is None) == (other is None), name
        assert one is None or (one.dtype == other.dtype and one.tobytes() == other.tobytes()), name
    for key in given.phu:
        if key not in ("COMMENT", "HISTORY", ""):
            one, other = given.phu[key], made.phu[key]
            assert (type(one), one) == (type(other), other), key
            assert given.phu.comments[key] == made.phu.comments[key], key
    assert list(given.phu) == list(made.phu)
    assert given.phu.tostring() == made.phu.tostring()
    assert given.sci.tostring() == made.sci.tostring()
    for name in ("objcat", "refcat"):
        one, other = getattr(given, name), getattr(made, name)
        assert one.dtype == other.dtype
        assert one.tobytes() == other.tobytes()
    for name in ("name", "skies", "history", "provenance", "runs", "md5"):
        assert getattr(made, name) == getattr(given, name), name
    assert str(made.members) == str(given.members)  # with NaN in them, rows are equal to none


def test_no_attribute_of_a_frame_is_forgotten() -> None:
    assert {f.name for f in fields(Frame)} == set(FrameDoc.model_fields)


def test_what_frames_share_they_share_again(tmp_path: Path) -> None:
    one = rich()
    two = one.with_cards({"A": 1})
    made = through([one, two, one], tmp_path)
    assert made[0] is made[2]
    assert made[0].pixels is made[1].pixels
    assert made[0].phu is not made[1].phu


def test_pixels_on_a_new_grid_are_not_kept() -> None:
    """Their planes alone do not say what a stack asks of them."""
    plane = np.zeros((3, 4), np.float32)
    grid = Computed((3, 4), frozenset({"data"}), lambda start, stop: Planes(plane[start:stop]))
    made = replace(rich(), pixels=grid)
    with pytest.raises(keeping.Unkeepable):
        unwritten([made], Origins(), Shelf())
    held = replace(made, pixels=InMemory(Planes(plane)))
    assert unwritten([held], Origins(), Shelf()).size > plane.nbytes


def test_a_damaged_state_is_no_state(tmp_path: Path) -> None:
    entry = journals.StateEntry(
        done=0, step=0, name="", file="state-000001", size=2, sum=zlib.crc32(b"{}"), needs=()
    )
    (tmp_path / "state-000001").write_text("{}")
    with pytest.raises(Damaged, match=r"Field required \(streams\)"):
        Folder(tmp_path).state(entry)
    (tmp_path / "state-000001").write_text("[]")
    with pytest.raises(Damaged, match="state-000001 is damaged"):
        Folder(tmp_path).state(entry)
