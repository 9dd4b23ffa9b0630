"""What a configuration may say: the models behind ``kind: config``."""

from __future__ import annotations

from typing import Any, Literal

from f2yaml.schema.base import Identifier, Model, Version
from pydantic import Field


class Database(Model):
    """A calibration database."""

    path: str = Field(min_length=1, description="file, or folder that holds it; ~ is the home")
    get: bool = Field(True, description="look for calibrations in it")
    store: bool = Field(False, description="enter new calibrations into it")


class Config(Model):
    """Settings that hold for every run."""

    f2yaml: Version = Field(description="version of the format: 1")
    kind: Literal["config"] = Field(description="kind of document")
    databases: tuple[Database, ...] = Field(
        (), description="calibration databases, in the order of look-up"
    )
    log: str | None = Field(None, min_length=1, description="log file")
    defaults: dict[Identifier, dict[Identifier, Any]] = Field(
        {}, description="parameters by primitive, as with -p on the command line"
    )
