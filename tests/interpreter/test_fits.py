"""Frames to FITS and back; raw frames as they come; damaged files; outputs whole or not at all."""

from __future__ import annotations

import bz2
import gzip
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from f2yaml.interpreter.errors import BadInput, OutputError
from f2yaml.interpreter.fits import read_frame, replaced, write_frame
from f2yaml.interpreter.frame import HistoryRow, ProvenanceRow
from f2yaml.interpreter.pixels import InMemory, OnDisk
from numpy.testing import assert_array_equal
from synthetic import frame

RNG = np.random.default_rng(7)


def product(**more: object) -> object:
    data = RNG.normal(100, 10, (20, 30)).astype(np.float32)
    mask = RNG.integers(0, 128, (20, 30)).astype(np.uint16)
    return frame(data, variance=4.0, mask=mask, objmask=1, **more)


def test_a_product_comes_back_bit_for_bit(tmp_path: Path) -> None:
    made = product()
    made = made.with_(
        history=(HistoryRow("prepare", "{}", "2020-01-01T00:00:00", "2020-01-01T00:00:01"),),
        provenance=(ProvenanceRow("2020-01-01", "raw.fits", "0" * 32, "prepare"),),
        skies=("S1", "S2"),
    )
    back = read_frame(write_frame(made, tmp_path / made.name))
    assert isinstance(back.pixels, OnDisk)
    for plane in ("data", "variance", "mask", "objmask"):
        original, restored = getattr(made, plane), getattr(back, plane)
        assert restored.dtype == original.dtype
        assert_array_equal(restored, original)
    assert back.history == made.history
    assert back.provenance == made.provenance
    assert back.skies == ("S1", "S2")
    assert back.wcs == made.wcs


def test_the_layout_is_that_of_dragons(tmp_path: Path) -> None:
    path = write_frame(product(), tmp_path / "a.fits")
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "SCI", "VAR", "DQ", "OBJMASK"]
        assert [hdu.header["EXTVER"] for hdu in hdus[1:]] == [1, 1, 1, 1]
        assert hdus[0].header["NEXTEND"] == 4
        assert hdus["SCI"].header["BITPIX"] == -32
        assert (hdus["DQ"].header["BITPIX"], hdus["DQ"].header["BZERO"]) == (16, 32768)
        assert hdus["OBJMASK"].header["BITPIX"] == 8
        assert hdus["VAR"].header["CRVAL1"] == hdus["SCI"].header["CRVAL1"]


def test_only_the_planes_asked_for_are_written(tmp_path: Path) -> None:
    path = write_frame(product(), tmp_path / "a.fits", ["SCI", "DQ"])
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["SCI", "DQ"]


def raw_file(path: Path, data: np.ndarray) -> Path:
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(data[None])]).writeto(path)
    return path


@pytest.mark.parametrize("ending", ["", ".bz2", ".gz"])
def test_raw_integers_keep_their_values_in_any_packing(tmp_path: Path, ending: str) -> None:
    counts = RNG.integers(-1000, 300_000, (16, 24)).astype(np.int32)
    path = raw_file(tmp_path / "S20200104S0075.fits", counts)
    if ending:
        pack = bz2.compress if ending == ".bz2" else gzip.compress
        packed = path.with_name(path.name + ending)
        packed.write_bytes(pack(path.read_bytes()))
        path = packed
    back = read_frame(path)
    assert isinstance(back.pixels, InMemory if ending else OnDisk)
    assert back.shape == (16, 24)
    assert back.data.dtype.kind == "i"
    assert_array_equal(back.data, counts)
    assert_array_equal(back.pixels.rows(3, 7).data, counts[3:7])


def test_planes_in_other_types_are_converted(tmp_path: Path) -> None:
    data = RNG.normal(size=(6, 6))
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(data, name="SCI")]
    hdus.append(fits.ImageHDU(np.ones((6, 6), np.int16), name="DQ"))
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    back = read_frame(tmp_path / "a.fits")
    assert back.data.dtype == np.float32
    assert back.mask is not None
    assert back.mask.dtype == np.uint16
    assert_array_equal(back.data, data.astype(np.float32))


def test_a_truncated_file_is_refused_by_name(tmp_path: Path) -> None:
    path = raw_file(tmp_path / "short.fits", np.zeros((100, 100), np.int32))
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(BadInput, match=r"short\.fits cannot be read as FITS.*truncated"):
        read_frame(path)


@pytest.mark.parametrize("ending", [".bz2", ".gz"])
def test_a_broken_archive_is_refused(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.fits{ending}"
    pack = bz2.compress if ending == ".bz2" else gzip.compress
    path.write_bytes(pack(os.urandom(5000))[:2000])
    with pytest.raises(BadInput, match="cannot be read: "):
        read_frame(path)


def test_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.fits"
    path.write_text("not a picture\n" * 500)
    with pytest.raises(BadInput, match="is not a FITS file"):
        read_frame(path)


def test_planes_of_unequal_shape_are_refused(tmp_path: Path) -> None:
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.zeros((4, 4), np.float32), name="SCI")]
    hdus.append(fits.ImageHDU(np.zeros((4, 5), np.float32), name="VAR"))
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    with pytest.raises(BadInput, match=r"VAR has shape \(4, 5\), SCI \(4, 4\)"):
        read_frame(tmp_path / "a.fits")


def test_a_failed_write_leaves_the_old_product_alone(tmp_path: Path) -> None:
    path = tmp_path / "image.fits"
    path.write_text("precious")

    def write_half() -> None:
        with replaced(path) as partial:
            partial.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match="no space left on the device"):
        write_half()
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written: No such file or directory"):
        write_frame(product(), tmp_path / "nowhere" / "a.fits")
