"""Finishing what runs that were killed had begun with their calibrations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from f2yaml.interpreter.association import CALTYPES
from f2yaml.interpreter.calibrations import CACHE, Calibrations, check_user_cal
from f2yaml.interpreter.config import Configuration, DatabaseChoice
from f2yaml.interpreter.errors import CalibrationDatabaseError, F2Error, OutputError
from f2yaml.interpreter.leftovers import Pending, sweep, unfinished


def recover(cwd: Path, tell: Callable[[str], None]) -> None:
    """Enter the calibrations that killed runs had written and not yet entered.

    Parts that such runs left in ``calibrations/`` are removed. Where nothing was left, a few
    folders are looked into.

    Parameters
    ----------
    cwd : Path
        Working folder.
    tell : callable
        Gets a line for each calibration that was entered, and for each that could not be.
    """
    sweep(cwd / CACHE)
    for kind in CALTYPES:
        folder = cwd / CACHE / kind
        sweep(folder)
        for note, pending in unfinished(folder):
            try:
                done = _finish(pending)
            except (CalibrationDatabaseError, OutputError) as error:
                tell(
                    f"{pending.kept} is from a run that was interrupted and is not in the "
                    f"calibration database: {error.problems[0].what}"
                )
                continue
            except F2Error as error:
                tell(
                    f"a run was interrupted while it made {pending.product}, which is no "
                    f"calibration now: {error.problems[0].what}"
                )
            else:
                if done:
                    tell(f"entered {pending.kept}: the run that made it was interrupted")
            with suppress(OSError):
                note.unlink()


def _finish(pending: Pending) -> bool:
    """Keep and enter a product that has its name; return whether there was one."""
    from f2yaml.interpreter.products import keep  # needs numpy, which is seldom needed here

    product, kept = Path(pending.product), Path(pending.kept)
    if pending.replaced:
        check_user_cal(product, pending.kind)  # whose file it may be by now
        keep(product, kept)
    elif product.exists() or not kept.exists():
        return False  # it was killed before it changed anything, or all is gone
    choices = tuple(
        DatabaseChoice(Path(path), get=False, store=True, built_in=built_in)
        for path, built_in in pending.databases
    )
    Calibrations(Configuration(None, choices), kept.parent).store(kept, pending.kind)
    return True
