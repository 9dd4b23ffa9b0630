"""Figures of the benchmark as tables: on the terminal, in Markdown, and beside earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from speed_machine import YARDSTICKS
from speed_steps import Step, summed

Row = Sequence[str]
MARKS = ("<!-- begin benchmarks/speed.py -->", "<!-- end benchmarks/speed.py -->")
GB = 1e9


def text_table(rows: Sequence[Row]) -> str:
    """Return rows, the first of them the header, in columns; numbers to the right."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    left = [n == 0 or not _number(rows[-1][n]) for n in range(len(widths))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if leftwards else cell.rjust(width)
            for cell, width, leftwards in zip(row, widths, left, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _number(text: str) -> bool:
    try:
        float(text or "0")
    except ValueError:
        return False
    return True


def markdown_table(rows: Sequence[Row]) -> str:
    """Return rows, the first of them the header, as a table of Markdown."""
    marks = ["---" if n == 0 else "---:" for n in range(len(rows[0]))]
    lines = [f"| {' | '.join(row)} |" for row in (rows[0], marks, *rows[1:])]
    return "\n".join(lines)


def figure(value: float | None, digits: int = 3) -> str:
    """Return a number to some significant digits, without an exponent."""
    if value is None:
        return ""
    if value == 0:
        return "0"
    places = max(0, digits - len(str(int(abs(value)))) + (abs(value) < 1))
    return f"{value:.{places}f}"


def ratio(value: float | None, bound: float | None) -> str:
    """Return how many times a bound something took; nothing where there is no bound."""
    return figure(value / bound) if value is not None and bound else ""


# --- rows ---------------------------------------------------------------------------------------


def yardstick_rows(yardsticks: dict[str, float]) -> list[Row]:
    """Return the yardsticks of the machine."""
    rows: list[Row] = [("yardstick", "measured", "unit", "meaning")]
    rows += [(name, figure(yardsticks[name]), *YARDSTICKS[name]) for name in yardsticks]
    return rows


def wall_of(run: dict[str, Any]) -> float:
    """Return the time of a run: the least of its repetitions, which others disturbed least."""
    return float(min(run["wall"]))


def run_rows(runs: Sequence[dict[str, Any]], copy: float) -> list[Row]:
    """Return one row a run; `copy` is the yardstick in GB/s."""
    rows: list[Row] = [
        ("recipe", "frames", "jobs", "wall [s]", "cpu [s]", "start, end [s]", "memory [GB]",
         "must move [GB]", "bound [s]", "wall / bound")
    ]  # fmt: skip
    for run in runs:
        wall, bound = wall_of(run), run["bytes"] / GB / copy
        around = None if run["done"] is None else wall - run["done"]
        rows.append((
            run["recipe"], str(run["frames"]), str(run["jobs"]), figure(wall), figure(run["cpu"]),
            figure(around), figure(run["memory"] / GB), figure(run["bytes"] / GB), figure(bound),
            ratio(wall, bound),
        ))  # fmt: skip
    return rows


def step_rows(run: dict[str, Any], copy: float) -> list[Row]:
    """Return the steps of a run that take time or move bytes, those of one name added up."""
    rows: list[Row] = [
        ("step", "frames", "time [s]", "share [%]", "must move [GB]", "bound [s]", "time / bound")
    ]
    wall = wall_of(run)
    told = 0.0
    for step in summed(Step(**entry) for entry in run["steps"]):
        told += step.seconds
        if step.seconds < 0.005 * wall and not step.bytes:
            continue
        bound = step.bytes / GB / copy
        rows.append((
            step.name, str(step.made), figure(step.seconds), figure(100 * step.seconds / wall),
            figure(step.bytes / GB), figure(bound), ratio(step.seconds, bound),
        ))  # fmt: skip
    if run["done"] is not None:
        rest = (("products", run["done"] - told), ("start and end", wall - run["done"]))
        for name, spent in rest:
            rows.append((name, "", figure(spent), figure(100 * spent / wall), "", "", ""))
    return rows


def kernel_rows(kernels: Sequence[dict[str, Any]]) -> list[Row]:
    """Return the kernels, by frame of full size that they worked on."""
    rows: list[Row] = [
        ("kernel, one thread", "frames", "ms / (frame Mpix)", "bound", "time / bound")
    ]
    for one in kernels:
        unit = 1e3 / (one["frames"] * one["pixels"] / 1e6)
        rows.append((
            one["name"], str(one["frames"]), figure(one["seconds"] * unit),
            figure(one["bound"] * unit), ratio(one["seconds"], one["bound"]),
        ))  # fmt: skip
    return rows


def dragons_rows(pairs: Sequence[dict[str, Any]]) -> list[Row]:
    """Return the same work done by DRAGONS and by f2yaml."""
    rows: list[Row] = [
        ("work", "DRAGONS [s]", "f2yaml [s]", "times faster", "DRAGONS [GB]", "f2yaml [GB]")
    ]
    for pair in pairs:
        rows.append((
            pair["work"], figure(pair["dragons"]["wall"]), figure(pair["f2yaml"]["wall"]),
            ratio(pair["dragons"]["wall"], pair["f2yaml"]["wall"]),
            figure(pair["dragons"]["memory"] / GB), figure(pair["f2yaml"]["memory"] / GB),
        ))  # fmt: skip
    return rows


# --- comparison ---------------------------------------------------------------------------------


def compare_rows(old: dict[str, Any], new: dict[str, Any]) -> list[Row]:
    """Return what is in both results, old and new, as ratios to each machine's own yardstick.

    Times are told in bytes that the machine could have copied meanwhile, so that a faster machine
    gains nothing; memory is told as it is.
    """
    rows: list[Row] = [("figure", "old", "new", "unit", "new / old")]
    before = {_key(run): run for run in old.get("runs", ())}
    for run in new.get("runs", ()):
        past = before.get(_key(run))
        if past is None:
            continue
        label = "{} {} frames, {} jobs".format(*_key(run))
        pairs = [
            ("time", wall_of(past) * old["yardsticks"]["copy"],
             wall_of(run) * new["yardsticks"]["copy"], "GB copied"),
            ("cpu", past["cpu"] * old["yardsticks"]["copy"],
             run["cpu"] * new["yardsticks"]["copy"], "GB copied"),
            ("memory", past["memory"] / GB, run["memory"] / GB, "GB"),
        ]  # fmt: skip
        for what, was, now, unit in pairs:
            rows.append((f"{label}: {what}", figure(was), figure(now), unit, ratio(now, was)))
        rows += _compared_steps(label, past, run, old, new)
    earlier = {one["name"]: one for one in old.get("kernels", ())}
    for one in new.get("kernels", ()):
        past = earlier.get(one["name"])
        if past is not None:
            was, now = (k["seconds"] / k["bound"] for k in (past, one))
            row = (f"kernel {one['name']}", figure(was), figure(now), "bound", ratio(now, was))
            rows.append(row)
    return rows


def _key(run: dict[str, Any]) -> tuple[str, int, int]:
    return run["recipe"], run["frames"], run["jobs"]


def _compared_steps(
    label: str,
    past: dict[str, Any],
    run: dict[str, Any],
    old: dict[str, Any],
    new: dict[str, Any],
) -> list[Row]:
    was = {s.name: s.seconds for s in summed(Step(**s) for s in past["steps"])}
    now = {s.name: s.seconds for s in summed(Step(**s) for s in run["steps"])}
    rows: list[Row] = []
    for name in now:
        a = was.get(name, 0.0) * old["yardsticks"]["copy"]
        b = now[name] * new["yardsticks"]["copy"]
        if name in was and max(a, b) > 1.0:
            rows.append((f"{label}: {name}", figure(a), figure(b), "GB copied", ratio(b, a)))
    return rows


# --- pages --------------------------------------------------------------------------------------


def sections(results: dict[str, Any]) -> list[tuple[str, list[Row]]]:
    """Return all tables of a result, with their titles."""
    copy = results["yardsticks"]["copy"]
    made: list[tuple[str, list[Row]]] = [
        ("Yardsticks of the machine", yardstick_rows(results["yardsticks"]))
    ]
    runs = results["runs"]
    if runs:
        made.append(("Runs, from the shell", run_rows(runs, copy)))
    for run in (r for r in runs if r["recipe"] == "ultradeep"):
        title = f"Steps of ultradeep, {run['frames']} frames, {run['jobs']} jobs"
        made.append((title, step_rows(run, copy)))
    if results["kernels"]:
        made.append(("Kernels", kernel_rows(results["kernels"])))
    if results.get("dragons"):
        made.append(("Beside DRAGONS", dragons_rows(results["dragons"])))
    return made


def machine_line(results: dict[str, Any]) -> str:
    """Return the machine, the versions and how busy it was, in a line."""
    m = results["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in m["versions"].items())
    return (
        f"{m['processor']}, {m['cores']} cores, {m['memory_gib']} GiB, {m['system']}; {versions}; "
        f"load {results['load']:.1f}; {m['when']}"
    )


def as_text(results: dict[str, Any]) -> str:
    """Return all tables as text."""
    parts = [machine_line(results)]
    parts += [f"{title}\n{text_table(rows)}" for title, rows in sections(results)]
    return "\n\n".join(parts)


def write_markdown(path: Path, results: dict[str, Any], compared: Sequence[Row] = ()) -> None:
    """Put the tables between the marks of a page; add the marks to one that has none."""
    parts = [f"Made by `{results['command']}` on {machine_line(results)}."]
    for title, rows in sections(results):
        parts += [f"### {title}", markdown_table(rows)]
    if compared:
        parts += ["### Beside the release before", markdown_table(compared)]
    old = path.read_text() if path.exists() else "# Performance\n"
    if MARKS[0] not in old:
        old += f"\n{MARKS[0]}\n{MARKS[1]}\n"
    before, rest = old.split(MARKS[0], 1)
    after = rest.split(MARKS[1], 1)[1]
    text = "\n\n".join(parts)
    path.write_text(f"{before}{MARKS[0]}\n\n{text}\n\n{MARKS[1]}{after}")
