"""Modes of reduction: how much care a run takes."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

#: Modes, best first.
MODES: Final = ("sq", "ql", "qa")

#: What each stands for.
MEANING: Final[Mapping[str, str]] = MappingProxyType(
    {"sq": "science quality", "ql": "quick look", "qa": "quality assessment"}
)


def worst(*modes: str) -> str:
    """Return the least careful of some modes; what is no mode counts as the best."""
    return MODES[max((MODES.index(mode) for mode in modes if mode in MODES), default=0)]
