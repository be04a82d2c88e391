"""A crew of Dask workers: processes on this machine, or the workers of a scheduler that users started.

The runner submits no more jobs than workers can begin at once, so Dask's own queues, priorities and stealing
never decide anything; a job whose worker dies is done again by another one, from what was saved.
"""

import contextlib
import logging
import os
import queue
import signal
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import CancelledError, Executor
from multiprocessing import resource_tracker
from typing import Any

import dask
from distributed import Client, Future, KilledWorker, LocalCluster

from cog.core.console import messages
from cog.core.files import hash_json
from cog.errors import CogError
from cog.experiments.jobs import worker
from cog.experiments.jobs.crew import Crew, Ended
from cog.experiments.jobs.job import DIGITS, Job, Stopped

ALLOWED_DEATHS = 2  # of workers, before the job they did is given up
PARTS_IN_FLIGHT = 2  # for each worker: one being computed, one waiting
SETTINGS = {
    "distributed.scheduler.allowed-failures": ALLOWED_DEATHS,
    # A training's thread would wait for these: a look at every stack each 10 ms, a tick each 20 ms, ...
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.scheduler.work-stealing": False,  # no job waits at a worker
}
SAME = "install this version of cog for the scheduler and all workers, and start them again"


@contextlib.contextmanager
def local(count: int, dashboard: bool) -> Iterator[Crew]:
    """A crew of `count` processes on this machine that no other machine reaches; they end with it."""
    environment = dict(os.environ)
    try:
        with contextlib.ExitStack() as held:
            held.enter_context(dask.config.set(SETTINGS))
            with _without_ctrl_c():
                cluster = LocalCluster(
                    n_workers=count,
                    threads_per_worker=1,
                    memory_limit=0,  # mapped files count in it, and a kill costs every attempt at the job
                    dashboard_address=f"127.0.0.1:{8787 if dashboard else 0}",
                    silence_logs=logging.CRITICAL,  # errors come with the jobs
                    resources={"GPU": 1},  # whether there is one was looked at before
                )
            held.enter_context(cluster)
            client = held.enter_context(Client(cluster, set_as_default=False))
            if dashboard:
                messages().print(f"dashboard: {client.dashboard_link} (needs the package 'bokeh')")
            with session(client, None) as crew:
                yield crew
    finally:  # Dask leaves OMP_NUM_THREADS=1 and others behind
        os.environ.clear()
        os.environ.update(environment)


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Threads and processes that begin inside, and theirs, never hear SIGINT, which goes to a whole terminal.

    Only this thread hears it, after this. The mask is inherited; a worker that caught the signal would end.
    """
    resource_tracker.ensure_running()  # which would unblock the signal when it begins
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def joined(address: str) -> Iterator[Crew]:
    """The workers of the scheduler at `address`, as many as it has at any time; they stay.

    Raises:
        CogError: there is no scheduler, or its workers cannot load cog.
    """
    try:
        client = Client(address, set_as_default=False)
    except (OSError, ValueError) as error:
        raise CogError(f"no Dask scheduler answers at {address} ({error})") from error
    with client, session(client, address) as crew:
        yield crew


@contextlib.contextmanager
def session(client: Client, address: str | None) -> Iterator[Crew]:
    """The crew of a client, its workers prepared for this command."""
    name = f"cog-{uuid.uuid4().hex}"
    try:
        client.register_plugin(worker.Session(name), name)
    except ImportError as error:
        raise CogError(f"the workers at {address} cannot load cog ({error}); {SAME}") from error
    try:
        yield _Workers(client, name, address)
    finally:
        with contextlib.suppress(Exception):  # a cluster that is gone has nothing to forget
            client.unregister_worker_plugin(name)


class _Workers(Crew):
    """The workers of a client."""

    def __init__(self, client: Client, name: str, address: str | None) -> None:
        self._client, self._name, self._address = client, name, address
        self._futures: dict[str, Future] = {}
        self._ended: queue.SimpleQueue[tuple[Job, Future]] = queue.SimpleQueue()

    def slots(self) -> int:
        return len(self._places())

    def gpus(self) -> int:
        return sum(min(gpus, 1) for _, _, gpus in self._places())

    def submit(self, job: Job) -> None:
        # Two folders may need the same job at the same time, each its own.
        identity = hash_json([job.hash, str(job.root.absolute())])[: 2 * DIGITS]
        future = self._client.submit(
            worker.work,
            job,
            self._name,
            key=f"{job.kind}-{identity}",
            pure=False,
            retries=0,
            resources={"GPU": job.gpus} if job.gpus else None,
        )
        self._futures[job.hash] = future
        future.add_done_callback(lambda done: self._ended.put((job, done)))

    def ended(self, seconds: float) -> list[Ended]:
        try:
            job, future = self._ended.get(timeout=seconds)
        except queue.Empty:
            return []
        self._futures.pop(job.hash, None)
        try:
            error = self._outcome(job, future)
        finally:
            future.release()  # so that the same key is done again, should it be asked for
        return [Ended(job, error)]

    def ask_to_stop(self) -> None:
        def ask() -> None:
            with contextlib.suppress(Exception):  # whoever is gone has stopped
                self._client.run(worker.ask_to_stop, self._name, on_error="ignore")

        threading.Thread(target=ask, daemon=True).start()

    @contextlib.contextmanager
    def parts(self) -> Iterator[tuple[Executor | None, int]]:
        executor = self._client.get_executor(pure=False)
        try:
            yield executor, PARTS_IN_FLIGHT * max(1, self.slots())
        except KilledWorker as error:
            raise CogError(_deaths("computing a part of the data")) from error
        finally:
            with contextlib.suppress(Exception):
                executor.shutdown(wait=False)

    def _places(self) -> list[tuple[str, int, int]]:
        """Address, threads and GPUs of each worker that is there.

        Raises:
            CogError: the scheduler is gone, or a worker would do several jobs in one process.
        """
        try:
            found: list[tuple[str, int, int]] = self._client.run_on_scheduler(worker.places)
        except ImportError as error:
            raise CogError(f"the scheduler at {self._address} cannot load cog ({error}); {SAME}") from error
        except (OSError, RuntimeError, TimeoutError) as error:
            raise self._lost() from error
        for address, threads, _ in found:
            if threads != 1:
                raise CogError(
                    f"the worker at {address} has {threads} threads, and jobs need a process each; start it "
                    "with --nthreads 1, and with --nworkers for several"
                )
        return found

    def _outcome(self, job: Job, future: Any) -> BaseException | None:
        """Why a job is not finished, if it is not."""
        try:
            return Stopped("its worker was asked to stop") if future.result()["stopped"] else None
        except KilledWorker:
            return CogError(_deaths(f"doing {job.title}"))
        except CancelledError:
            return self._lost()
        except RuntimeError as error:
            if "deserialization" not in str(error):
                return error
            return CogError(
                f"the scheduler at {self._address} cannot load the job ({error.__cause__}); {SAME}"
            )
        except Exception as error:
            return error

    def _lost(self) -> CogError:
        return CogError(
            f"the Dask scheduler{f' at {self._address}' if self._address else ''} is gone; what was saved is "
            "kept, run the same command again"
        )


def _deaths(doing: str) -> str:
    return (
        f"workers died several times while {doing} (killed, or out of memory); what was saved is kept, run "
        "the same command again, with fewer workers if memory is short"
    )
