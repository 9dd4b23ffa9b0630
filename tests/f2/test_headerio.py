"""Headers without pixels, from sound and from damaged files."""

from __future__ import annotations

import bz2
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from f2_headers import raw_headers, write_raw
from f2yaml.interpreter.errors import BadInput
from f2yaml.interpreter.headerio import read_headers, read_headers_many, try_headers

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "raw"


@pytest.mark.parametrize("name", ["S1.fits", "S1.fits.gz", "S1.fits.bz2"])
def test_headers_of_plain_and_compressed_files(tmp_path: Path, name: str) -> None:
    wanted = raw_headers("D")
    found = read_headers(write_raw(tmp_path, wanted, name=name))
    assert found.filename == name
    for key, value in wanted.phu.items():
        assert found.phu[key] == value
    assert found.sci["CRVAL1"] == 150.0
    assert (found.sci["NAXIS1"], found.sci["NAXIS3"]) == (4, 1)
    assert "EXTNAME" not in found.sci


def test_headers_are_those_of_the_usual_reader(tmp_path: Path) -> None:
    path = write_raw(tmp_path, raw_headers("A"), np.arange(6000).reshape(60, 100))
    found = read_headers(path)
    with fits.open(path) as hdus:
        assert repr(found.phu) == repr(hdus[0].header)
        assert repr(found.sci) == repr(hdus[1].header)


def test_the_extension_named_sci_is_found(tmp_path: Path) -> None:
    path = tmp_path / "product.fits"
    planes = [("VAR", 1), ("SCI", 2), ("DQ", 3)]
    images = [fits.ImageHDU(np.full((40, 40), v, np.float32), name=n) for n, v in planes]
    table = fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1, 2])], name="HISTORY")
    primary = fits.PrimaryHDU(np.zeros((10, 10), np.int16))
    fits.HDUList([primary, table, *images]).writeto(path)
    assert read_headers(path).sci["EXTNAME"] == "SCI"
    fits.HDUList([primary, images[2], images[0]]).writeto(path, overwrite=True)
    assert read_headers(path).sci["EXTNAME"] == "DQ"


@pytest.mark.parametrize("suffix", ["", ".bz2"])
def test_a_file_cut_off_in_its_pixels_still_shows_its_headers(tmp_path: Path, suffix: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 60000, (1024, 1024))
    path = write_raw(tmp_path, raw_headers("A"), pixels, name=f"S1.fits{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    assert read_headers(path).phu["OBJECT"] == "Field-1"


def damaged(folder: Path) -> dict[str, Path]:
    """Return files that are wrong in different ways."""
    good = write_raw(folder, raw_headers("A"), name="good.fits").read_bytes()
    contents = {
        "empty": b"",
        "text": b"this is no FITS file\n" * 200,
        "short": b"SIMPLE  =",
        "phu_cut": good[:4000],
        "ext_cut": good[: 2880 * 5 + 100],
        "no_extension": good[: 2880 * 5],
        "bytes": good[:500] + b"\xff\xfe" + good[502:],
        "bz2_garbage": b"BZh9" + b"\x00" * 500,
        "bz2_cut": bz2.compress(good)[:200],
        "gz_garbage": b"\x1f\x8b\x08" + b"\x01" * 500,
        "no_end": good[:80] + b"COMMENT x".ljust(80) * (36 * 1001),
    }
    paths = {}
    for name, content in contents.items():
        paths[name] = folder / f"{name}.fits"
        paths[name].write_bytes(content)
    paths["missing"] = folder / "missing.fits"
    paths["folder"] = folder
    paths["pipe"] = folder / "pipe.fits"
    os.mkfifo(paths["pipe"])
    paths["link"] = folder / "link.fits"
    paths["link"].symlink_to(folder / "nowhere.fits")
    paths["table"] = folder / "table.fits"
    column = fits.Column("a", "J", array=[1])
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([column])]).writeto(
        paths["table"]
    )
    return paths


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("empty", "is empty"),
        ("text", "is not a FITS file"),
        ("short", "ends inside the primary header"),
        ("phu_cut", "ends inside the primary header"),
        ("ext_cut", "ends inside the header of an extension"),
        ("no_extension", "has no image extension"),
        ("bytes", "no printable ASCII character"),
        ("bz2_garbage", "cannot be read"),
        ("bz2_cut", "cannot be read|ends inside"),
        ("gz_garbage", "cannot be read"),
        ("no_end", "has no END"),
        ("missing", "does not exist"),
        ("folder", "is a folder"),
        ("pipe", "is a pipe, socket or device"),
        ("link", "a link to a missing file"),
        ("table", "has no image extension"),
    ],
)
def test_damaged_files_are_named_with_the_reason(tmp_path: Path, kind: str, words: str) -> None:
    path = damaged(tmp_path)[kind]
    with pytest.raises(BadInput, match=words) as caught:
        read_headers(path)
    problem = caught.value.problems[0]
    assert str(path) in problem.what
    assert problem.why
    assert problem.fix


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    path = write_raw(tmp_path, raw_headers("A"))
    path.chmod(0)
    with pytest.raises(BadInput, match="may not be read"):
        read_headers(path)


def test_negative_axes_are_refused(tmp_path: Path) -> None:
    path = write_raw(tmp_path, raw_headers("A"), name="x.fits")
    content = path.read_bytes().replace(
        b"NAXIS   =                    0", b"NAXIS   =                    1", 1
    )
    path.write_bytes(content)
    with pytest.raises(BadInput, match="damaged header"):
        read_headers(path)


def test_many_files_keep_their_order_and_report_every_fault(tmp_path: Path) -> None:
    paths = [write_raw(tmp_path, raw_headers("A", OBJECT=f"n{n}"), name=f"{n}.fits.gz")
             for n in (3, 1, 2)]  # fmt: skip
    for jobs in (1, 3):
        assert [h.phu["OBJECT"] for h in read_headers_many(paths, jobs)] == ["n3", "n1", "n2"]
    bad = [tmp_path / "a.fits", paths[0], tmp_path / "b.fits"]
    with pytest.raises(BadInput) as caught:
        read_headers_many(bad, 2)
    assert [p.what.split("/")[-1] for p in caught.value.problems] == [
        "a.fits does not exist",
        "b.fits does not exist",
    ]
    kinds = [isinstance(result, BadInput) for _, result in try_headers(bad, 2)]
    assert kinds == [True, False, True]


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference night is not beside the project")
def test_the_reference_night() -> None:
    science = read_headers(REFERENCE / "S20131121S0075.fits.bz2")
    assert science.phu["OBJECT"] == "SIMFIELD"
    assert science.sci["NAXIS1"] == 2048
