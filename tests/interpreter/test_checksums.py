"""Checksums of files, begun before they are asked for."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
from f2yaml.interpreter import checksums
from f2yaml.interpreter.checksums import Checksums


def files(folder: Path) -> dict[Path, str]:
    made = {}
    for number in range(5):
        path = folder / f"{number}.fits"
        path.write_bytes(bytes([number]) * 100_000)
        made[path] = hashlib.md5(path.read_bytes()).hexdigest()
    return made


def test_each_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    plain = checksums.checksum
    monkeypatch.setattr(checksums, "checksum", lambda path: read.append(path) or plain(path))
    expected = files(tmp_path)
    sums = Checksums()
    others = [*expected][1:]
    sums.begin(others)
    assert {path: sums.of(path) for path in expected} == expected
    assert sorted(read) == sorted(expected)
    assert sums.of(others[0]) == expected[others[0]]  # asked for again: read again
    assert len(read) == 6
    sums.close()


def test_a_file_that_cannot_be_read_fails_when_it_is_asked_for(tmp_path: Path) -> None:
    sums = Checksums()
    sums.begin([tmp_path / "nobody.fits"])
    with pytest.raises(FileNotFoundError):
        sums.of(tmp_path / "nobody.fits")
    sums.close()


def test_closed_or_copied_it_reads_when_asked(tmp_path: Path) -> None:
    expected = files(tmp_path)
    sums = Checksums()
    sums.begin(expected)
    copy = pickle.loads(pickle.dumps(sums))
    sums.close()
    for one in (sums, copy):
        assert {path: one.of(path) for path in expected} == expected
