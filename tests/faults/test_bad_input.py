"""Files that are broken in any way: named once, with a reason, in bounded time and memory.

``F2YAML_ACCEPT=1 pytest tests/faults/test_bad_input.py`` writes messages.txt anew, to be reviewed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from command_line import Program
from faults import arena, corpus
from faults.corpus import Fault

ROOT = Path(__file__).parents[2]
#: What each message is compared with holds no folders, and no more of a name than its number.
PLACE = re.compile(r"/\S*/")
#: Faults of the fast part: what could hang, or take all memory, and every sixth of the others.
DANGEROUS = re.compile(r"pipe|dev-|bomb|huge|exabyte|digits|link|100000|10000-ext|proc|escape")
FAST = tuple(f for n, f in enumerate(corpus.faults()) if DANGEROUS.search(f.name) or n % 6 == 0)
SLOW = tuple(f for f in corpus.faults() if f not in FAST)
#: The program itself takes about 150 MiB; the greatest file here would take 6 GiB.
MOST_MIB = 400.0
LONGEST_S = 30.0


@dataclass(frozen=True)
class Place:
    """The corpus in `files`; good files, a recipe and the home in folders of their own."""

    top: Path

    @property
    def files(self) -> Path:
        return self.top / "files"

    def words(self, fault: Fault) -> list[str]:
        """Return a run of two good files and a broken one."""
        end = [str(self.files / fault.name)]
        return [*self.good(fault.frame), *end, "--quiet", "--jobs", "1"]

    def good(self, frame: str) -> list[str]:
        recipe = [] if frame == "dark" else [str(self.top / "aligned.yaml")]
        start = "S20200107S00" if frame == "dark" else "S20200104S00"
        numbers = ("49", "50") if frame == "dark" else ("75", "76")
        return ["run", *recipe, "--inputs", *(f"{self.top}/raw/{start}{n}.fits" for n in numbers)]

    def run(self, jobs: Sequence[arena.Job]) -> list[arena.Ended]:
        warm = [[*self.good(frame), "--quiet"] for frame in ("dark", "science")]
        return arena.run(jobs, self.top / "home", warm)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    top = tmp_path_factory.mktemp("corpus")
    made = Place(top)
    for folder in ("files", "home", "desks"):
        (top / folder).mkdir()
    (top / "night.yaml").write_text(corpus.SCENARIO)
    (top / "aligned.yaml").write_text(corpus.RECIPE)
    Program(top / "home")("simulate", "night.yaml", "--out", "raw", cwd=top)
    raw = top / "raw"
    corpus.build(made.files, raw / "S20200107S0051.fits", raw / "S20200104S0077.fits")
    return made


def _clean(ended: arena.Ended, what: str) -> str:
    """Return standard error, once it is known to be text that harms no terminal or reader."""
    assert ended.seconds < LONGEST_S, f"{what} took {ended.seconds:.0f} s"
    assert ended.peak_mib < MOST_MIB, f"{what} took {ended.peak_mib:.0f} MiB"
    for output in (ended.stdout, ended.stderr):
        text = output.decode("utf-8")
        assert all(c.isprintable() or c == "\n" for c in text), f"{what}: {text!r}"
    text = ended.stderr.decode("utf-8")
    for word in ("Traceback", "Warning", "WARNING", "unexpected", "no memory left"):
        assert word not in text, f"{what}: {text}"
    return text


def _said(text: str) -> str:
    """Return what a message says, without folders."""
    lines = [PLACE.sub("", line).strip() for line in text.split("  why:")[0].splitlines()]
    return re.sub("0x[0-9a-f]+", "0x", " ".join(lines))


def _shown(name: str) -> str:
    """Return a file name as messages have it."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)


def _as_root(fault: Fault) -> bool:
    return "no-permission" in fault.name and os.geteuid() == 0  # root may read everything


def _check(place: Place, faults: Sequence[Fault]) -> None:
    jobs = []
    for fault in faults:
        desk = place.top / "desks" / fault.name[:4]
        desk.mkdir()
        jobs.append(arena.Job(place.words(fault), str(desk), LONGEST_S))
    expected = corpus.messages()
    wrong = []
    for fault, job, ended in zip(faults, jobs, place.run(jobs), strict=True):
        text = _clean(ended, fault.name)
        if _as_root(fault):
            continue
        made = [str(p) for p in Path(job.folder).rglob("*")]
        if ended.status != fault.status:
            wrong.append(f"{fault.name}: status {ended.status}, not {fault.status}: {text}")
        elif fault.status:
            said = _said(text)
            if made:
                wrong.append(f"{fault.name} left {made}")
            if said != expected.get(fault.name[:4]) or text.count("  fix:  ") != 1:
                wrong.append(f"{fault.name}: {said}")
            if _shown(fault.name).removesuffix(".fits") not in text or fault.words not in text:
                wrong.append(f"{fault.name} is not named, or not with {fault.words!r}: {text}")
        elif not made or text:
            wrong.append(f"{fault.name} is not reduced in silence: {text}")
    assert not wrong, "\n".join(wrong)


def test_the_corpus_is_large() -> None:
    assert len(corpus.faults()) >= 200
    assert len({fault.kind for fault in corpus.faults()}) == 11


def test_every_sixth_file_and_all_dangerous_ones_in_a_run(place: Place) -> None:
    _check(place, FAST)


@pytest.mark.full
def test_every_other_file_in_a_run(place: Place) -> None:
    _check(place, SLOW)


def test_inspection_names_every_bad_file_and_goes_on(place: Place) -> None:
    """Three commands over the whole corpus and a good file among it."""
    good = f"{place.top}/raw/S20200107S0049.fits"
    files = [str(place.files / f.name) for f in corpus.faults()]
    commands = {
        "typewalk": ["typewalk", "-d", str(place.files), "-f", "f", "--format", "json"],
        "showd": ["showd", "-d", "object,exposure_time,read_mode,ut_datetime", *files, good],
        "dataselect": ["dataselect", "--tags", "F2", *files, good],
    }
    jobs = [arena.Job(words, str(place.top), LONGEST_S) for words in commands.values()]
    wrong = []
    for name, ended in zip(commands, place.run(jobs), strict=True):
        text = _clean(ended, name)
        assert ended.status == 1
        assert text.count("  why:  ") == text.count("  fix:  ") > 100
        if name != "typewalk":
            assert "S20200107S0049.fits" in ended.stdout.decode()
        for fault in corpus.faults():
            if _as_root(fault) or (name == "typewalk" and fault.name.endswith("folder.fits")):
                continue  # walked into, not read; or readable
            started = [
                line for line in text.splitlines()
                if fault.name[:5] in line and not line.startswith("  ")
            ]  # fmt: skip
            if len(started) != fault.seen and not (name == "showd" and not fault.seen):
                wrong.append(f"{name} of {fault.name}: {started}")  # showd reads cells one by one
    assert not wrong, "\n".join(wrong)
    walked = json.loads(place.run(jobs[:1])[0].stdout)
    assert {Path(row["file"]).name for row in walked} >= {
        f.name for f in corpus.faults() if f.status == 0 and not f.seen
    }


def test_all_at_once_in_one_run(place: Place, tmp_path: Path) -> None:
    """Every file whose headers are bad is named before any work, and nothing is written."""
    bad = [f for f in corpus.faults() if f.seen and f.status == 1 and not _as_root(f)]
    bad = [f for f in bad if "dev-stdin" not in f.name]  # which is the null device here, too
    words = [*place.good("dark"), *(str(place.files / f.name) for f in bad)]
    ended = place.run([arena.Job(words, str(tmp_path), LONGEST_S)])[0]
    text = _clean(ended, "the run")
    assert ended.status == 1
    assert text.count("  fix:  ") == len(bad)
    for fault in bad:
        assert fault.name[:5] in text
    assert list(tmp_path.iterdir()) == []


def test_the_page_has_the_table() -> None:
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    assert corpus.table() in page, "run `python tests/faults/corpus.py --table`"


if os.environ.get("F2YAML_ACCEPT"):

    def test_accept(place: Place) -> None:
        chosen = [f for f in corpus.faults() if f.status and not _as_root(f)]
        folder = str(place.top / "desks")
        done = place.run([arena.Job(place.words(f), folder, LONGEST_S) for f in chosen])
        lines = [
            f"{f.name[:4]} | {_said(e.stderr.decode())}" for f, e in zip(chosen, done, strict=True)
        ]
        about = "# What a run says of each file of the corpus that it refuses, folders left out."
        target = Path(__file__).with_name("messages.txt")
        target.write_text("\n".join([about, *lines, ""]), encoding="utf-8")
