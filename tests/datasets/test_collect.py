"""Collections are pure functions of their spec: workers, kills and damage leave no trace in the result."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

import cog.datasets.collection.rollout
from cog.datasets.collection.collect import collect
from cog.datasets.collection.rollout import collect_shard, roll_out
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec, Plan, parse_behaviour
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.shard import decode_shard
from cog.datasets.storage.verify import verify
from cog.envs.make import make_environment
from cog.errors import CogError, UsageError
from cog.signals.predicates import grasp_success
from tests.conftest import assert_same_episode

TASK = CollectionSpec(episodes=10, episodes_per_shard=2, seed=3)
PRIOR = CollectionSpec(
    episodes=12,
    episodes_per_shard=4,
    starts=("closed",),
    behaviours=(BehaviourChoice("open_drawer", 2.0, {"aim_error": 0.01}), BehaviourChoice("wander")),
    keep="failure",
    noise=0.2,
)


def shard_bytes(folder):
    return [path.read_bytes() for path in sorted((folder / "shards").iterdir())]


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    return collect(TASK, tmp_path_factory.mktemp("task") / "data", workers=1)


@pytest.fixture(scope="module")
def prior(tmp_path_factory):
    return collect(PRIOR, tmp_path_factory.mktemp("prior") / "data", workers=1)


@pytest.mark.parametrize("workers", [2, 3])
def test_any_number_of_workers_gives_the_same_bytes(workers, task, tmp_path):
    told = []
    dataset = collect(TASK, tmp_path / "data", workers=workers, on_progress=lambda *now: told.append(now))
    assert dataset.hash == task.hash
    assert shard_bytes(dataset.path) == shard_bytes(task.path)
    assert told[0] == (0, 10, 0) and told[-1] == (10, 10, dataset.success_count)
    assert verify(dataset.path) == []


def test_a_dask_cluster_gives_the_same_bytes(task, tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None
    ) as cluster:
        dataset = collect(TASK, tmp_path / "data", dask_address=cluster.scheduler_address)
    assert shard_bytes(dataset.path) == shard_bytes(task.path)


COLLECTOR = """
import json, sys, time
from pathlib import Path
from cog.datasets.collection.collect import collect
from cog.datasets.collection.spec import CollectionSpec

def pause_half_way(done, total, successes):
    if done >= total // 2:
        print("half", flush=True)
        time.sleep(600)

if __name__ == "__main__":
    spec = CollectionSpec.from_json(json.loads(sys.argv[1]))
    pause = pause_half_way if len(sys.argv) == 4 else None
    collect(spec, Path(sys.argv[2]), workers=int(sys.argv[3]), on_progress=pause)
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_collection_killed_half_way_resumes_to_the_same_bytes_and_leaves_no_process(
    workers, task, tmp_path
):
    script = tmp_path / "collector.py"
    script.write_text(COLLECTOR)
    out = tmp_path / "data"
    command = [sys.executable, str(script), json.dumps(TASK.to_json()), str(out), str(workers)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert any(line.strip() == "half" for line in process.stdout)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
    done = len(list((out / "shards").glob("*.h5")))
    assert done == 3
    with pytest.raises(CogError, match="unfinished"):
        open_dataset(out)
    assert not psutil.wait_procs(children, timeout=60)[1]

    (out / "shards/.00009.h5.0a0b0c0d.partial").write_bytes(b"half a shard")
    kept = {path.name: path.stat().st_mtime_ns for path in (out / "shards").glob("*.h5")}
    dataset = collect(TASK, out, workers=workers)
    assert dataset.hash == task.hash
    assert shard_bytes(out) == shard_bytes(task.path)
    assert all((out / "shards" / name).stat().st_mtime_ns == when for name, when in kept.items())


def test_a_kill_at_a_write_leaves_a_collection_that_resumes(tmp_path):
    """The n-th durable write of the process never returns, for every third n; `tests.faults` tries all."""
    script = tmp_path / "collector.py"
    script.write_text(
        "import os, signal, sys, cog.core.files\n"
        "left = [int(sys.argv[4])]\n"
        "real = os.fsync\n"
        "def fsync(descriptor):\n"
        "    left[0] -= 1\n"
        "    if left[0] < 0:\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    real(descriptor)\n"
        "os.fsync = fsync\n" + COLLECTOR
    )
    spec = replace(TASK, episodes=4)
    whole = collect(spec, tmp_path / "whole", workers=1)
    durable_writes = 2 + 2 * 5  # two folders; file and folder, of lock, header, two shards and manifest
    for n in range(0, durable_writes + 1, 3):
        out = tmp_path / f"killed at {n}"
        command = [sys.executable, str(script), json.dumps(spec.to_json()), str(out), "1", str(n)]
        run = subprocess.run(command, capture_output=True)
        assert run.returncode == (-signal.SIGKILL if n < durable_writes else 0)
        assert collect(spec, out, workers=1).hash == whole.hash
        assert shard_bytes(out) == shard_bytes(whole.path)
        assert not list(out.rglob("*.partial"))


def test_a_damaged_shard_is_collected_again(task, tmp_path):
    out = tmp_path / "data"
    collect(TASK, out, workers=1)
    shards = sorted((out / "shards").iterdir())
    shards[0].write_bytes(shards[0].read_bytes()[:-500])
    shards[1].write_bytes(shards[2].read_bytes())
    shards[3].unlink()
    assert collect(TASK, out, workers=1).hash == task.hash
    assert shard_bytes(out) == shard_bytes(task.path)


def test_a_finished_collection_is_only_checked(task, monkeypatch, frozen):
    before = frozen(task.path)
    monkeypatch.setattr(cog.datasets.collection.collect, "collect_shard", None)
    assert collect(TASK, task.path, workers=1).hash == task.hash
    assert frozen(task.path) == before


def test_a_folder_of_another_collection_or_run_is_left_alone(task, tmp_path, frozen):
    before = frozen(task.path)
    with pytest.raises(CogError, match=r"another collection, with noise 0\.1; nothing was written"):
        collect(replace(TASK, noise=0.3), task.path, workers=1)
    assert frozen(task.path) == before
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CogError, match="does not hold a collection"):
        collect(TASK, tmp_path, workers=1)
    with pytest.raises(CogError, match="cannot be used as a folder"):
        collect(TASK, tmp_path / "config.json", workers=1)
    assert frozen(tmp_path) == {"config.json": b"{}"}


def test_a_count_of_workers_below_zero_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(UsageError, match=r"workers is -1; it must be at least 0"):
        collect(TASK, tmp_path / "data", workers=-1)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"starts": ("open", "ajar")}, "has no start 'ajar'.*open, closed"),
        ({"env": "cog/Nowhere-v0"}, "'cog/Nowhere-v0' cannot be built"),
        ({"env": "CartPole-v1"}, "CartPole-v1 takes actions from Discrete"),
        ({"behaviours": (BehaviourChoice("juggle"),)}, "behaviour 'juggle' is unknown"),
        ({"behaviours": (BehaviourChoice("grasp", 1.0, {"skill": 1}),)}, "no option 'skill'"),
    ],
)
def test_a_spec_that_names_what_does_not_exist_is_refused_before_anything_is_written(
    change, message, tmp_path
):
    with pytest.raises(UsageError, match=message):
        collect(replace(TASK, **change), tmp_path / "data", workers=1)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"episodes": 0},
        {"noise": float("nan")},
        {"noise": -1.0},
        {"seed": -1},
        {"seed": 2**32},
        {"keep": "best"},
        {"starts": ()},
        {"behaviours": ()},
        {"behaviours": (BehaviourChoice("grasp", 0.0),)},
    ],
)
def test_a_spec_out_of_range_is_a_usage_error(change):
    with pytest.raises(UsageError):
        replace(TASK, **change)


def test_a_full_disk_stops_the_collection_and_it_resumes(task, tmp_path, monkeypatch):
    real = Path.write_bytes

    def write_bytes(self, data):
        if self.name.startswith(".00002.h5"):
            real(self, data[:100])
            raise OSError(28, os.strerror(28))
        return real(self, data)

    monkeypatch.setattr(Path, "write_bytes", write_bytes)
    out = tmp_path / "data"
    with pytest.raises(CogError, match=r"00002\.h5: .*No space left on device"):
        collect(TASK, out, workers=1)
    assert [path.name for path in sorted((out / "shards").iterdir())] == ["00000.h5", "00001.h5"]
    monkeypatch.undo()
    assert collect(TASK, out, workers=1).hash == task.hash


def test_a_collection_whose_options_are_lists_resumes(tmp_path):
    spec = replace(TASK, episodes=1, env_options={"randomise": ("friction",)})
    first = collect(spec, tmp_path / "data", workers=1)
    assert collect(spec, tmp_path / "data", workers=1).hash == first.hash


def test_what_cannot_be_kept_ends_with_a_message_that_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(cog.datasets.collection.rollout, "ATTEMPTS", 2)
    spec = CollectionSpec(
        episodes=1, behaviours=(BehaviourChoice("wander"),), starts=("closed",), keep="success"
    )
    with pytest.raises(
        CogError, match="2 attempts of behaviour 'wander' from start 'closed' gave no success"
    ):
        collect(spec, tmp_path / "data", workers=1)


def test_two_collectors_never_share_a_folder(tmp_path):
    def second(done, total, successes):
        with pytest.raises(CogError, match="another process"):
            collect(TASK, tmp_path / "data", workers=1)

    collect(replace(TASK, episodes=2), tmp_path / "other", workers=1)
    collect(TASK, tmp_path / "data", workers=1, on_progress=second)


# --- What the data hold --------------------------------------------------------------------------


def test_prior_data_hold_no_success_and_task_data_no_closed_start(task, prior):
    for episode in prior.episodes():
        assert episode.start == "closed" and not episode.success and episode.rewards is None
        assert not grasp_success(episode.signals).any()
    for episode in task.episodes():
        assert episode.start == "open"
        assert episode.signals["drawer_opening"][0] > 0.5
    assert task.success_count == sum(grasp_success(episode.signals)[-1] for episode in task.episodes()) > 0


def test_recorded_options_noise_and_names_are_those_of_the_spec(prior):
    names = Counter(episode.behaviour for episode in prior.episodes())
    assert set(names) == {"open_drawer", "wander"}
    for episode in prior.episodes():
        assert episode.options == ({"aim_error": 0.01} if episode.behaviour == "open_drawer" else {})
        assert episode.noise == pytest.approx(0.2)
        assert len(episode.images) == len(episode) + 1


def test_an_episode_replays_from_its_recorded_seed(prior):
    recorded = next(iter(prior.episodes()))
    env = make_environment(PRIOR.scene())
    choice = BehaviourChoice(recorded.behaviour, 1.0, recorded.options)
    again, _ = roll_out(env, PRIOR, Plan(recorded.start, choice), recorded.seed)
    env.close()
    assert_same_episode(replace(again, noise=recorded.noise), recorded)


def test_recorded_actions_lead_through_the_recorded_frames(prior):
    env = make_environment(PRIOR.scene())
    episode = next(iter(prior.episodes()))
    observation, _ = env.reset(seed=episode.seed, options={"start": episode.start})
    for t, action in enumerate(episode.actions):
        np.testing.assert_array_equal(observation["image"], episode.images[t])
        observation, _, _, _, info = env.step(action)
        assert np.float32(info["signals"]["drawer_opening"]) == episode.signals["drawer_opening"][t + 1]
    np.testing.assert_array_equal(observation["image"], episode.images[-1])
    env.close()


def test_state_observations_are_recorded_without_images():
    spec = replace(TASK, episodes=1, observation="state")
    data, episodes, steps, _ = collect_shard(spec, 0)
    (episode,) = decode_shard(data, Path("x"), spec.hash(), 0)
    assert episode.images is None and episode.proprio is None
    assert episode.state.shape == (steps + 1, 22) and episodes == 1


def test_seeds_differ_between_episodes_attempts_and_collections():
    seeds = {
        replace(TASK, seed=seed).episode_seed(episode, attempt)
        for seed in range(10)
        for episode in range(20)
        for attempt in range(5)
    }
    assert len(seeds) == 1000


def test_the_mix_follows_the_weights_whatever_is_kept():
    spec = replace(PRIOR, episodes=3000, starts=("open", "closed"))
    plans = [spec.plan(episode) for episode in range(3000)]
    opened = sum(plan.behaviour.name == "open_drawer" for plan in plans)
    assert 1900 < opened < 2100
    assert 1400 < sum(plan.start == "open" for plan in plans) < 1600
    assert [replace(spec, keep="all").plan(i) for i in range(50)] == plans[:50]


def test_a_spec_survives_json():
    assert CollectionSpec.from_json(json.loads(json.dumps(PRIOR.to_json()))) == PRIOR
    with pytest.raises(UsageError):
        CollectionSpec.from_json({**PRIOR.to_json(), "surprise": 1})


def test_behaviours_are_written_as_name_weight_and_options():
    assert parse_behaviour("grasp") == BehaviourChoice("grasp")
    assert parse_behaviour("wander=2.5:lowest=0.1,name=x") == BehaviourChoice(
        "wander", 2.5, {"lowest": 0.1, "name": "x"}
    )
    for wrong in ("", "=2", "grasp=much", "grasp:aim", "grasp:a=1,a=2"):
        with pytest.raises(UsageError, match="cannot be read"):
            parse_behaviour(wrong)


def test_a_dead_worker_is_reported_and_finished_shards_stay(tmp_path, task):
    out = tmp_path / "data"

    def kill_one(done, total, successes):
        if done >= 2:
            for child in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if "spawn_main" in " ".join(child.cmdline()):
                        child.kill()

    with pytest.raises(CogError, match="a worker process died"):
        collect(TASK, out, workers=2, on_progress=kill_one)
    assert list((out / "shards").glob("*.h5"))
    assert collect(TASK, out, workers=1).hash == task.hash
