"""Write the messages of the faulty documents beside them; read every change before keeping it.

``python tests/corpus/rewrite.py`` from anywhere.
"""

from __future__ import annotations

import os
from pathlib import Path

HERE = Path(__file__).resolve().parent


def messages(name: str) -> str:
    """Return what ``f2yaml validate`` says of a document; the working folder is `HERE`."""
    from f2yaml.interpreter.checking import problems_in
    from f2yaml.schema.compose import shipped_root

    text = "".join(f"{problem.render()}\n" for problem in problems_in(name))
    return text.replace(f"{shipped_root()}/", "SHIPPED/")


def main() -> None:
    """Bring every expected message up to date."""
    os.chdir(HERE)
    for stale in HERE.glob("*.expected"):
        stale.unlink()
    for document in sorted(HERE.glob("*.yaml")):
        document.with_suffix(".expected").write_text(messages(document.name), encoding="utf-8")


if __name__ == "__main__":
    main()
