"""Jobs on Dask workers: the same results as in one process, whatever happens to workers; code is compared."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cog.core.files import hash_file
from cog.datasets.collection.collect import collect
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.errors import CogError
from cog.experiments.jobs import cluster, worker
from cog.experiments.jobs.crew import Place
from cog.experiments.jobs.job import Job
from cog.experiments.jobs.run import run_jobs
from cog.experiments.paper.graph import build
from tests.helpers.toy_jobs import Word
from tests.helpers.toy_recipe import SMALL, TOY, again, toy_config

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
LONG = {**SMALL, "updates": 600, "checkpoint_every": 50}
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def until(condition: Any, *alive: subprocess.Popen[bytes]) -> None:
    """Wait for something to be so."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline and all(process.poll() is None for process in alive)
        time.sleep(0.02)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a scheduler with two workers, each a process that was started for itself."""
    folder = tmp_path_factory.mktemp("scheduler")
    file = folder / "scheduler.json"
    begin = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    started = [
        subprocess.Popen(
            [*begin, "--dashboard-address", "127.0.0.1:0", "--scheduler-file", str(file)],
            cwd=folder,
            env=ENVIRONMENT,
            **QUIET,
        )
    ]
    until(lambda: file.exists() and file.read_text().endswith("}"), started[0])
    address = json.loads(file.read_text())["address"]
    begin = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1"]
    for _ in range(2):
        options = ["--memory-limit", "0", "--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0"]
        started.append(subprocess.Popen([*begin, *options], cwd=folder, env=ENVIRONMENT, **QUIET))
    yield address
    for process in started:
        process.terminate()
    for process in started:
        process.wait()


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file that must not depend on who did the jobs."""
    parts = ("data", "merges", "counts", "runs", "evaluations")
    files = (path for part in parts for path in (folder / part).rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hash_file(path)
        for path in files
        if path.name != "timings.jsonl" and path.suffix != ".mp4"
    }


def test_a_graph_leaves_the_same_files_in_one_process_on_local_workers_and_on_those_of_a_scheduler(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    jobs = build([TOY], toy_config(Path("out"), arms=("bc_all", "bc_task_only"))).jobs
    found = {}
    for name, place in {"one": Place(1), "two": Place(2), "far": Place(dask=scheduler)}.items():
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        run_jobs(jobs, place, lambda job: 1.0)
        assert all(job.finished() for job in jobs)
        found[name] = contents(Path("out"))
    assert len(found["one"]) > 30
    assert found["two"] == found["one"] == found["far"]
    assert "OMP_NUM_THREADS" not in os.environ, "Dask's settings do not stay behind"


def trainings(out: Path, **changes: Any) -> list[Job]:
    """Long trainings and what they need."""
    (recipe,) = again(TOY, settings={"image": LONG})
    return [job for job in build([recipe], toy_config(out, **changes)).jobs if job.kind != "evaluate"]


def test_a_training_whose_worker_is_killed_is_finished_elsewhere_from_its_checkpoint(
    scheduler: str, tmp_path: Path
) -> None:
    jobs = trainings(tmp_path / "out", arms=("bc_all",))
    run = jobs[-1]
    killed = []

    def kill() -> None:
        until(lambda: run.record_file.exists())
        killed.append(json.loads((run.folder / ".lock").read_text())["process"])  # type: ignore[attr-defined]
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    run_jobs(jobs, Place(dask=scheduler), lambda job: 1.0)
    thread.join()
    assert run.finished() and len(killed) == 1
    lines = (run.folder / "timings.jsonl").read_text().splitlines()  # type: ignore[attr-defined]
    updates = [json.loads(line)["update"] for line in lines]
    assert updates.count(updates[0]) == 1, "its beginning is trained once"
    alone = trainings(tmp_path / "alone", arms=("bc_all",))
    run_jobs(alone, Place(workers=1), lambda job: 1.0)
    assert alone[-1].content() == run.content()


def test_a_scene_in_the_commands_folder_is_found_by_workers_that_began_elsewhere_and_compared(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "tests/helpers/toy_scene.py").read_text().replace("toy/Line", "far/Line")
    (tmp_path / "far_scene.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    behaviours = (BehaviourChoice("reach"),)
    spec = CollectionSpec(
        4, behaviours, ("left",), "far_scene:far/Line-v0", image_size=16, episodes_per_shard=2
    )
    far = collect(spec, tmp_path / "far", dask_address=scheduler)
    assert far.hash == collect(spec, tmp_path / "near", workers=1).hash
    (tmp_path / "far_scene.py").write_text(text + "\n# another day\n")
    with pytest.raises(
        CogError, match=r"another version of the module 'far_scene' \(.*far_scene\.py\)\. Restart"
    ):
        collect(spec, tmp_path / "later", dask_address=scheduler)
    assert not (tmp_path / "later" / "manifest.json").exists()


def test_workers_of_other_code_are_refused_with_a_remedy(
    scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = worker.code()
    monkeypatch.setattr(worker, "code", lambda: {**real, "cog.envs": "of another scene"})
    with pytest.raises(
        CogError, match=r"worker at tcp://.* other code .*cog\.envs.*install the same version"
    ):
        run_jobs([Word(tmp_path, "never")], Place(dask=scheduler), lambda job: 1.0)
    assert not (tmp_path / "words").exists()
    monkeypatch.setattr(worker, "code", lambda: real)
    monkeypatch.setattr(worker, "code_version", lambda: "cog 99")
    with pytest.raises(CogError, match=r"runs cog .*, and the command cog 99"):
        run_jobs([Word(tmp_path, "never")], Place(dask=scheduler), lambda job: 1.0)


def test_a_job_that_ends_its_process_or_exits_is_named_and_one_that_dies_once_is_done(
    scheduler: str, tmp_path: Path
) -> None:
    good = [Word(tmp_path, "unlucky", deaths=1), Word(tmp_path, "lucky")]
    run_jobs(good, Place(workers=2), lambda job: 1.0)
    assert all(job.finished() for job in good)
    with pytest.raises(CogError, match=r"workers died several times while doing write bad-.*kept"):
        run_jobs([Word(tmp_path, "bad", deaths=9), Word(tmp_path, "b")], Place(workers=2), lambda job: 1.0)
    assert len(list(tmp_path.glob("marks/bad-*"))) == cluster.ALLOWED_DEATHS + 1
    with pytest.raises(CogError, match=r"write exits-.*SystemExit"):
        run_jobs([Word(tmp_path, "exits", fails=SystemExit)], Place(dask=scheduler), lambda job: 1.0)


def test_no_scheduler_and_workers_of_several_threads_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Client:
        def run_on_scheduler(self, function: Any) -> Any:
            return [("tcp://127.0.0.1:1", 1, 1), ("tcp://127.0.0.1:2", 4, 0)]

    with pytest.raises(CogError, match=r"at tcp://127\.0\.0\.1:2 has 4 threads.*--nthreads 1"):
        cluster._Workers(Client(), "a session", "an address").slots()
    with (
        cluster.dask.config.set({"distributed.comm.timeouts.connect": "200ms"}),
        pytest.raises(CogError, match=r"no Dask scheduler answers at 127\.0\.0\.1:1 "),
        cluster.joined("127.0.0.1:1"),
    ):
        pass


def test_ctrl_c_saves_every_running_training_and_prints_one_line(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from pathlib import Path\n"
        "from cog.core.program import exit_codes\n"
        "from cog.experiments.paper.reproduce import reproduce\n"
        "from tests.helpers.toy_recipe import *\n"
        "if __name__ == '__main__':\n"
        "    slow = {**SMALL, 'updates': 1_000_000, 'checkpoint_every': 500_000}\n"
        "    config = toy_config(Path('out'), arms=('bc_all', 'cog'), workers=2)\n"
        "    recipes = again(TOY, settings={'image': slow})\n"
        "    with exit_codes():\n"
        "        reproduce(config, recipes)\n"
    )
    command = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=(tmp_path / "told").open("w"),
        start_new_session=True,
    )
    until(lambda: len(list(tmp_path.glob("out/runs/*/config.json"))) == 2, command)
    before = (tmp_path / "told").read_text()
    for _ in range(3):  # the second and third change nothing
        os.killpg(command.pid, signal.SIGINT)
        time.sleep(0.1)
    assert command.wait(timeout=60) == 1
    told = (tmp_path / "told").read_text().removeprefix(before)
    assert told == "cog: interrupted; what was done is saved, and the same command continues\n"
    assert len(list(tmp_path.glob("out/runs/*/checkpoints/latest.json"))) == 2
