"""Online fine-tuning: what batches hold, what is stored, resuming, and what is refused."""

import dataclasses
import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from cog.datasets.collection.collect import collect
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.datasets.episode import Episode
from cog.datasets.load import load
from cog.datasets.merge import open_merge, write_merge
from cog.datasets.relabel.view import relabel
from cog.datasets.storage.dataset import open_dataset, write_dataset
from cog.datasets.storage.growing import GrowingDataset
from cog.datasets.storage.verify import verify
from cog.datasets.transitions import from_episodes
from cog.envs.make import Scene
from cog.errors import CogError
from cog.evaluation.config import EvaluateConfig
from cog.evaluation.evaluate import evaluate
from cog.evaluation.policy import Policy
from cog.evaluation.result import open_evaluation
from cog.evaluation.rollout import episode_seeds
from cog.online import finetune as module
from cog.online.config import FinetuneConfig, Mix
from cog.online.curve import Point, handover, handover_table, read_curve
from cog.online.explore import Explorer, online_seed
from cog.online.finetune import finetune, online_settings
from cog.online.payment import AtSuccess
from cog.online.replay import Replay
from cog.provenance.lineage import trace
from cog.provenance.recheck import recheck, upstream_first
from cog.replay.buffer import Buffer
from cog.training import checkpoint as checkpoints
from cog.training.config import TrainConfig
from cog.training.metrics import read_metrics
from cog.training.setup import create
from cog.training.train import train
from tests.conftest import assert_same_episode, make_episode
from tests.helpers.learner_data import config, noise

ENV = "tests.helpers.toy_scene:toy/Line-v0"
SCENE = Scene(ENV, (16, 16, 3), 30)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of the toy scene with reward 10 for arriving, and a hardly trained CQL and BC run on them."""
    root = tmp_path_factory.mktemp("chain")
    for name, start, speed in (("task", "middle", 0.5), ("prior", "left", 0.2)):
        choice = BehaviourChoice("reach", options={"speed": speed})
        spec = CollectionSpec(
            5, (choice,), (start,), ENV, image_size=16, max_episode_steps=6, seed=len(name), noise=0.3
        )
        collect(spec, root / name, workers=1)
    relabel(root / "task", "tests.envs.test_own_scene:arrived", "arrived", scale=10.0)
    relabel(root / "prior", "zero", "zero")
    write_merge(root / "arrived.json", [f"{root / 'task'}@arrived"], [f"{root / 'prior'}@zero"])
    write_merge(root / "other.json", [f"{root / 'task'}@arrived"])
    for name in ("cql", "bc"):
        settings = config(root / name, algorithm=name, updates=4)
        train(dataclasses.replace(settings, data=root / "arrived.json"))
    return root


def settings_of(chain: Path, out: Path, **changes: object) -> FinetuneConfig:
    """A run of three rounds and two evaluations after the handover."""
    standard = FinetuneConfig(
        checkpoint=chain / "cql",
        data=chain / "arrived.json",
        out=out,
        start="left",
        episodes=5,
        round_episodes=2,
        updates_per_episode=3,
        evaluate_every=4,
        evaluate_episodes=3,
        acting="critic",
        candidates=2,
    )
    return dataclasses.replace(standard, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def finished(chain: Path, tmp_path_factory: pytest.TempPathFactory) -> FinetuneConfig:
    run = settings_of(chain, tmp_path_factory.mktemp("finished") / "run")
    finetune(run)
    return run


def made(count: int, seed: int = 0) -> list[Episode]:
    """Synthetic episodes with rewards; every second one succeeds at its last step."""
    rng = np.random.default_rng(seed)
    episodes = []
    for number in range(count):
        steps = 3 + number % 4
        good = number % 2 == 0
        rewards = np.zeros(steps, np.float32)
        rewards[-1] = 10.0 * good
        episode = make_episode(rng, steps, rewarded=steps - 1 if good else None)
        episodes.append(dataclasses.replace(episode, rewards=rewards, terminals=rewards > 0))
    return episodes


def offline(batch_size: int = 16) -> Buffer:
    """A buffer of two sources whose shapes are those of `made`."""
    data = noise(actions=8)
    rng = np.random.default_rng(3)
    data.frames = rng.integers(0, 256, (60, 8, 8, 3), dtype=np.uint8)
    data.proprio = rng.normal(size=(60, 6)).astype(np.float32)
    return Buffer(data, CPU, batch_size, "balanced", 0.95)


def owners(replay: Replay, batches: int) -> np.ndarray:
    """Online steps in each of several batches, recognised by the drawn actions themselves."""
    known = {tuple(action) for episode in replay.episodes for action in episode.actions.tolist()}
    generator = torch.Generator().manual_seed(0)
    return np.array(
        [
            sum(tuple(action) in known for action in replay.sample(generator).actions.tolist())
            for _ in range(batches)
        ]
    )


@pytest.mark.parametrize("mix", ["online", "uniform", "half"])
def test_batches_hold_online_and_offline_steps_in_the_proportion_asked_for(mix: Mix) -> None:
    buffer = offline()
    replay = Replay(buffer, mix, 16, 1)
    assert (owners(replay, 3) == 0).all()
    replay.extend(made(2))  # 3 + 4 steps
    replay.extend(made(3, seed=1))  # 3 + 4 + 5 steps
    assert len(buffer.actions) == 59 and replay.steps == 19
    rows = {"online": 16, "half": 8, "uniform": round(16 * 19 / 78)}[mix]
    replay.drawn.zero_()
    assert (owners(replay, 5) == rows).all()
    rest = (16 - rows) / 16  # the merge gives each offline source half of it
    assert replay.shares() == {"task:new": rest / 2, "prior:old": rest / 2, "online": rows / 16}


@pytest.mark.parametrize("mix, sampling", [("uniform", "uniform"), ("half", "balanced")])
def test_uniform_draws_every_offline_step_alike(
    mix: Mix, sampling: str, chain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("cog.online.finetune.Buffer", lambda *of: asked.append(of[3]) or Buffer(*of))
    finetune(settings_of(chain, tmp_path / "run", mix=mix, episodes=1, evaluate_episodes=1))
    assert asked == [sampling]


def test_a_grown_replay_equals_a_buffer_built_at_once_from_the_stored_dataset(tmp_path: Path) -> None:
    episodes = made(7)
    replay = Replay(offline(), "half", 16, 2)
    for part in (episodes[:2], episodes[2:3], episodes[3:]):
        replay.extend(part)
    write_dataset(tmp_path / "online", episodes, {"kind": "made"}, episodes_per_shard=3)
    stored = load(open_merge(tmp_path / "online"))
    assert stored.fingerprint == from_episodes(episodes, "online").fingerprint
    whole = Buffer(stored, CPU, 16, "uniform", 0.95, 2)
    assert replay.online is not None
    everything = torch.arange(len(whole.actions))
    for name, one, other in zip(
        whole.gather(everything)._fields,
        replay.online.gather(everything),
        whole.gather(everything),
        strict=True,
    ):
        assert (one is None and other is None) or torch.equal(one, other), name


def test_offline_steps_and_online_successes_may_be_imitated_and_online_failures_not() -> None:
    replay = Replay(offline(), "half", 16, 1)
    replay.extend(made(6))
    verdict = {tuple(a): e.success for e in replay.episodes for a in e.actions.tolist()}
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        batch = replay.sample(generator)
        assert batch.imitated is not None
        wanted = [float(verdict.get(tuple(action), True)) for action in batch.actions.tolist()]
        assert batch.imitated.tolist() == wanted
    assert 0.0 in wanted and 1.0 in wanted


def test_steps_that_may_not_be_imitated_do_not_move_the_likelihood() -> None:
    def actor_after(weight: float, imitated: float | None) -> list[torch.Tensor]:
        buffer = Buffer(noise(), CPU, 8, "uniform", 0.95)
        agent = create(config(bc_weight=weight), buffer)
        batch = buffer.sample(agent.generator)
        mask = None if imitated is None else torch.full((8,), imitated)
        agent.update(batch._replace(imitated=mask))
        return [parameter.detach().clone() for parameter in agent.actor.parameters()]

    without, masked, everywhere = actor_after(0.0, None), actor_after(0.3, 0.0), actor_after(0.3, 1.0)
    assert all(torch.equal(one, other) for one, other in zip(without, masked, strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(without, everywhere, strict=True))


def test_an_explored_episode_follows_from_its_seed_alone_and_pays_once_at_success(chain: Path) -> None:
    policy = Policy.load(chain / "cql")
    policy.network.actor.mean.bias[0] = 2.0  # it goes right, and its noise decides how fast
    with closing(Explorer(SCENE, "left", 2, 7, AtSuccess(10.0))) as explorer:
        pair = explorer.roll(policy, [2, 3])
        alone = explorer.roll(policy, [3])
    assert_same_episode(alone[0], pair[1])
    assert not np.array_equal(pair[0].actions[0], pair[1].actions[0])
    assert [episode.seed for episode in pair] == [online_seed(7, 2), online_seed(7, 3)]
    for episode in pair:
        assert episode.success and episode.signals["place"][-1] > 0.9 >= episode.signals["place"][-2]
        assert episode.rewards is not None and episode.terminals is not None
        assert episode.rewards.tolist() == [0.0] * (len(episode) - 1) + [10.0]
        assert episode.terminals.tolist() == [False] * (len(episode) - 1) + [True]


def test_online_evaluation_and_collected_episodes_never_share_a_seed() -> None:
    online = {online_seed(7, number) for number in range(300)}
    spec = CollectionSpec(episodes=300, seed=7)
    collected = {spec.episode_seed(number, attempt) for number in range(300) for attempt in range(2)}
    assert not online & (collected | set(episode_seeds(7, 300)))


def test_a_growing_dataset_is_whole_after_every_shard_and_keeps_its_spec(tmp_path: Path) -> None:
    episodes = made(5)
    growing = GrowingDataset(tmp_path / "data", {"kind": "made"}, {"id": "nowhere"})
    for part in (episodes[:2], episodes[2:]):
        growing.append(part)
        assert verify(tmp_path / "data") == []
    again = GrowingDataset(tmp_path / "data", {"kind": "made"}, {"id": "nowhere"})
    for one, other in zip([*again.read(0), *again.read(1)], episodes, strict=True):
        assert_same_episode(one, other)
    assert open_dataset(tmp_path / "data").environment["id"] == "nowhere"
    with pytest.raises(CogError, match="begun with other options"):
        GrowingDataset(tmp_path / "data", {"kind": "else"}, {})


def test_a_run_leaves_curve_dataset_and_an_ordinary_checkpoint(
    finished: FinetuneConfig, tmp_path: Path
) -> None:
    points = read_curve(finished.out)
    assert [(point.episodes, point.updates) for point in points] == [(0, 0), (4, 12), (5, 15)]
    dataset = open_dataset(finished.out / "online")
    assert (dataset.episode_count, dataset.step_count) == (5, points[-1].steps)
    assert dataset.success_count == points[-1].collected
    assert verify(finished.out / "online") == []
    merge = write_merge(tmp_path / "more.json", [f"{finished.out / 'online'}@stored"])
    assert load(merge).rewards.max() in (0.0, 10.0)
    assert checkpoints.load(finished.out).update == 4 + 15
    asked = EvaluateConfig(finished.out, tmp_path / "e", ("left",), 3, acting="critic", candidates=2)
    report = evaluate(dataclasses.replace(asked, workers=1, videos=0))  # in its data's scene
    assert report.result("left").rate.successes == points[-1].successes
    stored = finished.out / "evaluations/0000005"
    assert report.episodes == open_evaluation(stored).episodes
    assert json.loads((stored / "evaluation.json").read_text())["config"]["acting"] == "critic"
    assert (finished.out / "curve.png").read_bytes().startswith(b"\x89PNG")
    metrics = read_metrics(finished.out)
    assert [(line["update"], line["share/online"]) for line in metrics] == [(10, 0.5), (16, 0.5), (19, 0.5)]


def test_before_the_handover_the_curve_holds_the_checkpoint_itself(
    finished: FinetuneConfig, tmp_path: Path
) -> None:
    asked = EvaluateConfig(finished.checkpoint, tmp_path / "e", ("left",), 3, acting="critic", candidates=2)
    report = evaluate(dataclasses.replace(asked, env=ENV, max_episode_steps=6, workers=1, videos=0))
    assert report.result("left").rate.successes == read_curve(finished.out)[0].successes
    start, base = checkpoints.load(finished.checkpoint), finished.out / "checkpoints"
    assert not (base / f"step_{start.update:07d}").exists()  # pruned since


def test_a_run_names_the_policy_and_the_data_it_went_on_from_and_its_own_episodes(
    finished: FinetuneConfig,
) -> None:
    things = upstream_first(trace(finished.out))
    names = [thing.path.name for thing in things]
    begun = checkpoints.load(finished.checkpoint)
    assert [thing.hash for thing in things if thing.path.name == begun.folder.name] == [begun.hash]
    assert names.index("arrived.json") < names.index(begun.folder.name) < names.index("online")
    assert f"fine-tuned from start left, {finished.episodes} episodes" in things[-1].configuration
    assert (recheck(things).problem, names[-1]) == (None, checkpoints.find(finished.out).name)
    earlier = sorted((finished.out / "checkpoints").glob("step_*"))[0]  # the episodes have grown since
    assert recheck(upstream_first(trace(earlier))).problem is None


def comparable(run: Path) -> dict[str, object]:
    """All that a run computed, without the clock and the paths of folders."""
    folder = checkpoints.find(run)
    content: dict[str, object] = {
        f"{name}/{key}": value.numpy().tobytes()
        for name in checkpoints.TENSOR_FILES
        for key, value in load_file(folder / name).items()
    }
    for pattern in ("online/**/*.h5", "metrics.jsonl", "curve.jsonl"):
        content |= {str(f.relative_to(run)): f.read_bytes() for f in run.glob(pattern)}
    return content | {"online": open_dataset(run / "online").hash}


@pytest.mark.parametrize("moment", ["collected", "updating", "saved", "evaluated"])
def test_a_run_stopped_at_any_stage_and_begun_again_is_the_undisturbed_run(
    chain: Path, finished: FinetuneConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    calls = 0
    owner, name, when = {
        "collected": (Replay, "extend", 2),
        "updating": (Replay, "sample", 9),
        "saved": (module, "evaluate", 2),
        "evaluated": (module, "write_curve", 2),
    }[moment]
    original = getattr(owner, name)

    def dying(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == when:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(owner, name, dying)
    run = settings_of(chain, tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        finetune(run)
    monkeypatch.undo()
    assert len(open_dataset(run.out / "online").shards) == 2
    finetune(run)
    one, other = comparable(run.out), comparable(finished.out)
    assert one.keys() == other.keys()
    assert [key for key in one if one[key] != other[key]] == []


def test_online_only_batches_wait_for_the_warm_up(chain: Path, tmp_path: Path) -> None:
    run = settings_of(chain, tmp_path / "run", mix="online", warm_up_episodes=4)
    assert [run.updates_of(numbers) for numbers in run.rounds()] == [0, 6, 3]
    assert settings_of(chain, tmp_path, mix="online", episodes=50).warm_up == 50
    finetune(run)
    assert [line["share/online"] for line in read_metrics(run.out)] == [1.0, 1.0]
    assert checkpoints.load(run.out).update == 4 + 9


def test_weights_are_changed_where_asked_and_nothing_warms_up_again(chain: Path, tmp_path: Path) -> None:
    trained = dataclasses.replace(config(bc_updates=100, bc_weight=0.3), schedule="cosine")
    kept = online_settings(trained, settings_of(chain, tmp_path, conservative_weight=None))
    assert (kept.schedule, kept.algorithm.bc_updates, kept.algorithm.bc_weight) == ("constant", 0, 0.3)
    changed = online_settings(trained, settings_of(chain, tmp_path, conservative_weight=0.0, bc_weight=0.1))
    assert (changed.algorithm.conservative_weight, changed.algorithm.bc_weight) == (0.0, 0.1)
    assert (
        isinstance(kept, TrainConfig)
        and kept.algorithm.conservative_weight == trained.algorithm.conservative_weight
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint": "bc"}, "algorithm 'bc'"),
        ({"checkpoint": "nowhere"}, "holds no checkpoint"),
        ({"data": "other.json"}, "other data"),
        ({"start": "right"}, "has no start 'right'"),
        ({"env": "toy/Nothing-v0"}, "cannot be built"),
        ({"env": "cog/DrawerGrasp-v0", "start": "open"}, "the policy was trained with"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    chain: Path, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    paths = {name: chain / value for name, value in changes.items() if name in ("checkpoint", "data")}
    with pytest.raises(CogError, match=message):
        finetune(settings_of(chain, tmp_path / "run", **{**changes, **paths}))
    assert not (tmp_path / "run").exists()


def test_a_folder_with_another_run_is_refused_by_field_and_left_alone(
    finished: FinetuneConfig, chain: Path, tmp_path: Path
) -> None:
    before = comparable(finished.out)
    with pytest.raises(CogError, match=r"differing: config\.bc_weight, config\.mix"):
        finetune(dataclasses.replace(finished, mix="uniform", bc_weight=0.1))
    assert comparable(finished.out) == before
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(CogError, match="not empty"):
        finetune(settings_of(chain, tmp_path))


def test_the_dip_is_the_lowest_of_the_first_hundred_episodes() -> None:
    curve = [(0, 40), (50, 30), (100, 35), (150, 10), (500, 95)]
    points = [Point(episodes, episodes * 30, episodes, count, 100, 0) for episodes, count in curve]
    found = handover(points)
    assert [p.successes for p in (found.before, found.lowest, found.final)] == [40, 30, 95]
    assert str(points[-1].rate) == "95%  [89%, 98%]"
    assert handover_table(points).row_count == 3
    with pytest.raises(CogError, match="no evaluation after the handover"):
        handover(points[:1])
