"""``f2yaml compile``: it runs what needs kernels, and says where they cannot be kept."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
from f2yaml.interpreter.algorithms import compiling
from f2yaml.interpreter.commands import compile as command
from f2yaml.interpreter.errors import F2Error
from f2yaml.schema.problems import RequestError


def test_it_runs_recipes_on_a_small_night(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[tuple[str, ...]] = []
    monkeypatch.setattr(command, "_step", lambda folder, *words: done.append(words[:2]))
    assert command.run(argparse.Namespace()) == 0
    assert done[0] == ("simulate", "tiny")
    beside = ("run", "beside.yaml")
    assert done.count(beside) == 1
    assert [words for words in done[1:] if words != beside] == [
        ("run", "--inputs"), ("run", "--inputs"), ("run", "ultradeep"),
        ("run", "alignAndStack"), ("run", "reduce"), ("run", "makeSkyFlat"),
    ]  # fmt: skip
    assert capsys.readouterr().out.startswith("kernels are compiled; ")


def test_without_a_place_to_keep_them_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "not_kept", ["no folder; name one"])
    with pytest.raises(RequestError, match="compiled kernels cannot be kept"):
        command.run(argparse.Namespace())


def test_a_run_that_fails_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(F2Error, match="f2yaml simulate nothing failed"):
        command._step(tmp_path, "simulate", "nothing", "--out", "raw")
