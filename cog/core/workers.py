"""Worker processes that never outlive their parent and end with it on an error."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from types import FrameType

from cog.errors import CogError

ASK_AGAIN = 0.2  # s


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def processes(count: int) -> Iterator[Executor]:
    """An executor of `count` spawned processes; on any error they are asked to stop (SIGTERM) and awaited.

    Raises:
        CogError: a process died (killed, or out of memory).
    """
    # Spawned, not forked: a forked simulator or BLAS library may hang.
    pool = ProcessPoolExecutor(
        count, mp_context=multiprocessing.get_context("spawn"), initializer=_follow_parent
    )
    try:
        yield pool
    except BaseException as error:
        left = list((pool._processes or {}).values())
        with _uninterrupted():  # by a second Ctrl-C, which would leave workers behind
            pool.shutdown(wait=False, cancel_futures=True)
            _stop(left)
        if isinstance(error, BrokenProcessPool):
            raise CogError(
                "a worker process died (killed, or out of memory); what was finished is kept",
                remedy="run the same command again, with fewer workers if memory is short",
            ) from error
        raise
    pool.shutdown()


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Pass over SIGINT inside; signals reach the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _stop(workers: Sequence[BaseProcess]) -> None:
    """Send SIGTERM until every worker has ended.

    Once is not enough: a worker may defer SIGTERM until it has saved, and then wait for the lock of the task
    queue, which another worker held when it was stopped and will never release.
    """
    while left := [worker for worker in workers if worker.is_alive()]:
        for worker in left:
            worker.terminate()
        left[0].join(ASK_AGAIN)


def _follow_parent() -> None:
    """Let a worker end silently on Ctrl-C, and whenever its parent is gone, even by SIGKILL."""
    signal.signal(signal.SIGINT, _leave)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_watch, args=(parent.sentinel,), daemon=True).start()


def _leave(_signal: int, _frame: FrameType | None) -> None:
    os._exit(128 + signal.SIGINT)


def _watch(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
