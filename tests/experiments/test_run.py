"""The runner's decisions, with a crew that only notes what it is given."""

import os
import signal
from pathlib import Path

import pytest

from cog.errors import CogError
from cog.experiments.jobs import run
from cog.experiments.jobs.crew import Crew, Ended, Place
from cog.experiments.jobs.job import Job, Stopped, perform
from tests.helpers.toy_jobs import Word


class Noting(Crew):
    """Does jobs when it is asked for ended ones, the first submitted first; notes their order and number."""

    def __init__(self, slots: int, gpus: int = 0, closing: str | None = None) -> None:
        self.begun: list[str] = []
        self.most = 0
        self.asked = False
        self._slots, self._gpus, self._closing = slots, gpus, closing
        self._queue: list[Job] = []

    def slots(self) -> int:
        return self._slots

    def gpus(self) -> int:
        return self._gpus

    def submit(self, job: Job) -> None:
        self._queue.append(job)
        self.begun.append(job.name)
        self.most = max(self.most, len(self._queue))

    def ended(self, seconds: float) -> list[Ended]:
        if not self._queue:
            return []
        job = self._queue.pop(0)
        if job.name == self._closing:
            self._closing = None
            return [Ended(job, Stopped("its worker closes"))]
        try:
            perform(job)
        except CogError as error:
            return [Ended(job, error)]
        return [Ended(job, None)]

    def ask_to_stop(self) -> None:
        self.asked = True


def ran(jobs: list[Word], crew: Noting) -> Noting:
    """The crew, after it has done the jobs."""
    run._run_shared(jobs, crew, lambda job: job.cost().units, lambda: False)
    assert all(job.finished() for job in jobs)
    return crew


def test_longer_jobs_begin_first_and_none_before_what_it_needs(tmp_path: Path) -> None:
    short, long = Word(tmp_path, "short", size=1), Word(tmp_path, "long", size=5)
    after = Word(tmp_path, "after", before=(short,), size=9)
    crew = ran([short, after, long], Noting(1))
    assert crew.begun == ["long", "short", "after"]


def test_no_more_jobs_are_submitted_than_workers_can_begin(tmp_path: Path) -> None:
    crew = ran([Word(tmp_path, f"job{number}") for number in range(7)], Noting(3))
    assert crew.most == 3 and len(crew.begun) == 7


def test_jobs_on_a_gpu_wait_for_one_and_others_go_before_them(tmp_path: Path) -> None:
    jobs = [Word(tmp_path, f"gpu{number}", size=9, on_gpu=True) for number in range(2)]
    crew = ran([*jobs, Word(tmp_path, "core")], Noting(2, gpus=1))
    assert crew.begun == ["gpu0", "core", "gpu1"]


def test_a_job_whose_worker_closes_is_begun_again(tmp_path: Path) -> None:
    crew = ran([Word(tmp_path, "one"), Word(tmp_path, "two")], Noting(1, closing="one"))
    assert sorted(crew.begun) == ["one", "one", "two"]


def test_a_job_that_fails_lets_the_others_save_and_is_named(tmp_path: Path) -> None:
    crew = Noting(2)
    jobs = [Word(tmp_path, "bad", size=5, fails=CogError), Word(tmp_path, "good")]
    with pytest.raises(CogError, match=r"write bad-.*as asked"):
        ran(jobs, crew)
    assert crew.asked and jobs[1].finished()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_a_job_in_this_process_save_and_the_next_call_finishes_it(
    number: int, tmp_path: Path
) -> None:
    import threading

    job = Word(tmp_path, "patient", waits=True)

    def interrupt() -> None:
        while not list(tmp_path.glob("marks/patient-0")):
            pass
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt).start()
    with pytest.raises(Stopped, match="interrupted; what was done is saved, and the same command continues"):
        run.run_jobs([job], Place(workers=1), lambda job: 1.0)
    assert (tmp_path / "marks" / "saved-patient").exists() and not job.finished()
    run.run_jobs([job], Place(workers=1), lambda job: 1.0)
    assert job.finished()


def test_without_dask_jobs_run_in_this_process_unless_several_workers_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "cog.experiments.jobs.cluster", raising=False)
    monkeypatch.delattr("cog.experiments.jobs.cluster", raising=False)
    monkeypatch.setattr("cog.experiments.jobs.crew.cores", lambda: 4)
    jobs = [Word(tmp_path, "one"), Word(tmp_path, "two")]
    for place in (Place(workers=2), Place(dask="127.0.0.1:1")):
        with pytest.raises(CogError, match="needs the package 'distributed'"):
            run.run_jobs(jobs, place, lambda job: 1.0)
    run.run_jobs(jobs, Place(), lambda job: 1.0)
    assert all(job.finished() for job in jobs)
    assert "one after another" in capsys.readouterr().err
