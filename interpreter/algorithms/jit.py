"""The one way kernels are compiled (rules: nogil, cached, numpy division, no fastmath)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from f2yaml.interpreter.algorithms import compiling
from numba import njit
from numba.core import event

_Function = TypeVar("_Function", bound=Callable[..., Any])
#: Options of what only kernels call.
_INSIDE = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
#: References to arrays are not counted: each slice would cost an atomic operation, or two.
_UNCOUNTED = {"_nrt": False}


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
        Where no folder for the cache can be written it is compiled anew in every process, which
        `compiling.not_kept` tells.
    """
    return _compiled(function)


def kernel_in_place(function: _Function) -> _Function:
    """Compile `function` as `kernel`; it makes no arrays, and its caller holds those it gets."""
    return _compiled(function, **_UNCOUNTED)


def part(function: _Function) -> _Function:
    """Compile `function` as a part of kernels: as `kernel`, but Python cannot call it.

    What it would take to be called, for tuples of many arrays, is a quarter of the time to compile.
    It makes no arrays; its caller holds those that it gets.
    """
    return _compiled(function, **_INSIDE, **_UNCOUNTED)


def maker(function: _Function) -> _Function:
    """Compile `function` as `part`; it may make arrays, and return them."""
    return _compiled(function, **_INSIDE)


def _compiled(function: _Function, **options: bool) -> _Function:
    """Return the function to be compiled, kept on disk where there is a place for it."""
    make = _dispatcher(function, cache=True, **options)
    return cast(_Function, make or _dispatcher(function, cache=False, **options))


def _dispatcher(function: Callable[..., Any], *, cache: bool, **more: bool) -> Any:
    """Return the function to be compiled; None if there is no place for the cache."""
    try:
        return njit(nogil=True, cache=cache, error_model="numpy", **more)(function)
    except RuntimeError as error:
        if not cache or "cannot cache" not in str(error):
            raise
        if not compiling.not_kept:
            compiling.not_kept.append(
                "neither the folder of f2yaml nor that of the user's caches can be written; name "
                "one in the environment variable NUMBA_CACHE_DIR"
            )
        return None


class _Watcher(event.Listener):  # type: ignore[misc]
    """Hears of kernels that are compiled because the cache does not have them."""

    def on_start(self, event: Any) -> None:
        compiling.begun()

    def on_end(self, event: Any) -> None:
        pass


event.register("numba:compile", _Watcher())
