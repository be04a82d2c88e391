"""Work is asked to stop by a signal in the main thread, elsewhere by whoever runs it."""

import os
import signal
import threading

import pytest

from cog.core.stopping import asked_to_stop, stop_signals, stoppable


def test_a_signal_is_noted_and_a_second_one_interrupts_unless_this_ends_soon_anyway() -> None:
    with pytest.raises(KeyboardInterrupt), stop_signals() as stopped:
        os.kill(os.getpid(), signal.SIGINT)
        assert stopped()
        os.kill(os.getpid(), signal.SIGINT)
    with stop_signals(patient=True) as stopped:
        assert not stopped()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert stopped()


def test_work_in_another_thread_hears_who_runs_it_and_its_own_thread_only() -> None:
    asked, heard = threading.Event(), []

    def work() -> None:
        with stoppable(asked.is_set), stop_signals() as stopped:
            heard.extend([stopped(), asked_to_stop()])
            asked.set()
            heard.extend([stopped(), asked_to_stop()])
        heard.append(asked_to_stop())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert heard == [False, False, True, True, False]
    assert not asked_to_stop()
