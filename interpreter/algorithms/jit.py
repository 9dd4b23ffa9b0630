"""The one way kernels are compiled (rules: nogil, cached, numpy division, no fastmath)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

_Function = TypeVar("_Function", bound=Callable[..., Any])


def kernel(function: _Function) -> _Function:
    """Compile `function` at its first call; it releases the GIL and is cached on disk.

    Parameters
    ----------
    function : callable
        Plain loops over contiguous arrays.

    Returns
    -------
    callable
        The compiled function; its results are those of IEEE arithmetic in the order written.
    """
    return cast(_Function, njit(nogil=True, cache=True, error_model="numpy")(function))
