"""Where the time of a run goes: looks at the stacks of all threads, some hundred times a second.

    python benchmarks/speed_profile.py FILE run ultradeep --inputs @sci.list

runs that command of f2yaml in this process and writes the functions that were on the stacks into
FILE. Kernels count for the function that calls them. Threads that wait are left out; work done in
other processes is not seen.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from pathlib import Path
from types import FrameType

INTERVAL = 0.004
TOP = 25
_WAITING = {
    "wait", "_wait_for_tstate_lock", "get", "_worker", "select", "poll", "acquire", "as_completed",
    "result", "result_iterator", "map", "_read", "join",
}  # fmt: skip


class Sampler:
    """Counts the functions on the stacks of all threads but its own."""

    def __init__(self) -> None:
        self.own: Counter[str] = Counter()
        self.within: Counter[str] = Counter()
        self.looks = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(INTERVAL):
            self.looks += 1
            for number, frame in sys._current_frames().items():
                if number != threading.get_ident():
                    self._count(frame)

    def _count(self, frame: FrameType | None) -> None:
        if frame is None or _waits(frame):
            return
        self.own[_named(frame)] += 1
        seen = set()
        while frame is not None:
            seen.add(_named(frame))
            frame = frame.f_back
        self.within.update(seen)

    def table(self, top: int = TOP) -> str:
        """Return the functions that took most time: in all, and in themselves."""
        seconds = INTERVAL
        parts = [f"{self.looks} looks, {seconds * 1e3:g} ms apart; busy threads are added up"]
        for title, counts in (
            ("in the function itself", self.own),
            ("with what it calls", self.within),
        ):
            parts.append(f"\nshare [%]  looks  {title}")
            total = max(1, sum(self.own.values()))
            for name, count in counts.most_common(top):
                parts.append(f"{100 * count / total:9.1f}  {count:5d}  {name}")
        return "\n".join(parts)


def _waits(frame: FrameType) -> bool:
    """Whether the thread of this innermost frame waits for another one."""
    file = frame.f_code.co_filename
    library = any(part in file for part in ("threading.py", "concurrent", "selectors", "queue.py",
                                            "multiprocessing", "subprocess"))  # fmt: skip
    return library and frame.f_code.co_name in _WAITING


def _named(frame: FrameType) -> str:
    path = Path(frame.f_code.co_filename)
    return f"{path.parent.name}/{path.name}:{frame.f_code.co_qualname}"


def main() -> int:
    """Run f2yaml under the sampler."""
    target, words = Path(sys.argv[1]), sys.argv[2:]
    with Sampler() as sampler:
        from f2yaml.interpreter.cli import main as f2yaml

        status = f2yaml(words)
    target.write_text(f"f2yaml {' '.join(words)}\n{sampler.table()}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
