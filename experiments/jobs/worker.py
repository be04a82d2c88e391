"""What happens on a Dask worker: it does a job, if its code is the client's, until it is asked to stop."""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distributed import WorkerPlugin, get_worker

from cog.core.configs import differences
from cog.core.files import code_version
from cog.core.stopping import stoppable
from cog.datasets.collection.home import Home
from cog.errors import CogError
from cog.experiments.jobs.code import code
from cog.experiments.jobs.job import Job, Stopped, perform


class Session(WorkerPlugin):
    """One command on one worker: the code that its jobs need, and whether they are asked to stop.

    A worker that closes, at the end of its time or by SIGTERM, asks its job as well.
    """

    def __init__(self, name: str) -> None:
        """The session of the command in this process."""
        self.name = name
        self.version, self.code = code_version(), code()
        self.home = Home.here()

    def setup(self, worker: Any) -> None:
        """Called on a worker, when it learns of the session."""
        self.asked = threading.Event()
        self.worker = worker.address
        self.checked = False
        self.home.let_search()  # for scenes and rewards of one's own, as for `cog` itself

    def teardown(self, worker: Any) -> None:
        """Called on a worker that closes, and at the end of the session."""
        self.asked.set()

    @contextlib.contextmanager
    def at_home(self, job: Job) -> Iterator[None]:
        """Work in the folder where the command was given, so that relative paths mean and say the same.

        Raises:
            CogError: this machine does not see that folder, or not that of the experiments.
        """
        before = Path.cwd()
        try:
            os.chdir(self.home.folder)
            job.root.stat()
        except OSError as error:
            raise CogError(
                f"the worker at {self.worker} does not see {self.home.folder} or {job.root} in it; run the "
                "command in a folder, and with an --out, on a disk that all workers and this machine share"
            ) from error
        try:
            yield
        finally:
            os.chdir(before)

    def refuse_other_code(self) -> None:
        """Raise CogError unless this worker runs the client's code."""
        if self.checked:
            return
        if (here := code_version()) != self.version:
            what = f"{here}, and the command {self.version}"
        elif parts := differences(self.code, code()):
            what = f"other code than the command ({' and '.join(parts)} differ)"
        else:
            self.checked = True
            return
        raise CogError(
            f"the worker at {self.worker} runs {what}, and its results would mix with those of the others; "
            "install the same version of cog there and restart the worker"
        )


def work(job: Job, name: str) -> dict[str, bool]:
    """Do a job on this worker, in the session of that name; whether it was stopped before its end.

    Raises:
        CogError: it failed, or cannot be done here.
    """
    worker = get_worker()
    session: Session | None = worker.plugins.get(name)
    if session is None:
        raise CogError(f"the worker at {worker.address} cannot load cog; install the same version there")
    session.refuse_other_code()
    try:
        with session.at_home(job), stoppable(session.asked.is_set):
            perform(job)
    except Stopped:
        return {"stopped": True}
    except Exception:
        raise
    except BaseException as error:  # Dask would take it for the end of the worker
        raise CogError(f"{job.title}: ended by {error!r}") from error
    return {"stopped": False}


def ask_to_stop(name: str, dask_worker: Any) -> None:
    """Ask the job of a session that runs on this worker to stop."""
    if (session := dask_worker.plugins.get(name)) is not None:
        session.asked.set()


def places(dask_scheduler: Any) -> list[tuple[str, int, int]]:
    """Address, threads and GPUs of each running worker; called on a scheduler."""
    return [
        (state.address, state.nthreads, int(state.resources.get("GPU", 0)))
        for state in dask_scheduler.workers.values()
        if state.status.name == "running"
    ]
