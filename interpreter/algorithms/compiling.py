"""Word of kernels being compiled, for those who wait for them. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listeners: list[Callable[[str], None]] = []
#: Why compiled kernels are not kept for the next run; empty where they are.
not_kept: list[str] = []
_told: list[bool] = []


@contextmanager
def told(listener: Callable[[str], None]) -> Iterator[None]:
    """Let `listener` know, once, when kernels have to be compiled within the block."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def begun() -> None:
    """Tell that a kernel is being compiled; only the first time in this process."""
    if _told or not _listeners:
        return
    _told.append(True)
    text = "compiling kernels for this machine, once; takes a minute or two"
    if not_kept:
        text = f"compiling kernels, a minute or two at every run: {not_kept[0]}"
    for listener in list(_listeners):
        listener(text)
