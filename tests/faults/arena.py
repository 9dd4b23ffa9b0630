"""Commands in processes of their own, started in milliseconds, with bounds on time and memory.

``python arena.py`` reads jobs as JSON from standard input, one list of words and a folder each,
and writes what each did. The program is imported once; each job is a fork of that process, so
that a fault in one cannot touch the next.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

#: Address space of a job; the program itself takes less than half of it.
SPACE = 4 << 30


@dataclass(frozen=True)
class Job:
    """Words of a command line, and the folder to run it in."""

    words: Sequence[str]
    folder: str
    seconds: float = 60.0
    space: int = SPACE


@dataclass(frozen=True)
class Ended:
    """What a job did: exit status (negative: the signal), output, peak memory, time."""

    status: int
    stdout: bytes
    stderr: bytes
    peak_mib: float
    seconds: float


def run(jobs: Sequence[Job], home: Path, warm: Sequence[Sequence[str]] = ()) -> list[Ended]:
    """Run jobs one after the other; the `warm` commands, which have to succeed, come first."""
    own = {k: v for k, v in os.environ.items() if k not in ("F2YAMLRC", "PYTHONWARNINGS")}
    names = [[os.fsencode(w).decode("latin-1") for w in job.words] for job in jobs]
    sent = [{**asdict(job), "words": words} for job, words in zip(jobs, names, strict=True)]
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(sent),
        env={
            **own,
            "HOME": str(home),
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONWARNINGS": "default",
            "WARM": json.dumps(warm),
        },
        text=True,
        capture_output=True,
        timeout=sum(job.seconds for job in jobs),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [
        Ended(**{**e, "stdout": bytes.fromhex(e["stdout"]), "stderr": bytes.fromhex(e["stderr"])})
        for e in json.loads(done.stdout)
    ]


def _serve() -> None:
    from f2yaml.interpreter import cli, sessions  # noqa: F401
    from f2yaml.interpreter.primitives import standardize  # noqa: F401

    jobs = [Job(**job) for job in json.load(sys.stdin)]
    for words in json.loads(os.environ.get("WARM", "[]")):  # once, so that kernels are loaded
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            output = sys.stdout
            sys.stdout = io.StringIO()
            assert cli.main(words) == 0
            sys.stdout = output
    print(json.dumps([_run(job) for job in jobs]))


def _run(job: Job) -> dict[str, object]:
    outputs = [os.memfd_create("output") for _ in range(2)]
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(job, outputs)
    deadline = began + job.seconds
    while True:
        ended, status, used = os.wait4(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    texts = []
    for output in outputs:
        os.lseek(output, 0, os.SEEK_SET)
        with os.fdopen(output, "rb") as file:
            texts.append(file.read().hex())
    return {
        "status": os.waitstatus_to_exitcode(status),
        "stdout": texts[0],
        "stderr": texts[1],
        "peak_mib": used.ru_maxrss / 1024,
        "seconds": time.monotonic() - began,
    }


def _child(job: Job, outputs: Sequence[int]) -> None:
    from f2yaml.interpreter import cli

    status = 99
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        for number, target in enumerate((null, *outputs)):
            os.dup2(target, number)
        os.chdir(job.folder)
        resource.setrlimit(resource.RLIMIT_AS, (job.space, job.space))
        words = [os.fsdecode(word.encode("latin-1")) for word in job.words]
        status = cli.main(words)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    _serve()
