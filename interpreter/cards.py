"""Headers that share what they did not change.

A header of a few hundred cards takes a millisecond to copy, and each step of a run changes a few
cards of every frame. Such changes are kept beside the header that they change, and are made when
someone asks for the whole of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from astropy.io.fits import Header

Card = Any  # a value, or (value, comment)
_STANDARD = 8  # characters of a keyword; longer ones and records are left to astropy


class Cards:
    """A header with some cards changed; reads like a `Header` and is never changed itself.

    Parameters
    ----------
    base : Header or Cards
    changes : mapping of str to a value, (value, comment), or None
        New values in the order in which they are set; None removes a card.
    """

    __slots__ = ("_base", "_changes", "_whole")
    _base: Header
    _changes: dict[str, Card]
    _whole: Header | None

    def __init__(self, base: Header | Cards, changes: Mapping[str, Card]) -> None:
        merged: dict[str, Card] = {}
        if isinstance(base, Cards):
            merged.update(base._changes)
            base = base._base
        for key, value in changes.items():
            word = key.upper()
            merged[word] = _merged(merged.get(word), value)
        self._base = base
        self._changes = merged
        self._whole = None

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of a card, or `default`."""
        if not isinstance(key, str) or len(key) > _STANDARD:
            return self.whole.get(key, default)
        word = key.upper()
        if word not in self._changes:
            return self._base.get(word, default)
        value = _value(self._changes[word])
        return default if value is None else value

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str) or len(key) > _STANDARD:
            return self.whole[key]
        word = key.upper()
        if word not in self._changes:
            return self._base[word]
        value = _value(self._changes[word])
        if value is None:
            raise KeyError(f"Keyword {word!r} not found.")
        return value

    def __contains__(self, key: object) -> bool:
        if not isinstance(key, str) or len(key) > _STANDARD:
            return key in self.whole
        word = key.upper()
        if word in self._changes:
            return _value(self._changes[word]) is not None
        return word in self._base

    def __iter__(self) -> Iterator[str]:
        return iter(self.whole)

    def __len__(self) -> int:
        return len(self.whole)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Cards):
            other = other.whole
        return bool(self.whole == other)

    __hash__ = None  # type: ignore[assignment]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.whole, name)

    def __getstate__(self) -> Header:
        return self.whole

    def __setstate__(self, whole: Header) -> None:
        self._base, self._changes, self._whole = whole, {}, whole

    @property
    def base(self) -> Header:
        """The header that is changed."""
        return self._base

    @property
    def changes(self) -> Mapping[str, Card]:
        """New values by keyword, in the order in which they were set; None removes a card."""
        return self._changes

    @property
    def whole(self) -> Header:
        """The header with all changes made; not to be changed."""
        if self._whole is None:
            self._whole = self.copy()
        return self._whole

    def copy(self) -> Header:
        """Return a header of its own with all changes made."""
        made = self._base.copy()
        for key, value in self._changes.items():
            if _value(value) is None:
                made.remove(key, ignore_missing=True, remove_all=True)
            else:
                made[key] = value
        return made


def _merged(before: Card, value: Card) -> Card:
    """Return a value with the comment that the card has, if it brings none itself."""
    if value is None or isinstance(value, tuple) or not isinstance(before, tuple):
        return value
    return (value, before[1])


def _value(card: Card) -> Any:
    """Return the value of a card as a header gives it."""
    value = card[0] if isinstance(card, tuple) else card
    return value.item() if isinstance(value, np.generic) else value
