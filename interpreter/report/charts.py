"""Charts as SVG: labelled axes with units, outliers by shape and word, colours from the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

from f2yaml.interpreter.report.markup import Markup, element, joined

WIDTH, HEIGHT = 380, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 12, 12, 44


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round numbers that span an interval: steps of 1, 2 or 5 times a power of ten."""
    span = (high - low) or 1.0
    rough = span / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first
    return [(first + n) * step for n in range(count + 1)]


def spelled(value: float, values: Sequence[float]) -> str:
    """Return the text of a tick with the decimals that the distance of ticks asks for."""
    step = abs(values[1] - values[0]) if len(values) > 1 else 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9)) if step else 0
    return f"{value:.{decimals}f}".replace("-", "−")


class _Axes:
    """Maps values to places in the picture, and draws frame, ticks and labels."""

    def __init__(
        self, x: tuple[float, float], y: tuple[float, float], labels: tuple[str, str]
    ) -> None:
        self.x, self.y, self.labels = x, y, labels

    def px(self, value: float) -> float:
        share = (value - self.x[0]) / (self.x[1] - self.x[0])
        return round(_LEFT + share * (WIDTH - _LEFT - _RIGHT), 2)

    def py(self, value: float) -> float:
        share = (value - self.y[0]) / (self.y[1] - self.y[0])
        return round(HEIGHT - _BOTTOM - share * (HEIGHT - _TOP - _BOTTOM), 2)

    def drawn(self, *, whole_x: bool = False) -> Markup:
        """Return grid, ticks and labels."""
        parts = []
        bottom = HEIGHT - _BOTTOM
        across = ticks(min(self.x), max(self.x), 6)
        if whole_x:
            across = [t for t in across if t == int(t)]
        for value in across:
            at = self.px(value)
            parts.append(element("line", x1=at, x2=at, y1=_TOP, y2=bottom, class_="grid"))
            parts.append(
                element("text", spelled(value, across), x=at, y=bottom + 16, text_anchor="middle")
            )
        up = ticks(min(self.y), max(self.y), 4)
        for value in up:
            at = self.py(value)
            parts.append(element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=at, y2=at, class_="grid"))
            parts.append(
                element("text", spelled(value, up), x=_LEFT - 6, y=at + 4, text_anchor="end")
            )
        parts.append(element("path", d=f"M{_LEFT} {_TOP}V{bottom}H{WIDTH - _RIGHT}", class_="axis"))
        middle = (_LEFT + WIDTH - _RIGHT) / 2
        parts.append(element("text", self.labels[0], x=middle, y=HEIGHT - 8, text_anchor="middle"))
        half = (_TOP + bottom) / 2
        parts.append(
            element(
                "text", self.labels[1], x=13, y=half, text_anchor="middle",
                transform=f"rotate(-90 13 {half})",
            )
        )  # fmt: skip
        return joined(parts)


def _padded(values: Sequence[float], least: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = max(0.08 * (high - low), (least - (high - low)) / 2, 1e-9 * max(abs(low), abs(high), 1))
    return low - pad, high + pad


def mark(x: float, y: float, told: str, name: str = "") -> Markup:
    """Return a point: a dot, or a diamond with a name where the value is marked."""
    title = element("title", told)
    if name:
        path = f"M{x} {y - 7:.2f}l7 7l-7 7l-7 -7z"
        after = x < WIDTH - 60
        beside = element(
            "text", name, x=f"{x + (11 if after else -11):.2f}", y=f"{y + 4:.2f}", class_="name",
            text_anchor="start" if after else "end",
        )  # fmt: skip
        return joined((element("path", title, d=path, class_="odd"), beside))
    return element("circle", title, cx=x, cy=y, r=4, class_="dot")


def _picture(title: str, told: str, *parts: Markup) -> Markup:
    head = element("figcaption", title)
    picture = element(
        "svg", element("title", told), *parts,
        viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=told,
    )  # fmt: skip
    return element("figure", head, picture, class_="chart")


def per_frame(
    titles: tuple[str, str],
    unit: str,
    names: Sequence[str],
    values: Sequence[float],
    odd: Sequence[bool],
    decimals: int,
) -> Markup:
    """Return a chart of one number of every frame, in their order, with the median as a line.

    Parameters
    ----------
    titles : (str, str)
        Of the chart, and of its vertical axis.
    unit : str
    names : sequence of str
        Of the frames.
    values : sequence of float
        NaN where there is none.
    odd : sequence of bool
        Which frames are marked.
    decimals : int
        Of values in words.
    """
    title, axis = titles
    known = [(n, v) for n, v in enumerate(values, 1) if math.isfinite(v)]
    if not known:
        return Markup()
    plain = sorted(v for _, v in known)
    middle = plain[len(plain) // 2] if len(plain) % 2 else sum(
        plain[len(plain) // 2 - 1 : len(plain) // 2 + 1]
    ) / 2  # fmt: skip
    label = f"{axis} [{unit}]" if unit else axis
    axes = _Axes(
        (0.4, len(values) + 0.6),
        _padded([v for _, v in known], 4 * 10.0**-decimals),
        ("frame, in order of the list", label),
    )
    at = axes.py(middle)
    parts = [
        axes.drawn(whole_x=True),
        element("line", x1=_LEFT, x2=WIDTH - _RIGHT, y1=at, y2=at, class_="median"),
    ]
    marked = [names[n - 1] for n, _ in known if odd[n - 1]]
    for number, value in known:
        told = f"{number}: {names[number - 1]}: {value:.{decimals}f} {unit}".rstrip()
        if odd[number - 1]:
            told += " (far from the others)"
        parts.append(
            mark(axes.px(number), axes.py(value), told, str(number) if odd[number - 1] else "")
        )
    told = (
        f"{title}: {len(known)} frames, median {middle:.{decimals}f} {unit}, "
        f"{plain[0]:.{decimals}f} to {plain[-1]:.{decimals}f}"
    )
    told += f"; far from the others: {', '.join(marked)}" if marked else "; none is far off"
    return _picture(title, told, *parts)


def dithers(names: Sequence[str], east: Sequence[float], north: Sequence[float]) -> Markup:
    """Return the chart of where frames point: East to the left, as on the sky; equal scales."""
    known = [
        (n, e, u) for n, (e, u) in enumerate(zip(east, north, strict=True)) if math.isfinite(e + u)
    ]
    if len(known) < 2:
        return Markup()
    wide, high = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
    (e0, e1), (n0, n1) = (_padded([k[i] for k in known], 1.0) for i in (1, 2))
    scale = max((e1 - e0) / wide, (n1 - n0) / high)
    middle = (e0 + e1) / 2, (n0 + n1) / 2
    axes = _Axes(
        (middle[0] + scale * wide / 2, middle[0] - scale * wide / 2),
        (middle[1] - scale * high / 2, middle[1] + scale * high / 2),
        ("East of the first frame [arcsec]", "North [arcsec]"),
    )
    places = [(axes.px(e), axes.py(u)) for _, e, u in known]
    path = "M" + "L".join(f"{x} {y}" for x, y in places)
    parts = [axes.drawn(), element("path", d=path, class_="way")]
    for (number, e, u), (x, y) in zip(known, places, strict=True):
        told = f"{number + 1}: {names[number]}: {e:.2f} arcsec East, {u:.2f} arcsec North"
        parts.append(mark(x, y, told.replace("-", "−")))
    first = places[0]
    parts.append(element("circle", cx=first[0], cy=first[1], r=8, class_="ring"))
    reach = max(math.hypot(e, u) for _, e, u in known)
    told = f"Dither pattern: {len(known)} pointings, up to {reach:.1f} arcsec from the first"
    return _picture("Dither pattern (ring: first frame)", told, *parts)


def shares(rows: Sequence[tuple[str, float]]) -> list[Markup]:
    """Return a bar for each share of 0 to 1, on a scale to the largest."""
    top = max((share for _, share in rows), default=0.0) or 1.0
    return [
        element(
            "svg", element("rect", width=f"{100 * share / top:.2f}", height=10, class_="bar"),
            viewBox="0 0 100 10", preserveAspectRatio="none", class_="share", aria_hidden="true",
        )
        for _, share in rows
    ]  # fmt: skip
