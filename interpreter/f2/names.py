"""Names that files get as they pass through a recipe (spec: instrument, section 4.7)."""

from __future__ import annotations

import re
from pathlib import PurePath

_EXTENSION = re.compile(r"(\.(?:fits|fit|fts))?(\.(?:fz|gz|bz2|z))?$", re.IGNORECASE)


def root_of(name: str) -> str:
    """Return the base name without folder, ``.fits`` and the extension of a compressor."""
    base = PurePath(name).name
    return _EXTENSION.sub("", base) or base


def with_suffix(name: str, origname: str, suffix: str | None, *, append: bool = False) -> str:
    """Return the name of a file once it has been given a suffix.

    Parameters
    ----------
    name : str
        Present name; a folder in front of it is dropped, any compression too: products are plain
        ``.fits`` files.
    origname : str
        ORIGNAME, name or root of the raw file. The suffix that is replaced is what follows the last
        underscore after this root; a name without the root loses its last underscore part.
    suffix : str or None
        New suffix with its underscore; empty to strip the present one, None to leave the name.
    append : bool
        Add to the present suffix rather than replace it.

    Notes
    -----
    As DRAGONS, except for compressed names (``x.fits.bz2`` becomes ``x_new.fits``).
    """
    stem = root_of(name)
    if suffix is None:
        return f"{stem}.fits"
    if not append:
        root = root_of(origname) if origname else ""
        start = stem.find(root) + len(root) if root and root in stem else 0
        cut = stem.rfind("_", start)
        if cut > 0:
            stem = stem[:cut]
    return f"{stem}{suffix}.fits"


def final_name(name: str, suffix: str) -> str:
    """Return the name of a final file under ``--suffix``: cut at the first underscore, add it."""
    return f"{root_of(name).split('_', 1)[0]}{suffix}.fits"
