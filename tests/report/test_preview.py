"""``f2yaml preview``: what is drawn is where it should be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import Program, cards, edited
from f2yaml.interpreter.algorithms.tan import Tan
from f2yaml.interpreter.errors import BadInput
from f2yaml.interpreter.fits import write_frame
from f2yaml.interpreter.preview import MARGIN, Stretch, limits, render
from PIL import Image
from synthetic import SCALE, frame, star_image

WHITE, AMBER = (255, 255, 255), (240, 170, 40)
STARS = [(100, 150, 2e5), (300, 350, 2e5), (420, 90, 2e5)]


def field(**more: Any) -> Any:
    """Return a frame of 512 x 512 pixels: noise of 1, three bright stars."""
    rng = np.random.default_rng(11)
    data = rng.normal(0, 1, (512, 512)) + star_image((512, 512), STARS)
    return frame(data, **more)


def coloured(image: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """Return rows and columns of the pixels of a colour."""
    return np.argwhere((np.asarray(image) == colour).all(axis=-1))


def test_bright_is_bright_and_up_is_up() -> None:
    grey = np.asarray(render(field(), size=512).convert("L"))[:-MARGIN]
    for x, y, _ in STARS:
        assert grey[511 - y, x] > 240
    assert 20 < np.median(grey) < 120  # the sky is neither black nor white


def test_the_scale_bar_is_as_long_as_it_says() -> None:
    image = render(frame(np.zeros((512, 512))), size=512)
    places = coloured(image, WHITE)
    bar = places[(places[:, 0] > 480) & (places[:, 0] < 512)]
    length = bar[:, 1].max() - bar[:, 1].min()
    assert length == pytest.approx(30 / 0.1792, abs=1.5)  # 30 arcsec: ends are whole pixels


def test_the_compass_points_north_and_east() -> None:
    # Axes as F2's: North to the right, East up.
    image = np.asarray(render(frame(np.zeros((512, 512))), size=512))
    corner = (image[10:110, 400:] == WHITE).all(axis=-1)
    rows, columns = np.nonzero(corner)
    knee = (60 - 10, 512 - 60 - 400)  # where both arrows start
    assert columns.max() > knee[1] + 30
    assert rows.min() < knee[0] - 30
    turned = Tan.rounded((256, 256), (150, -30), ((-SCALE, 0.0), (0.0, SCALE)))
    image = np.asarray(render(frame(np.zeros((512, 512)), wcs=turned), size=512))
    rows, columns = np.nonzero((image[10:110, 380:] == WHITE).all(axis=-1))
    assert columns.min() < 512 - 60 - 380 - 30  # East to the left
    assert rows.min() < 50 - 30  # North up


def test_the_colour_bar_runs_from_low_to_high() -> None:
    made = field()
    image = np.asarray(render(made, size=512).convert("L"))
    bar = image[512 + 12, 20:280].astype(int)
    assert (np.diff(bar) >= 0).all()
    assert bar[0] == 0
    assert bar[-1] == 255
    stretch = limits(made.data, np.ones(made.shape, bool))
    assert stretch.low == pytest.approx(-2, abs=0.1)
    assert stretch.high == pytest.approx(40, abs=1)
    assert Stretch(0, 10).apply(np.array([-1.0, 0, 10, 11])).tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize("size", [512, 256])
def test_circles_are_around_sources_that_are_looked_for(size: int) -> None:
    image = render(field(), size=size, circles=True)
    factor = 512 // size
    places = coloured(image, AMBER)
    for x, y, _ in STARS:
        centre = ((511.5 - y) / factor - 0.5, (x + 0.5) / factor - 0.5)
        near = places[np.hypot(*(places - centre).T) < 9]
        assert len(near) > 20
        assert near.mean(axis=0) == pytest.approx(centre, abs=1.0)
    assert len(coloured(render(field(), size=size), AMBER)) == 0


def test_flagged_pixels_are_left_out() -> None:
    mask = np.zeros((512, 512), np.uint16)
    mask[100, 200], mask[110, 210], mask[120, 220] = 1, 4, 64
    image = np.asarray(render(field(mask=mask), size=512))
    assert tuple(image[511 - 100, 200]) == (24, 28, 48)
    assert tuple(image[511 - 120, 220]) == (24, 28, 48)
    assert tuple(image[511 - 110, 210]) != (24, 28, 48)  # saturated is bright, not bad


def test_a_product_without_coordinates_has_a_picture(f2yaml: Program, tmp_path: Path) -> None:
    path = write_frame(field(), tmp_path / "x.fits")
    path = edited(path, tmp_path / "y.fits", cards({"CTYPE1": None}, extension=1))
    f2yaml("preview", path, "--size", 256, "--circles", cwd=tmp_path)
    with Image.open(tmp_path / "y.png") as picture:
        assert len(coloured(picture, WHITE)) < 500  # neither bar nor compass, stars alone
        assert len(coloured(picture, AMBER)) > 20


def test_nothing_is_marked_where_every_pixel_is_flagged() -> None:
    """sep finds sources there, at the edge of the image."""
    mask = np.zeros((512, 512), np.uint16)
    mask[:300] = 64
    image = render(field(mask=mask), size=512, circles=True)
    below = coloured(image, AMBER)[:, 0] > 512 - 290
    assert not below.any()


def test_circles_want_a_variance() -> None:
    with pytest.raises(BadInput, match="no table of sources"):
        render(field(variance=None), circles=True)
