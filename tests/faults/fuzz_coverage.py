"""Fuzzing led by coverage: ``python tests/faults/fuzz_coverage.py TARGET GOOD.fits [SECONDS]``.

It needs atheris (``pip install atheris``), which neither the program nor its tests need. TARGET is
document, expression, lists, headers or bytes (`fuzzing.py`); GOOD.fits a small raw exposure, such
as one of the scenario of corpus.py. What makes a target fail is written to the working folder as
crash-*, and can be given to the target again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parents[1]))
with atheris.instrument_imports(include=["f2yaml", "ruamel"]):
    from faults.fuzzing import LISTS, NEXT_FILE, Fuzzer

ROOT = Path(__file__).parents[2]
EXPRESSIONS = (
    b"exposure_time == 5 and filter_name in ['K-red', J] or not tag.DARK",
    b"phu.LNRS <= 1 and hdr.CRVAL1 > 10.5 and ut_date >= '2020-01-01' and object != 'x y'",
    b"not (airmass < 1.5 or read_mode is none) and ut_time < 04:00:00",
)


def seeds(target: str, good: bytes) -> list[bytes]:
    """Return what the target begins with."""
    if target == "document":
        files = [*ROOT.glob("recipes/**/*.yaml"), *ROOT.glob("tests/corpus/*.yaml")]
        return [path.read_bytes() for path in files]
    if target == "expression":
        return list(EXPRESSIONS)
    if target == "lists":
        inner = b"".join(b"@%s good.fits # more\n" % name.encode() for name in LISTS)
        return [inner, NEXT_FILE.join([b"@b.list 'x y'\n", b"*.fits\n", b"-p ~root\n"])]
    if target == "bytes":
        return [good]
    return [b"\x00\x10\x50" + good[at : at + 80] for at in range(0, 16000, 80)]


def main() -> None:
    """Fuzz one target for some seconds."""
    target, good = sys.argv[1], Path(sys.argv[2]).read_bytes()
    seconds = sys.argv[3] if len(sys.argv) > 3 else "600"
    with tempfile.TemporaryDirectory() as name:
        folder, corpus = Path(name) / "desk", Path(name) / "corpus"
        folder.mkdir()
        corpus.mkdir()
        for number, seed in enumerate(seeds(target, good)):
            (corpus / f"{number:04d}").write_bytes(seed)
        options = [f"-max_total_time={seconds}", "-timeout=20", "-rss_limit_mb=2048"]
        longest = len(good) + 100 if target == "bytes" else 3000
        atheris.Setup([sys.argv[0], *options, f"-max_len={longest}", str(corpus)],
                      Fuzzer(folder, good).targets[target])  # fmt: skip
        atheris.Fuzz()


if __name__ == "__main__":
    main()
