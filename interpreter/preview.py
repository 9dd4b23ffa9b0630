"""A picture of a product: sky-centred stretch, scale bar, compass and colour bar."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from f2yaml.interpreter.dq import DQ
from f2yaml.interpreter.errors import BadInput
from f2yaml.interpreter.fits import read_frame, replaced
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.pixels import Array
from PIL import Image, ImageDraw, ImageFont

MARGIN = 46  # below the image, for colour bar and caption
#: Flags of pixels that are left out of the picture: bad, hit, without data, not illuminated.
_USELESS = DQ.BAD_PIXEL | DQ.COSMIC_RAY | DQ.NO_DATA | DQ.UNILLUMINATED
#: Sources that are looked for: so many pixels next to each other over so many sigma.
_BRIGHT, _PIXELS, _MESH_PIX = 5.0, 8, 64


@dataclass(frozen=True, slots=True)
class Stretch:
    """Limits of the picture, in the unit of the frame: black below `low`, white above `high`."""

    low: float
    high: float

    def apply(self, data: Array) -> Array:
        """Return brightness 0-1: inverse hyperbolic sine, so that faint and bright both show."""
        share = np.clip((data - self.low) / (self.high - self.low), 0, 1)
        return np.asarray(np.arcsinh(20 * share) / math.asinh(20))


def limits(data: Array, good: Array) -> Stretch:
    """Return limits from the spread of the sky: 2 sigma below to 40 above the median."""
    values = data[good & np.isfinite(data)]
    if values.size == 0:
        return Stretch(0.0, 1.0)
    values = values[:: max(1, values.size // 500_000)]
    middle = float(np.median(values))
    sigma = float(1.4826 * np.median(np.abs(values - middle))) or 1.0
    return Stretch(middle - 2 * sigma, middle + 40 * sigma)


def render(frame: Frame, *, size: int = 1024, circles: bool = False) -> Image.Image:
    """Draw a frame.

    Parameters
    ----------
    frame : Frame, shape (ny, nx)
    size : int
        Longest side of the image, pix.
    circles : bool
        Mark the sources of the frame's table; where it has none, what is bright.
    """
    data, mask = frame.data, frame.mask
    good = np.ones(data.shape, bool) if mask is None else (mask & _USELESS) == 0
    factor = max(1, math.ceil(max(data.shape) / size))
    small, seen = _binned(data, good, factor)
    stretch = limits(small, seen)
    grey = (255 * stretch.apply(np.where(seen, small, stretch.low))).astype(np.uint8)
    rgb = np.stack([grey, grey, grey], axis=-1)
    rgb[~seen] = (24, 28, 48)
    image = Image.new("RGB", (rgb.shape[1], rgb.shape[0] + MARGIN), (12, 12, 16))
    image.paste(Image.fromarray(rgb[::-1]), (0, 0))
    draw = ImageDraw.Draw(image)
    height = rgb.shape[0]
    for x, y in _sources(frame) if circles else ():
        cx, cy = (x + 0.5) / factor - 0.5, height - 0.5 - (y + 0.5) / factor
        draw.ellipse((cx - 6, cy - 6, cx + 6, cy + 6), outline=(240, 170, 40))
    if _has_coordinates(frame):
        _scale_bar(draw, frame, factor, height)
        _compass(draw, frame, rgb.shape[1])
    _colour_bar(image, draw, stretch, frame, height)
    return image


def _sources(frame: Frame) -> Iterator[tuple[float, float]]:
    """Return the pixels (x, y, from 0) of the sources of a frame.

    Raises
    ------
    BadInput
        It has no table of them, and they cannot be looked for.
    """
    table = frame.objcat
    if table is None:
        if not frame.has("variance"):
            raise BadInput(
                f"{frame.name} has no table of sources",
                "they are looked for where there is none, which takes a variance",
                "leave --circles out, or take a product of a reduction",
            )
        return _bright(frame)
    return zip(table["X_IMAGE"] - 1.0, table["Y_IMAGE"] - 1.0, strict=True)


def _bright(frame: Frame) -> Iterator[tuple[float, float]]:
    """Look for what stands out of the noise: quickly, without the kernels of ``detectSources``."""
    import sep

    data, variance, mask = frame.data, frame.variance, frame.mask
    assert variance is not None
    bad = ~np.isfinite(data) | ~(variance > 0)
    if mask is not None:
        bad |= (mask & _USELESS) != 0
    level = np.where(bad, 0, data).astype(np.float32)
    sep.Background(level, mask=bad, bw=_MESH_PIX, bh=_MESH_PIX).subfrom(level)
    noise = np.sqrt(np.where(bad, 1, variance)) * float(frame.sci.get("NOISECOR", 1.0))
    found = sep.extract(level, _BRIGHT, err=noise, mask=bad, minarea=_PIXELS)
    # Near the edge of a mask, sep finds sources of nothing.
    seen = ~bad[np.rint(found["y"]).astype(int), np.rint(found["x"]).astype(int)]
    return zip(found["x"][seen], found["y"][seen], strict=True)


def _has_coordinates(frame: Frame) -> bool:
    try:
        return frame.wcs is not None
    except BadInput:
        return False


def _binned(data: Array, good: Array, factor: int) -> tuple[Array, Array]:
    """Average blocks of factor x factor good pixels; returns values and where there is any."""
    ny, nx = (n // factor * factor for n in data.shape)
    blocks = (ny // factor, factor, nx // factor, factor)
    kept = good[:ny, :nx] & np.isfinite(data[:ny, :nx])
    weight = kept.reshape(blocks).sum(axis=(1, 3), dtype=np.float32)
    total = np.where(kept, data[:ny, :nx], 0).reshape(blocks).sum(axis=(1, 3), dtype=np.float64)
    return (total / np.maximum(weight, 1)).astype(np.float32), weight > 0


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _scale_bar(draw: ImageDraw.ImageDraw, frame: Frame, factor: int, height: int) -> None:
    scale = frame.wcs.pixel_scale() * factor
    length = next((s for s in (60, 30, 10, 5, 1) if s / scale < 300), 1)
    x, y = 20, height - 24
    draw.line((x, y, x + length / scale, y), fill=(255, 255, 255), width=2)
    text = f'{length}"' if length < 60 else "1'"
    middle = x + length / scale / 2
    draw.text((middle, y - 11), text, fill=(255, 255, 255), font=_font(14), anchor="mm")


def _compass(draw: ImageDraw.ImageDraw, frame: Frame, width: int) -> None:
    """Draw arrows to North and East; up in the picture is +y."""
    ny, nx = frame.shape
    ra, dec = frame.wcs.to_sky(nx / 2, ny / 2)
    step = 20 / 3600
    ends = {
        "N": frame.wcs.to_pixel(ra, dec + step),
        "E": frame.wcs.to_pixel(ra + step / math.cos(math.radians(float(dec))), dec),
    }
    x0, y0 = width - 60, 60
    for name, (x, y) in ends.items():
        dx, dy = float(x) - nx / 2, float(y) - ny / 2
        norm = math.hypot(dx, dy) or 1.0
        ux, uy = dx / norm, -dy / norm
        draw.line((x0, y0, x0 + 36 * ux, y0 + 36 * uy), fill=(255, 255, 255), width=2)
        draw.text(
            (x0 + 46 * ux, y0 + 46 * uy), name, fill=(255, 255, 255), font=_font(14), anchor="mm"
        )


def _colour_bar(
    image: Image.Image, draw: ImageDraw.ImageDraw, stretch: Stretch, frame: Frame, height: int
) -> None:
    width = min(260, image.width - 40)
    ramp = np.linspace(stretch.low, stretch.high, width)
    grey = (255 * stretch.apply(ramp)).astype(np.uint8)
    bar = np.repeat(grey[None, :, None], 10, axis=0).repeat(3, axis=2)
    image.paste(Image.fromarray(np.ascontiguousarray(bar)), (20, height + 8))
    font = _font(12)
    ink = (220, 220, 220)
    draw.text((20, height + 22), f"{stretch.low:.3g}", fill=ink, font=font)
    draw.text(
        (20 + width, height + 22),
        f"{stretch.high:.3g} {frame.unit}",
        fill=ink,
        font=font,
        anchor="ra",
    )
    words = frame.name, frame.phu.get("OBJECT"), frame.describe("filter_name", pretty=True)
    caption = "   ".join(str(word) for word in words if word)
    draw.text((image.width - 20, height + 12), caption, fill=ink, font=font, anchor="ra")


def save(path: Path, out: Path, *, size: int = 1024, circles: bool = False) -> Path:
    """Draw the product in `path` and write the picture to `out` (PNG)."""
    image = render(read_frame(path), size=size, circles=circles)
    with replaced(out, "-o") as partial:
        image.save(partial, format="PNG", compress_level=3)
    return out
