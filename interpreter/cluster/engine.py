"""An engine whose work is done by the workers of a Dask scheduler.

Items of maps, row bands and frames become tasks of a few hundred bytes: the name of a file with
the function and its arguments, and a number. Planes lie in files of the run's folder, which all
workers see. What a task makes depends on nothing but these, so that one whose worker has died is
done again by another.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import distributed
import numpy as np
from f2yaml.interpreter.cluster.storage import Storage
from f2yaml.interpreter.cluster.worker import Job, do, versions
from f2yaml.interpreter.engine import GIB, Engine
from f2yaml.interpreter.errors import ClusterError, OutputError
from f2yaml.interpreter.pixels import Array
from f2yaml.interpreter.scratch import reserve

S = TypeVar("S")
T = TypeVar("T")
R = TypeVar("R")
#: How long to wait for a first worker, and for another when none is left [s].
PATIENCE_S = 60.0
#: How often to look whether there is any worker while nothing comes back [s].
LOOK_S = 5.0


class DaskEngine(Engine):
    """Workers of a Dask scheduler.

    Parameters
    ----------
    scheduler : str, optional
        Address, as ``tcp://host:8786``; default a scheduler and workers on this machine.
    jobs : int
        Workers to start on this machine; with a scheduler its own count, and this is not used.
    max_memory : int
        As for `Engine`, of what this process keeps of the files.
    folder : Path
        Where files of the run go; workers see it by the same absolute path.
    """

    def __init__(
        self,
        scheduler: str | None,
        jobs: int,
        max_memory: int = 4 * GIB,
        folder: Path = Path(),
        band_rows: int | None = None,
    ) -> None:
        super().__init__(jobs, max_memory, folder.absolute(), band_rows)
        self._cluster, self._client = _connected(scheduler, self.jobs)
        self.jobs = max(self.jobs if scheduler is None else 1, self._threads())
        self._storage = Storage(self._scratch.made(), synced=scheduler is not None, owner=True)
        self._versions = versions()

    # work -----------------------------------------------------------------------------------
    def map(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        work = list(items)
        if len(work) < 2:
            return self.threads(function, work)
        return self._gathered(Job(function, work))

    def fill(
        self,
        function: Callable[[tuple[int, int]], R],
        bands: Sequence[tuple[int, int]],
        filled: Sequence[Array],
    ) -> list[R]:
        return self._gathered(Job(function, bands, filled))

    def each(
        self, function: Callable[[T], R], items: Sequence[S], prepare: Callable[[S], T]
    ) -> Iterator[tuple[int, R]]:
        return self._results(Job(function, self.threads(prepare, items)))

    def _gathered(self, job: Job) -> list[Any]:
        made: dict[int, Any] = {}
        for number, result in self._results(job):
            made[number] = result
            if self.on_progress is not None:
                self.on_progress(len(made) / len(job.items))
        self._storage.reread()
        return [made[number] for number in range(len(job.items))]

    def _results(self, job: Job) -> Iterator[tuple[int, Any]]:
        """Send a job; yield numbers and results as they come."""
        kept: list[object] = []  # until the last task is done
        path = self._storage.write(self._storage.dumps(job, kept), "job")
        futures = [
            self._client.submit(
                do, str(path), number, self._storage.synced, self._versions,
                key=f"{path.stem}-{number}", pure=False,
            )
            for number in range(len(job.items))
        ]  # fmt: skip
        numbers = {future.key: number for number, future in enumerate(futures)}
        try:
            for future in self._finished(futures):
                yield numbers[future.key], self._storage.loads(_result(future))
                self.trim()
        finally:
            for future in futures:
                future.release()
            kept.clear()
            path.unlink(missing_ok=True)

    def _finished(self, futures: Sequence[Any]) -> Iterator[Any]:
        """Yield futures when they are done; raise if no worker is left to do them."""
        left = set(futures)
        alone_since = None
        while left:
            try:
                done = distributed.wait(left, timeout=LOOK_S, return_when="FIRST_COMPLETED").done
            except TimeoutError:
                done = set()
            yield from done
            left -= done
            if done or self._threads():
                alone_since = None
                continue
            alone_since = alone_since or time.monotonic()
            if time.monotonic() - alone_since > PATIENCE_S:
                raise ClusterError(
                    f"the scheduler has had no worker for {PATIENCE_S:.0f} s",
                    f"{len(left)} of {len(futures)} tasks of a step are left",
                    "start workers, then the same command with --resume",
                )

    def _threads(self) -> int:
        """Return how many tasks can be done at once."""
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        return sum(int(worker["nthreads"]) for worker in workers)

    # memory ---------------------------------------------------------------------------------
    def empty(self, shape: Sequence[int], dtype: Any) -> Array:
        kind = np.dtype(dtype)
        path = self._storage.fresh("planes")
        try:
            reserve(path, max(1, int(np.prod(shape)) * kind.itemsize))
            memory = self._storage.mapped(path, writable=True)
        except OSError as error:
            raise OutputError(
                f"scratch files cannot be made in {path.parent.parent}: {error.strerror or error}",
                "workers find the planes of a run there",
                "free some space, or give another folder with --outdir",
            ) from error
        self._mapped.add(memory)
        return np.frombuffer(memory, kind, int(np.prod(shape))).reshape(tuple(shape))

    def close(self) -> None:
        """Let go of the workers, and remove the files."""
        with contextlib.suppress(OSError, TimeoutError):
            self._client.close()
            if self._cluster is not None:
                self._cluster.close()
        super().close()


class _Deaf(distributed.WorkerPlugin):  # type: ignore[misc]
    """Ctrl-C on a terminal is for the process of the user, which then ends its workers."""

    def setup(self, worker: Any) -> None:
        """Take note, in a worker that begins."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _result(future: Any) -> bytes:
    try:
        made: bytes = future.result()
    except distributed.scheduler.KilledWorker as error:
        raise ClusterError(
            "a task was given up after several workers had died at it",
            "most often their memory does not suffice",
            "look into the logs of the workers; give them more memory, or fewer of them a machine",
        ) from error
    return made


def _connected(scheduler: str | None, jobs: int) -> tuple[Any, Any]:
    """Return a cluster of this machine, if there is to be one, and a client."""
    if scheduler is None:
        # Pages of files that are mapped count as memory of a process, so that no limit makes sense.
        cluster = distributed.LocalCluster(
            n_workers=jobs,
            threads_per_worker=1,
            processes=True,
            memory_limit=0,
            dashboard_address=None,
            silence_logs=50,
        )
        client = distributed.Client(cluster)
        client.register_plugin(_Deaf())
        return cluster, client
    try:
        client = distributed.Client(scheduler, timeout=10)
    except (OSError, ValueError, TypeError) as error:
        raise ClusterError(
            f"there is no Dask scheduler at {scheduler}",
            str(error).splitlines()[0] if str(error) else type(error).__name__,
            "give --scheduler the address that `dask scheduler` has printed, as tcp://host:8786",
        ) from error
    try:
        client.wait_for_workers(1, timeout=PATIENCE_S)
    except TimeoutError as error:
        client.close()
        raise ClusterError(
            f"the scheduler at {scheduler} has no worker",
            f"none has come in {PATIENCE_S:.0f} s",
            "start some: dask worker " + scheduler,
        ) from error
    return None, client
