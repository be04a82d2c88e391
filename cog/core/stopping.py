"""Stopping in good order: a signal, or whoever runs this thread, asks; the work ends after its update."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar

Asked = Callable[[], bool]

_watcher: ContextVar[Asked] = ContextVar("watcher", default=lambda: False)


@contextlib.contextmanager
def stop_signals(patient: bool = False) -> Iterator[Asked]:
    """Note SIGINT and SIGTERM instead of dying in the middle of an update; a second SIGINT interrupts.

    With `patient`, for those who end in bounded time after the first, further signals are passed over.
    Yields whether one came, or whoever runs this thread has asked (see `stoppable`). Signals reach the main
    thread only.
    """
    asked, watcher = threading.Event(), _watcher.get()
    if threading.current_thread() is not threading.main_thread():
        yield watcher
        return

    def note(number: int, frame: object) -> None:
        if asked.is_set() and number == signal.SIGINT and not patient:
            raise KeyboardInterrupt
        asked.set()

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked.is_set() or watcher()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def stoppable(asked: Asked) -> Iterator[None]:
    """Work inside, in this thread, is asked to stop as soon as `asked` says so."""
    token = _watcher.set(asked)
    try:
        yield
    finally:
        _watcher.reset(token)


def asked_to_stop() -> bool:
    """Whether the work of this thread should end now; always false outside `stoppable`."""
    return _watcher.get()()
