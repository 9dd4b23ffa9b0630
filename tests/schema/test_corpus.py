"""Faulty documents, one real mistake each: what is said of them, to the letter.

``python tests/corpus/rewrite.py`` brings the messages up to date; read them as a user would.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from f2yaml.interpreter.checking import as_data, problems_in
from f2yaml.interpreter.cli import main
from f2yaml.schema.problems import Place

CORPUS = Path(__file__).parent.parent / "corpus"
DOCUMENTS = sorted(path.stem for path in CORPUS.glob("*.yaml"))
#: Documents of which one message would not tell all.
SEVERAL = {"indentation_of_output": 2, "insert_without_steps": 2, "two_faults": 3}

spec = importlib.util.spec_from_file_location("rewrite", CORPUS / "rewrite.py")
assert spec is not None
assert spec.loader is not None
rewrite = importlib.util.module_from_spec(spec)
spec.loader.exec_module(rewrite)


@pytest.fixture(autouse=True)
def in_the_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CORPUS)


def test_the_corpus_is_complete() -> None:
    assert len(DOCUMENTS) >= 60
    assert sorted(path.stem for path in CORPUS.glob("*.expected")) == DOCUMENTS


@pytest.mark.parametrize("name", DOCUMENTS)
def test_messages_are_as_expected(name: str) -> None:
    expected = (CORPUS / f"{name}.expected").read_text(encoding="utf-8")
    assert rewrite.messages(f"{name}.yaml") == expected


@pytest.mark.parametrize("name", DOCUMENTS)
def test_messages_have_all_parts_and_one_is_enough(name: str) -> None:
    problems = problems_in(f"{name}.yaml")
    assert len(problems) == SEVERAL.get(name, 1)
    for problem in problems:
        assert problem.what
        assert problem.why
        assert problem.fix
        if name not in ("utf16", "fits_file"):  # no line of these can be shown
            assert isinstance(problem.where, Place)
            blank = problem.where.text == ""
            assert not blank or name in ("empty", "only_comments")


def test_all_of_them_at_once_as_text_and_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    files = [f"{name}.yaml" for name in DOCUMENTS]
    assert main(["validate", *files]) == 2
    text = capsys.readouterr().out
    assert text.count("\n  fix:  ") == len(DOCUMENTS) + sum(n - 1 for n in SEVERAL.values())
    assert main(["validate", "--format", "json", *files]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told == [as_data(p, name) for name in files for p in problems_in(name)]
    assert {entry["document"] for entry in told} == set(files)
    found = next(entry for entry in told if entry["document"] == "value_through_includes.yaml")
    assert (found["file"], found["line"], found["column"]) == ("value_through_includes.yaml", 4, 19)
    assert [(a["role"], a["file"], a["line"]) for a in found["also"]] == [
        ("used at", "value_through_includes.yaml", 8),
        ("used at", "parts/passes.yaml", 7),
    ]
