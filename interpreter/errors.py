"""Errors of a reduction, named for what the user did or what the data are."""

from __future__ import annotations

from f2yaml.schema.problems import F2Error, Problem, RecipeError, RequestError

__all__ = [
    "BadInput",
    "CalibrationDatabaseError",
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


class NotSupported(BadInput):
    """The file is sound, but of a kind that f2yaml does not reduce (spectroscopy, masks)."""


class FrameMismatch(F2Error):
    """Frames that a step combines differ in shape, unit, filter or exposure time."""


class MissingCalibration(F2Error):
    """No calibration of the wanted type fits a frame."""


class CalibrationDatabaseError(F2Error):
    """The calibration database cannot be opened, is damaged, or is locked."""


class TooFewFrames(F2Error):
    """A step needs more frames than its stream holds."""


class TooFewSources(F2Error):
    """Too few sources in common to align frames."""


class OutputError(F2Error):
    """A product cannot be written: no permission, no space, or a name that leaves the folder."""
