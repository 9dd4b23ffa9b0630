"""Masks of zeros and ones, eight pixels to a byte."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


class Packed:
    """An object mask that is unpacked when rows are asked for; never changed.

    Parameters
    ----------
    mask : array, shape (ny, nx)
        Set where it is not zero.
    """

    __slots__ = ("_bits", "shape")

    def __init__(self, mask: npt.NDArray[Any]) -> None:
        self.shape = mask.shape
        self._bits = np.packbits(mask if mask.dtype == np.uint8 else mask != 0, axis=1)

    @classmethod
    def of_bits(cls, bits: npt.NDArray[np.uint8], shape: tuple[int, ...]) -> Packed:
        """Return the mask that `bits`, of a mask of this `shape`, stand for."""
        made = cls.__new__(cls)
        made.shape, made._bits = shape, bits
        return made

    @property
    def bits(self) -> npt.NDArray[np.uint8]:
        """Eight pixels to a byte, shape (ny, nx / 8 rounded up); not to be changed."""
        return self._bits

    def __getitem__(self, rows: slice) -> npt.NDArray[np.uint8]:
        """Return rows as zeros and ones; read-only."""
        made = np.unpackbits(self._bits[rows], axis=1, count=self.shape[1])
        made.flags.writeable = False
        return made

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        made = self[:]
        return made if dtype is None else made.astype(dtype)
