"""What steps note of each frame, for the table FRAMES of a stack."""

from __future__ import annotations

import math

import numpy as np
import pytest
from f2yaml.interpreter.algorithms.detect import OBJCAT_DTYPE
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.framerows import CARDS
from f2yaml.interpreter.primitives.bookkeeping import TransferAttribute, transfer_attribute
from f2yaml.interpreter.primitives.register import (
    AdjustWCS,
    ResampleToCommonFrame,
    adjust_wcs_to_reference,
    resample_to_common_frame,
)
from f2yaml.interpreter.primitives.stack import StackFrames, stack_frames
from f2yaml.interpreter.primitives.stack_scaling import ScaleCounts, scale_counts_to_reference
from numpy.testing import assert_array_equal
from synthetic import Dither, assert_unchanged, dither, snapshot

rng = np.random.default_rng(17)
STARS = np.column_stack([rng.uniform(15, 185, (2, 20)).T, np.geomspace(2e4, 2e5, 20)])
OFFSETS = [(0.0, 0.0), (6.3, -4.1), (-5.2, 7.7)]
ERRORS = [(0.0, 0.0), (2.0, -1.0), (-3.5, 0.4)]
TRANSPARENCIES = (1.0, 0.8, 1.25)


def catalogued(times: tuple[float, ...] = (5.0, 5.0, 5.0)) -> tuple[Dither, list[Frame]]:
    """Return frames with tables of their stars, seen through skies of different transparency."""
    truth = dither(OFFSETS, shape=(200, 200), stars=STARS, errors=ERRORS, noise=False)
    made = []
    for image, offset, clear, time in zip(
        truth.frames, truth.offsets, TRANSPARENCIES, times, strict=True
    ):
        table = np.zeros(len(STARS), OBJCAT_DTYPE)
        table["X_IMAGE"], table["Y_IMAGE"] = (STARS[:, :2] + offset).T + 1
        table["ERRX2_IMAGE"] = table["ERRY2_IMAGE"] = 0.02**2
        table["FLUX_AUTO"] = STARS[:, 2] * clear * time / 5.0
        table["FLUXERR_AUTO"] = 0.01 * table["FLUX_AUTO"]
        made.append(image.with_(objcat=table).with_cards(phu={"EXPTIME": time}))
    return truth, made


def corrections(frames: list[Frame]) -> np.ndarray:
    return np.array([(f.phu["WCSDX"], f.phu["WCSDY"]) for f in frames])


def test_corrections_of_positions_add_up_over_passes() -> None:
    _, frames = catalogued()
    once = list(adjust_wcs_to_reference(frames, AdjustWCS()).frames)
    assert corrections(once) == pytest.approx(np.array(ERRORS), abs=0.01)
    assert [f.phu["ALIGNBY"] for f in once] == ["sources"] * 3
    twice = list(adjust_wcs_to_reference(once, AdjustWCS()).frames)
    assert corrections(twice) == pytest.approx(np.array(ERRORS), abs=0.01)


def test_corrections_go_with_the_coordinates() -> None:
    _, frames = catalogued()
    aligned = list(adjust_wcs_to_reference(frames, AdjustWCS()).frames)
    streams = {"from": aligned, "to": frames}
    made = transfer_attribute(streams, TransferAttribute(attribute="wcs")).frames["to"]
    assert_array_equal(corrections(made), corrections(aligned))
    assert made[1].phu["ALIGNBY"] == "sources"
    assert "WCSDX" not in frames[1].phu


def test_frames_aligned_otherwise_say_so() -> None:
    _, frames = catalogued()
    frames[2] = frames[2].with_(objcat=frames[2].objcat[:2]).with_cards(phu={"ALIGNRMS": 0.3})
    made = adjust_wcs_to_reference(frames, AdjustWCS()).frames
    assert [f.phu["ALIGNBY"] for f in made] == ["sources", "sources", "offsets"]
    assert "ALIGNRMS" not in made[2].phu  # that of an earlier pass
    by_offsets = adjust_wcs_to_reference(frames, AdjustWCS(method="offsets")).frames
    assert [f.phu["ALIGNBY"] for f in by_offsets] == ["reference", "offsets", "offsets"]
    assert corrections(by_offsets) == pytest.approx(np.array(ERRORS), abs=1e-3)


def test_resampled_frames_know_their_place() -> None:
    truth, frames = catalogued()
    aligned = adjust_wcs_to_reference(frames, AdjustWCS()).frames
    made = resample_to_common_frame(aligned, ResampleToCommonFrame()).frames
    places = np.array([(f.phu["FRAMEDX"], f.phu["FRAMEDY"]) for f in made])
    # What moves the objects to the right moves the frame to the left.
    assert places == pytest.approx(-truth.offsets, abs=0.01)


@pytest.mark.parametrize("tolerance", [0.0, 0.5])
def test_transparency_is_noted_and_changes_no_pixel(tolerance: float) -> None:
    _, frames = catalogued((5.0, 5.0, 10.0))
    aligned = list(adjust_wcs_to_reference(frames, AdjustWCS()).frames)
    before = snapshot(*aligned)
    made = scale_counts_to_reference(aligned, ScaleCounts(tolerance=tolerance))
    made = list(made if isinstance(made, list) else made.frames)
    assert [f.phu["TRANSP"] for f in made] == pytest.approx(TRANSPARENCIES, rel=1e-4)
    assert [f.phu["TRANSPN"] for f in made] == [20, 20, 20]
    scale = made[1].data[0, 0] / aligned[1].data[0, 0]
    assert scale == pytest.approx(1.0 if tolerance == 0 else 1 / 0.8, rel=1e-4)
    if tolerance == 0:  # exposure times alone
        assert made[2].data[0, 0] == pytest.approx(aligned[2].data[0, 0] / 2)
    assert_unchanged(before, *aligned)


def test_few_stars_tell_no_transparency() -> None:
    _, frames = catalogued()
    few = [f.with_(objcat=f.objcat[:2]).with_cards(phu={"TRANSP": 0.1}) for f in frames]
    made = scale_counts_to_reference(few, ScaleCounts())
    assert isinstance(made, list)
    assert all("TRANSP" not in f.phu for f in made)


def test_a_stack_lists_its_frames_and_has_none_of_their_cards() -> None:
    _, frames = catalogued()
    frames = [f.with_cards(phu={"FWHMPIX": 3.0}, sci={"SKYLEVEL": 900.0 + n})
              for n, f in enumerate(frames)]  # fmt: skip
    aligned = adjust_wcs_to_reference(frames, AdjustWCS()).frames
    grid = resample_to_common_frame(aligned, ResampleToCommonFrame()).frames
    scaled = scale_counts_to_reference(grid, ScaleCounts())
    assert isinstance(scaled, list)
    [made] = stack_frames(scaled, StackFrames()).frames
    assert [row.sky_level for row in made.members] == [900.0, 901.0, 902.0]
    assert [row.name for row in made.members] == [f"S20200104S000{n}.fits" for n in (1, 2, 3)]
    assert [row.weight for row in made.members] == [pytest.approx(1 / 3)] * 3
    assert made.members[1].fwhm == pytest.approx(3 * 0.1792, rel=1e-4)
    assert made.members[1].transparency == pytest.approx(0.8, rel=1e-4)
    assert math.isnan(made.members[1].sky_noise)
    assert not set(CARDS) & set(made.phu)
    [weighted] = stack_frames(scaled, StackFrames(weight="variance")).frames
    assert weighted.members[0].sky_noise > 0
    assert sum(row.weight for row in weighted.members) == pytest.approx(1)
