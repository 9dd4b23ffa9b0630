"""What a product says of its own making, as text and as plain data."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from f2yaml.interpreter.fits import read_frame
from f2yaml.interpreter.frame import Frame
from f2yaml.interpreter.records import RunRecord

#: Columns of the table of frames that are printed, with their headings and decimals.
_SHOWN = (
    ("name", "frame", 0), ("exptime", "s", 1), ("dx", "dx/pix", 2), ("dy", "dy/pix", 2),
    ("fwhm", "FWHM/arcsec", 2), ("sky_level", "sky", 1), ("transparency", "transp.", 3),
    ("aligned", "aligned by", 0), ("align_rms", "rms/pix", 3), ("align_num", "matches", 0),
    ("weight", "weight", 4),
)  # fmt: skip


def product_data(path: Path) -> dict[str, Any]:
    """Return what a product says of its making, as plain values; NaN becomes null.

    Raises
    ------
    BadInput
        The file cannot be read.
    """
    frame = read_frame(path)
    return {
        "product": path.name,
        "object": frame.phu.get("OBJECT"),
        "shape": list(frame.shape),
        "unit": frame.unit,
        "software": f"{frame.phu.get('PROCSOFT', '')} {frame.phu.get('PROCSVER', '')}".strip(),
        "runs": [_run_data(run) for run in frame.runs],
        "frames": [_plain(asdict(row)) for row in frame.members],
        "history": [{**asdict(row), "args": _loaded(row.args)} for row in frame.history],
        "files": [asdict(row) for row in frame.provenance],
        "comments": _comments(frame),
    }


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}


def _loaded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:  # another program's
        return text


def _comments(frame: Frame) -> list[str]:
    return [str(line) for line in frame.phu["COMMENT"]] if "COMMENT" in frame.phu else []


def _run_data(run: RunRecord) -> dict[str, Any]:
    return {
        **run.of("run"),
        "versions": run.of("version"),
        "options": run.of("option"),
        "inputs": [f.value for f in run.facts if f.kind == "input"],
        "calibrations": [
            {"type": f.name, "used": f.value} for f in run.facts if f.kind == "calibration"
        ],
        "parameters": _settings(run, 0),
        "steps": [{**asdict(step), "values": _settings(run, step.step)} for step in run.steps],
        "recipe_text": recipe_text(run),
    }


def _settings(run: RunRecord, step: int) -> dict[str, Any]:
    return {
        row.parameter: {"value": _loaded(row.value), "origin": row.origin, "at": row.place}
        for row in run.values
        if row.step == step
    }


def recipe_text(run: RunRecord) -> str:
    """Return the recipe of a run as a document."""
    return "\n".join(run.lines) + "\n"


def product_text(path: Path) -> str:
    """Return what a product says of its making, for people."""
    frame = read_frame(path)
    ny, nx = frame.shape
    made = f"{frame.phu.get('PROCSOFT', 'an unnamed program')} {frame.phu.get('PROCSVER', '')}"
    lines = [
        f"{path.name}: {frame.phu.get('OBJECT', 'no OBJECT')}, {nx} x {ny} pixels, "
        f"{frame.unit}, made by {made.strip()}"
    ]
    for number, run in enumerate(frame.runs, 1):
        lines += ["", *_run_lines(run, f"run {number} of {len(frame.runs)}: ")]
    if not frame.runs:
        lines += ["", "no record of a run; HISTORY has", *_history_lines(frame)]
    if frame.members:
        lines += ["", f"frames in it ({len(frame.members)})", *_frame_lines(frame)]
    if frame.provenance:
        lines += ["", f"files that went into it ({len(frame.provenance)})"]
        lines += [
            f"  {row.filename:32s} md5 {row.md5}  taken in by {row.provenance_added_by}"
            for row in frame.provenance
        ]
    lines += [f"note: {text}" for text in _comments(frame)]
    if frame.runs:
        lines += ["", f"`f2yaml show --recipe {path}` prints the recipe, ready to run"]
    return "\n".join(lines)


def _run_lines(run: RunRecord, head: str) -> Iterator[str]:
    facts = run.of("run")
    yield f"{head}recipe {facts.get('recipe', '?')}, mode {facts.get('mode', '?')}, begun " + (
        facts.get("begun", "?")
    )
    yield "  with " + ", ".join(f"{name} {number}" for name, number in run.of("version").items())
    yield from (f"  option {name} {value}" for name, value in run.of("option").items())
    inputs = [fact.value for fact in run.facts if fact.kind == "input"]
    shown = inputs if len(inputs) < 4 else [inputs[0], "...", inputs[-1]]
    yield f"  {len(inputs)} inputs: {', '.join(shown)}"
    yield from (f"  {f.name}: {f.value}" for f in run.facts if f.kind == "calibration")
    yield from (
        f"  --param {name}={told['value']}   ({_origin(told)})"
        for name, told in _settings(run, 0).items()
    )
    for step in run.steps:
        time = f"{step.seconds:8.2f} s" if step.seconds >= 0 else "       -  "
        yield f"{step.step:4d} {step.primitive:24s}{time}  {step.health}".rstrip()
        for name, told in _settings(run, step.step).items():
            if told["origin"] != "default" or told["at"]:
                yield f"       {name} = {told['value']}   ({_origin(told)})"


def _origin(told: dict[str, Any]) -> str:
    return f"{told['origin']} {told['at']}".strip()


def _history_lines(frame: Frame) -> list[str]:
    if not frame.history:
        return ["  nothing"]
    return [f"  {row.primitive:24s} {row.args}" for row in frame.history]


def _frame_lines(frame: Frame) -> Iterator[str]:
    rows = [[title for _, title, _ in _SHOWN]]
    rows += [[_cell(getattr(row, n), d) for n, _, d in _SHOWN] for row in frame.members]
    yield from aligned(rows)


def _cell(value: Any, decimals: int) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.{decimals}f}"
    return "-" if value in ("", -1) else str(value)


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Return a table as lines, the first column to the left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if n == 0 else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"  {'  '.join(cells)}".rstrip()
