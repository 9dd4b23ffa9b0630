"""Products: their names, headers and places, and the calibration store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from astropy.io import fits
from f2yaml.interpreter.errors import OutputError, RequestError
from f2yaml.interpreter.events import FileWritten
from f2yaml.interpreter.fits import read_frame
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.products import Writer
from f2yaml.schema.recipe import Output, Write
from numpy.testing import assert_array_equal
from synthetic import assert_unchanged, flat_frame, snapshot


def named(number: int, suffix: str = "stack", **more: object) -> Frame:
    return flat_frame(number, name=f"S20200104S{number:04d}_{suffix}.fits", **more)  # type: ignore[arg-type]


def write(
    writer: Writer,
    streams: Mapping[str, Sequence[Frame]],
    notes: Sequence[str] = (),
    **outputs: Output,
) -> list[FileWritten]:
    return list(writer.products(outputs, streams, notes))


def test_products_are_named_and_complete(tmp_path: Path) -> None:
    given = named(1, objmask=1)
    before = snapshot(given)
    out = write(Writer(tmp_path), {"main": [given]}, main=Output(suffix="_image"))
    path = tmp_path / "S20200104S0001_image.fits"
    assert out == [FileWritten(path, "")]
    made = read_frame(path)
    for left, right in zip(made.pixels.whole(), given.pixels.whole(), strict=True):
        assert_array_equal(left, right)
    assert list(tmp_path.iterdir()) == [path]
    assert_unchanged(before, given)


def test_only_the_planes_asked_for_are_written(tmp_path: Path) -> None:
    output = Output(suffix="_image", planes=("SCI", "VAR", "DQ"))
    write(Writer(tmp_path), {"main": [named(1, objmask=1)]}, main=output)
    made = read_frame(tmp_path / "S20200104S0001_image.fits")
    assert made.pixels.present == {"data", "variance", "mask"}


def test_the_suffix_of_the_user_replaces_all_of_it(tmp_path: Path) -> None:
    writer = Writer(tmp_path, suffix="_mine")
    write(writer, {"main": [named(1, "a_b")]}, main=Output(suffix="_image"))
    assert [p.name for p in writer.written] == ["S20200104S0001_mine.fits"]


@pytest.mark.parametrize(
    ("store", "key", "label"),
    [
        ("processed_science", "PROCSCI", "GS-1-001-SQ-IMAGE"),
        ("processed_dark", "PROCDARK", "GS-1-001-SQ-DARK"),
        ("processed_flat", "PROCFLAT", "GS-1-001-SQ-FLAT"),
        ("processed_bpm", "PROCBPM", "GS-1-001-SQ-BPM"),
    ],
)
def test_stored_products_are_stamped(tmp_path: Path, store: str, key: str, label: str) -> None:
    given = named(1, DATALAB="GS-1-001-STACK")
    output = Output(suffix="_x", store=store)  # type: ignore[arg-type]
    (event,) = write(Writer(tmp_path), {"main": [given]}, main=output)
    header = fits.getheader(event.path)
    assert header["DATALAB"] == label
    assert header[key] == header["GEM-TLM"]
    assert event.kind == store
    assert key not in given.phu


def test_calibrations_are_kept_once_and_stored(tmp_path: Path) -> None:
    stored: list[tuple[Path, str]] = []
    writer = Writer(tmp_path, store=lambda path, kind: stored.append((path, kind)))
    output = Output(suffix="_dark", store="processed_dark")
    write(writer, {"main": [named(1)]}, main=output)
    kept = tmp_path / "calibrations" / "processed_dark" / "S20200104S0001_dark.fits"
    assert stored == [(kept, "processed_dark")]
    assert kept.samefile(tmp_path / "S20200104S0001_dark.fits")
    write(writer, {"main": [named(1)]}, main=output)  # again, over the old ones
    assert kept.samefile(tmp_path / "S20200104S0001_dark.fits")


def test_science_products_are_not_kept_with_calibrations(tmp_path: Path) -> None:
    stored: list[tuple[Path, str]] = []
    writer = Writer(tmp_path, store=lambda path, kind: stored.append((path, kind)))
    output = Output(suffix="_image", store="processed_science")
    write(writer, {"main": [named(1)]}, main=output)
    assert stored == []
    assert not (tmp_path / "calibrations").exists()


def test_the_folder_of_calibrations_can_be_elsewhere(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "out", cache=lambda kind, name: tmp_path / "cache" / kind / name)
    writer.check()
    write(writer, {"main": [named(1)]}, main=Output(suffix="_flat", store="processed_flat"))
    assert (tmp_path / "cache/processed_flat/S20200104S0001_flat.fits").is_file()


def test_notes_go_into_every_product(tmp_path: Path) -> None:
    given = named(1)
    write(Writer(tmp_path), {"main": [given]}, ["one", "two"], main=Output(suffix="_x"))
    header = fits.getheader(tmp_path / "S20200104S0001_x.fits")
    assert list(header["COMMENT"]) == ["one", "two"]
    assert "COMMENT" not in given.phu


def test_products_never_overwrite_each_other(tmp_path: Path) -> None:
    frames = [named(1), named(1, "other")]
    with pytest.raises(RequestError, match=r"2 frames of stream `main` would be .* 1 names"):
        write(Writer(tmp_path), {"main": frames}, main=Output(suffix="_x"))
    streams = {"main": frames[:1], "deep": frames[1:]}
    with pytest.raises(RequestError, match="2 frames of stream `main`, `deep` would be"):
        write(Writer(tmp_path), streams, main=Output(suffix="_x"), deep=Output(suffix="_x"))
    assert list(tmp_path.iterdir()) == []


def test_inputs_are_never_written(tmp_path: Path) -> None:
    path = tmp_path / "S20200104S0001_x.fits"
    path.write_text("precious")
    link = tmp_path / "link"
    link.symlink_to(tmp_path, target_is_directory=True)
    for folder in (tmp_path, link):
        with pytest.raises(OutputError, match="is an input of this run"):
            write(
                Writer(folder, frozenset([path.resolve()])),
                {"main": [named(1)]},
                main=Output(suffix="_x"),
            )
    assert path.read_text() == "precious"


def test_products_stay_in_their_folder(tmp_path: Path) -> None:
    outside = named(1).with_(name="../S1.fits")
    with pytest.raises(OutputError, match=r"'../S1.fits' is not a plain file name"):
        Writer(tmp_path / "out").intermediate(outside, Write())


def test_intermediate_frames_keep_or_change_their_suffix(tmp_path: Path) -> None:
    writer = Writer(tmp_path)
    assert writer.intermediate(named(1), Write()).path.name == "S20200104S0001_stack.fits"
    event = writer.intermediate(named(1, objmask=1), Write(suffix="_a", planes=("OBJMASK", "SCI")))
    assert event == FileWritten(tmp_path / "S20200104S0001_a.fits", "")
    assert read_frame(event.path).pixels.present == {"data", "objmask"}
    assert writer.written == [tmp_path / "S20200104S0001_stack.fits", event.path]


def test_a_folder_is_made_and_one_that_cannot_be_is_an_error(tmp_path: Path) -> None:
    Writer(tmp_path / "a" / "b").check()
    assert list((tmp_path / "a" / "b").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file is a file") as error:
        Writer(tmp_path / "file").check()
    assert "--outdir" in str(error.value)
