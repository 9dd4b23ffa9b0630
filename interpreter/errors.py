"""Errors of a reduction, named for what the user did or what the data are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from f2yaml.schema.problems import F2Error, Problem, RecipeError, RequestError

__all__ = [
    "BadFrames",
    "BadInput",
    "CalibrationDatabaseError",
    "ClusterError",
    "F2Error",
    "FrameMismatch",
    "MissingCalibration",
    "NotSupported",
    "OutputError",
    "Problem",
    "RecipeError",
    "RequestError",
    "TooFewFrames",
    "TooFewSources",
]


class BadInput(F2Error):
    """A file is missing, damaged, or not what it should be."""


class BadFrames(BadInput):
    """Frames of a list that a step refuses, each for itself: the others could do without them.

    Parameters
    ----------
    by_frame : mapping
        Problems by the name of the frame.
    problems : iterable of Problem, optional
        The same with places, as `at` gives them.
    """

    def __init__(
        self,
        by_frame: Mapping[str, Sequence[Problem]] | None = None,
        *,
        problems: Iterable[Problem] = (),
    ) -> None:
        self.by_frame = dict(by_frame or {})
        each = [problem for found in self.by_frame.values() for problem in found]
        super().__init__(problems=[*problems] or each)

    def at(self, where: str) -> BadFrames:
        """Return the same error with `where` filled in on the problems that name no place."""
        return BadFrames(self.by_frame, problems=super().at(where).problems)


class NotSupported(BadInput):
    """The file is sound, but of a kind that f2yaml does not reduce (spectroscopy, masks)."""


class FrameMismatch(F2Error):
    """Frames that a step combines differ in shape, unit, filter or exposure time."""


class MissingCalibration(F2Error):
    """No calibration of the wanted type fits a frame."""


class ClusterError(F2Error):
    """The scheduler or the workers of ``--executor dask`` cannot be reached, or have died."""


class CalibrationDatabaseError(F2Error):
    """The calibration database cannot be opened, is damaged, or is locked."""


class TooFewFrames(F2Error):
    """A step needs more frames than its stream holds."""


class TooFewSources(F2Error):
    """Too few sources in common to align frames."""


class OutputError(F2Error):
    """A product cannot be written: no permission, no space, or a name that leaves the folder."""
