"""Tools make new datasets or pictures of old ones and never change what they read."""

import itertools
import json
import re
import shlex
from collections import Counter

import cv2
import numpy as np
import pytest
import torch

from cog import cli
from cog.algorithms.cql import CQLConfig
from cog.core.inputs import Input
from cog.datasets.edit.config import FilterConfig
from cog.datasets.edit.filter import filter_dataset
from cog.datasets.edit.split import draw_parts, split_dataset
from cog.datasets.info import describe
from cog.datasets.load import load
from cog.datasets.merge import open_merge, write_merge
from cog.datasets.relabel.view import relabel
from cog.datasets.storage.dataset import open_dataset, write_dataset
from cog.datasets.storage.verify import verify
from cog.errors import CogError, UsageError
from cog.replay.buffer import Buffer
from cog.replay.preview import preview
from cog.training.train import train
from tests.conftest import assert_same_episode, make_episode
from tests.helpers.learner_data import config

RULES = """
import numpy as np

def lifted(episode):
    return episode.signals["object_height"][1:] > 0.1

def fails(episode):
    raise RuntimeError("broken inside")
"""


@pytest.fixture
def dataset(tmp_path):
    """Twelve episodes of 1 to 12 steps, two behaviours, three starts; every third lifts, two of them drop."""
    made = []
    for number in range(12):
        rng = np.random.default_rng(number)
        episode = make_episode(rng, number + 1, rewarded=0 if number % 3 == 0 else None)
        if number in (3, 9):
            episode.signals["object_height"][-1] = 0.0
        names = {
            "behaviour": ("grasp", "wander")[number % 2],
            "start": ("open", "closed", "held")[number // 4],
        }
        made.append(type(episode)(**{**vars(episode), **names}))
    return write_dataset(tmp_path / "source", made, {"kind": "made"}, episodes_per_shard=5)


def numbers_of(part, dataset):
    """Numbers in `dataset` of the episodes of `part`, each found by equal content."""
    places = {episode.actions.tobytes(): number for number, episode in enumerate(dataset.episodes())}
    found = []
    whole = list(dataset.episodes())
    for episode in part.episodes():
        number = places[episode.actions.tobytes()]
        assert_same_episode(whole[number], episode)
        found.append(number)
    return found


@pytest.mark.parametrize(
    "options, kept",
    [
        (["--ends-in", "grasp_success"], [0, 6]),
        (["--reaches", "grasp_success"], [0, 3, 6, 9]),
        (["--reaches", "rules:lifted", "--behaviour", "wander"], [3, 9]),
        (["--behaviour", "grasp"], [0, 2, 4, 6, 8, 10]),
        (["--behaviour", "grasp", "wander", "--start", "open", "held"], [0, 1, 2, 3, 8, 9, 10, 11]),
        (["--success", "true"], [0, 3, 6, 9]),
        (["--success", "false", "--start", "open"], [1, 2]),
        (["--min-length", "3", "--max-length", "5"], [2, 3, 4]),
    ],
    ids=lambda value: " ".join(map(str, value)),
)
def test_a_filter_keeps_exactly_the_episodes_asked_for(options, kept, dataset, tmp_path, frozen, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.py").write_text(RULES)
    before = frozen(dataset.path)
    out = tmp_path / "kept"
    assert cli.run(["filter", str(dataset.path), "--out", str(out), *options]) == 0
    result = open_dataset(out)
    assert numbers_of(result, dataset) == kept
    assert verify(out) == [] and frozen(dataset.path) == before
    assert result.spec["kind"] == "filtered" and result.spec["of"] == dataset.hash
    assert [(entry.kind, entry.path, entry.hash) for entry in result.inputs] == [
        ("dataset", "../source", dataset.hash)
    ]


@pytest.mark.parametrize(
    "wanted, error, message",
    [
        (FilterConfig(), UsageError, "Say which to keep"),
        (FilterConfig(ends_in=("flown",)), UsageError, "unknown"),
        (
            FilterConfig(behaviour=("grasp", "gras")),
            UsageError,
            "no episode has the behaviour 'gras'; there are: grasp, wander",
        ),
        (FilterConfig(start=("ajar",)), UsageError, "no episode has the start 'ajar'"),
        (FilterConfig(min_length=13), CogError, "none of its 12 episodes"),
        (
            FilterConfig(reaches=("rules:fails",)),
            CogError,
            r"'rules:fails', episode 0: it raises RuntimeError",
        ),
    ],
    ids=str,
)
def test_a_filter_that_makes_no_sense_is_refused_and_writes_nothing(
    wanted, error, message, dataset, tmp_path, frozen, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rules.py").write_text(RULES)
    before = frozen(tmp_path)
    with pytest.raises(error, match=message):
        filter_dataset(dataset.path, tmp_path / "kept", wanted)
    before |= {name: data for name, data in frozen(tmp_path).items() if "__pycache__" in name}
    assert frozen(tmp_path) == before


def test_conditions_that_no_episode_satisfies_are_told_as_they_were_written(dataset, tmp_path, capsys):
    asked = ["--success", "true", "--success-by", "last", "--min-length", "900", "--start", "open", "closed"]
    asked = ["--ends-in", "object_height > 0.1", "zero", *asked]
    out = tmp_path / "filtered"
    assert cli.run(["filter", str(dataset.path), "--out", str(out), *asked]) == 1 and not out.exists()
    said = " ".join(capsys.readouterr().err.split())
    told = said.split("is as asked for, ")[1].split("; nothing was written")[0]
    assert f"{dataset.path}: none of its" in said and "{" not in said
    again = cli.parse(["filter", "d", "--out", "o", *shlex.split(told)]).config
    assert again == cli.parse(["filter", "d", "--out", "o", *asked]).config


def test_parts_of_a_split_are_whole_disjoint_ordered_and_drawn_alike_every_time(dataset, tmp_path, frozen):
    before = frozen(dataset.path)
    outs = [tmp_path / name for name in ("a", "b", "c")]
    options = ["--out", *map(str, outs), "--shares", "0.5", "0.25", "0.25", "--seed", "3"]
    assert cli.run(["split", str(dataset.path), *options]) == 0
    parts = [numbers_of(open_dataset(out), dataset) for out in outs]
    assert [len(part) for part in parts] == [6, 3, 3]
    assert sorted(itertools.chain(*parts)) == list(range(12)) and all(part == sorted(part) for part in parts)
    assert all(verify(out) == [] for out in outs) and frozen(dataset.path) == before
    again = [tmp_path / f"{name} again" for name in "abc"]
    for one, other in zip(split_dataset(dataset.path, again, (0.5, 0.25, 0.25), 3), outs, strict=True):
        assert one.hash == open_dataset(other).hash
    drawn = {str(draw_parts(12, (0.5, 0.25, 0.25), seed)) for seed in range(20)}
    assert len(drawn) > 15


@pytest.mark.parametrize(
    "outs, shares, message",
    [
        (["a", "b"], (0.9,), "one share per folder"),
        (["a", "b"], (0.9, 0.2), "add up to 1"),
        (["a", "b"], (1.5, -0.5), "positive"),
        (["a", "b"], (float("nan"), 0.5), "positive"),
        (["a", "b"], (0.99, 0.01), "too few"),
        (["a", "a"], (0.5, 0.5), "of its own"),
        (["a", "a/b"], (0.5, 0.5), "of its own"),
        (["a", "full"], (0.5, 0.5), "not empty"),
        (["source/a", "b"], (0.5, 0.5), "lies in"),
    ],
)
def test_a_split_that_cannot_be_is_refused_and_writes_nothing(
    outs, shares, message, dataset, tmp_path, frozen
):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes").write_text("mine")
    before = frozen(tmp_path)
    with pytest.raises(CogError, match=message):
        split_dataset(dataset.path, [tmp_path / out for out in outs], shares, 0)
    assert frozen(tmp_path) == before and not (tmp_path / "a").exists()


def test_a_split_by_a_seed_that_is_none_is_refused(dataset, tmp_path):
    with pytest.raises(UsageError, match="seed is -1; it must lie in"):
        split_dataset(dataset.path, [tmp_path / "a", tmp_path / "b"], (0.5, 0.5), -1)
    assert not (tmp_path / "a").exists()


def test_a_split_whose_source_is_damaged_leaves_no_part(dataset, tmp_path):
    (dataset.path / "shards/00002.h5").unlink()
    with pytest.raises(CogError, match=r"00002\.h5"):
        split_dataset(dataset.path, [tmp_path / "a", tmp_path / "b"], (0.5, 0.5), 0)
    assert not (tmp_path / "a").exists() and not (tmp_path / "b").exists()


def test_info_tells_lengths_sizes_and_returns_of_every_view(dataset, tmp_path):
    relabel(dataset.path, "grasp_success", "reward", scale=2.0, terminate=False)
    relabel(dataset.path, "zero", "none", only="grasp_success")
    facts = describe(dataset.path)
    assert facts["length"] == {"min": 1, "mean": 6.5, "max": 12}
    held = [float((episode.signals["object_height"][1:] > 0.1).sum()) for episode in dataset.episodes()]
    assert facts["returns"]["reward"] == {
        "min": 0.0,
        "mean": pytest.approx(2 * np.mean(held)),
        "max": 2 * max(held),
    }
    assert facts["returns"]["none"] == {"min": 0.0, "mean": 0.0, "max": 0.0}
    sizes = [(1 + length) * (8 * 8 * 3 + 6 * 4 + 2 * 4) + length * 8 * 4 for length in range(1, 13)]
    assert facts["bytes_in_memory"] == sum(sizes)
    assert facts["bytes"] == sum(path.stat().st_size for path in (dataset.path / "shards").iterdir())
    assert json.loads(json.dumps(facts)) == facts


def test_info_runs_no_function_of_a_user(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(RULES)
    view = relabel(dataset.path, "own:lifted", "mine", terminate=False)
    (tmp_path / "own.py").unlink()
    monkeypatch.delitem(__import__("sys").modules, "own")
    assert describe(dataset.path)["returns"]["mine"] == {
        "mean": pytest.approx(view.reward_sum / 12, abs=1e-6)
    }


def test_a_film_shows_the_chosen_episodes_in_their_order(dataset, tmp_path, frozen, capsys):
    before = frozen(dataset.path)
    film = tmp_path / "film.png"
    assert cli.run(["info", str(dataset.path), "--film", str(film), "--episodes", "11", "0", "6"]) == 0
    picture = cv2.cvtColor(cv2.imread(str(film)), cv2.COLOR_BGR2RGB)
    whole = list(dataset.episodes())
    height = picture.shape[0] // 3
    for row, number in enumerate((11, 0, 6)):
        strip = picture[row * height : (row + 1) * height]
        for column, frame in ((0, whole[number].images[0]), (-1, whole[number].images[-1])):
            size = picture.shape[1] // 8
            shown = strip[-size:, :size] if column == 0 else strip[-size:, -size:]
            np.testing.assert_array_equal(cv2.resize(shown, (8, 8), interpolation=cv2.INTER_NEAREST), frame)
    assert frozen(dataset.path) == before
    taken = film.read_bytes()
    for arguments, code in (
        (["--film", str(film)], 1),
        (["--film", str(tmp_path / "film.json")], 2),
        (["--film", str(tmp_path / "new.png"), "--episodes", "12"], 2),
    ):
        assert cli.run(["info", str(dataset.path), *arguments]) == code
    assert film.read_bytes() == taken and not (tmp_path / "new.png").exists()


def test_info_shows_ranges_and_counts_in_columns(make_dataset, capsys):
    dataset = make_dataset()
    assert cli.run(["info", str(dataset.path)]) == 0
    lines = [
        [cell.strip() for cell in re.split("[│┃]", line)] for line in capsys.readouterr().out.split("\n")
    ]
    assert ["", "name", "low", "high", ""] in lines and ["", "name", "episodes", "successes", ""] in lines
    facts = describe(dataset.path)
    for name, (low, high) in facts["signals"].items():
        assert ["", name, str(low), str(high), ""] in lines


def test_a_film_of_states_is_refused(make_dataset, tmp_path):
    path = make_dataset(state=True).path
    assert cli.run(["info", str(path), "--film", str(tmp_path / "film.png")]) == 1
    assert not (tmp_path / "film.png").exists()


@pytest.fixture
def merge(dataset, make_dataset, tmp_path):
    """Task data with rewards and prior data without, at a quarter and three quarters."""
    relabel(dataset.path, "grasp_success", "reward", scale=5.0)
    relabel(make_dataset("old", seed=3, task=False).path, "zero", "none")
    return write_merge(tmp_path / "both.json", [f"{dataset.path}@reward"], [str(tmp_path / "old")], 0.25).path


def test_a_sample_is_the_first_batch_that_training_draws(merge, tmp_path, monkeypatch):
    seen = []
    gather = Buffer.gather
    monkeypatch.setattr(
        Buffer, "gather", lambda self, index: seen.append(index.clone()) or gather(self, index)
    )
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(
            "cog.training.setup.load_data",
            lambda *_: (load(open_merge(merge)), Input("merge", "both.json", ""), {}, []),
        )
        train(config(out, batch_size=32, seed=7, updates=1))
    trained = seen[0]
    seen.clear()
    found = preview(merge, 32, 7, CQLConfig().returns())
    assert torch.equal(seen[0], trained)
    data = load(open_merge(merge))
    index = trained.numpy()
    task, old = found.facts["task:source"], found.facts["prior:old"]
    assert (task["transitions"], task["share"], old["transitions"], old["share"]) == (8, 0.25, 24, 0.75)
    assert task["rewarded"] == int((data.rewards[index] == 5).sum())
    steps = CQLConfig().returns().steps
    spans = [np.arange(place, min(place + steps, len(data.terminals))) for place in index]
    ends = np.array([(data.terminals & (data.episode == data.episode[one[0]]))[one].any() for one in spans])
    for number, facts in enumerate((task, old)):  # the environment ended episodes of both
        assert facts["terminals"] == int(ends[data.source[index] == number].sum())
    assert task["reward_mean"] == pytest.approx(data.rewards[index][data.source[index] == 0].mean())
    assert (old["rewarded"], old["behaviours"]) == (0, {"made up": 24})
    origins = Counter()
    for place in index[data.source[index] == 0]:
        frame = data.frames[data.frame_index[place]]
        (episode,) = [
            e
            for e in open_merge(merge).sources[0].dataset.episodes()
            if (e.images == frame).all((1, 2, 3)).any()
        ]
        origins[episode.start, episode.behaviour] += 1
    for position, name in ((0, "starts"), (1, "behaviours")):
        counted = Counter()
        for origin, count in origins.items():
            counted[origin[position]] += count
        assert task[name] == dict(counted)


def test_the_command_samples_shows_and_films(merge, tmp_path, frozen, capsys):
    before = frozen(tmp_path)
    film = tmp_path / "batch.png"
    assert cli.run(["sample", str(merge), "--batch", "16", "--film", str(film)]) == 0
    out = capsys.readouterr().out
    assert "task:source" in out and "prior:old" in out and "0.75" in out
    after = frozen(tmp_path)
    assert after.pop("batch.png").startswith(b"\x89PNG") and after == before
    assert cli.run(["sample", str(merge), "--batch", "0"]) == 2
    assert cli.run(["sample", str(merge), "--film", str(film)]) == 1
    assert cli.run(["sample", str(tmp_path / "nowhere.json")]) == 1


def test_sampling_states_gives_facts_and_no_film(make_dataset, tmp_path):
    path = make_dataset(state=True).path
    relabel(path, "zero", "none")
    assert preview(path, 4, 0, CQLConfig().returns(), "uniform").facts["task:data"]["transitions"] == 4
    assert cli.run(["sample", str(path), "--batch", "4", "--film", str(tmp_path / "f.png")]) == 1
    assert not (tmp_path / "f.png").exists()
