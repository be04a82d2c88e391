"""Where things come from: the chain is told whole, and one byte changed anywhere in it is named."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cog import cli
from cog.core.files import hash_file, hash_json, json_text
from cog.datasets.collection.collect import collect
from cog.datasets.collection.spec import BehaviourChoice, CollectionSpec
from cog.datasets.materialise import materialise
from cog.datasets.merge import write_merge
from cog.datasets.relabel.view import relabel
from cog.errors import CogError
from cog.evaluation.config import EvaluateConfig
from cog.evaluation.evaluate import evaluate
from cog.provenance.lineage import Thing, identify, to_json, trace
from cog.provenance.recheck import Report, recheck, upstream_first
from cog.training import checkpoint
from cog.training.train import train
from tests.helpers.learner_data import config

ENV = "tests.helpers.toy_scene:toy/Line-v0"
STEP = "run/checkpoints/step_0000002"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets of the toy scene, views, a merge, a run and its evaluation."""
    root = tmp_path_factory.mktemp("chain")
    for name, start, seed in (("task", "middle", 3), ("prior", "left", 4)):
        spec = CollectionSpec(
            4,
            (BehaviourChoice("reach"),),
            (start,),
            ENV,
            image_size=16,
            max_episode_steps=5,
            seed=seed,
            episodes_per_shard=2,
        )
        collect(spec, root / name, workers=1)
    relabel(root / "task", "tests.envs.test_own_scene:arrived", "arrived", scale=10.0)
    relabel(root / "prior", "zero", "zero")
    write_merge(root / "all.json", [f"{root / 'task'}@arrived"], [f"{root / 'prior'}@zero"], 0.25)
    train(dataclasses.replace(config(root / "run", updates=2), data=root / "all.json"))
    evaluate(
        EvaluateConfig(
            checkpoint=root / "run",
            out=root / "evaluation",
            starts=("left",),
            episodes=2,
            env=ENV,
            max_episode_steps=5,
            workers=1,
            videos=0,
        )
    )
    return root


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """The same files in another folder, to be damaged."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def deep(path: Path) -> Report:
    return recheck(upstream_first(trace(path)))


def names(path: Path) -> list[tuple[str, str]]:
    """Kind and name of everything in a chain, upstream first."""
    return [(thing.kind, thing.path.name) for thing in upstream_first(trace(path))]


def test_the_chain_of_an_evaluation_leads_to_the_episodes_it_began_with(made: Path) -> None:
    assert names(made / "evaluation") == [
        ("dataset", "task"),
        ("view", "task@arrived"),
        ("dataset", "prior"),
        ("view", "prior@zero"),
        ("merge", "all.json"),
        ("checkpoint", "step_0000002"),
        ("evaluation", "evaluation"),
    ]
    things = {thing.path.name: thing for thing in upstream_first(trace(made / "evaluation"))}
    assert things["task"].hash == json.loads((made / "task/manifest.json").read_text())["hash"]
    entries = json.loads((made / "all.json").read_text())["sources"]
    assert [things[name].hash for name in ("task@arrived", "prior@zero")] == [
        entry["relabel_hash"] for entry in entries
    ]
    assert things["evaluation"].hash == hash_file(made / "evaluation/evaluation.json")
    assert {thing.code_version for thing in things.values()} == {"cog 0.1.0"}
    for name, words in {
        "task": ("reach", "middle", "4 episodes", "seed 3"),
        "task@arrived": ("tests.envs.test_own_scene:arrived", "scale 10"),
        "all.json": ("task task@arrived 0.25", "prior prior@zero 0.75"),
        "step_0000002": ("cql", "update 2 of 2", "seed 0"),
        "evaluation": ("left", "2 episodes", "seed 0"),
    }.items():
        assert all(word in things[name].configuration for word in words), things[name].configuration


def test_a_chain_holds_as_it_was_made_and_when_all_of_it_moves(copy: Path) -> None:
    assert deep(copy / "evaluation") == Report(7, 0, None)


@pytest.mark.parametrize("part", [0.05, 0.5, 0.95])
@pytest.mark.parametrize(
    "file",
    [
        "task/shards/00001.h5",
        "prior/shards/00000.h5",
        f"{STEP}/model.safetensors",
        f"{STEP}/optimizer.safetensors",
        f"{STEP}/state.json",
    ],
)
def test_one_byte_changed_in_a_shard_or_checkpoint_is_named(file: str, part: float, copy: Path) -> None:
    flip(copy / file, int(part * (copy / file).stat().st_size))
    problem = deep(copy / "evaluation").problem
    named = Path(STEP) if file.endswith("state.json") else Path(file)
    assert problem is not None and str(copy / named) in str(problem)


@pytest.mark.parametrize(
    "file, text",
    [
        ("task/manifest.json", '"hash": "'),
        ("task/manifest.json", "\n  "),
        ("task/relabels/arrived.json", '"reward_sum": '),
        ("task/relabels/arrived.json", '"rule": "'),
        ("task/relabels/arrived.json", "\n  "),
        ("prior/relabels/zero.json", '"dataset_hash": "'),
        ("all.json", '"relabel_hash": "'),
        ("all.json", '"share": 0.'),
        ("all.json", '"path": "'),
        ("all.json", "\n  "),
        ("evaluation/evaluation.json", '"checkpoint_hash": "'),
    ],
)
def test_one_byte_changed_in_a_description_is_named(file: str, text: str, copy: Path) -> None:
    flip(copy / file, (copy / file).read_bytes().index(text.encode()) + len(text) - (text == "\n  "))
    problem = deep(copy / "evaluation").problem
    assert problem is not None
    thing = {"manifest": "task", "arrived": "task@arrived", "zero": "prior@zero"}
    assert any(name in str(problem) for name in (file, thing.get(Path(file).stem, file)))


def test_the_first_broken_link_is_named_and_not_what_follows_from_it(copy: Path) -> None:
    for file in (f"{STEP}/model.safetensors", "prior/shards/00000.h5", "task/shards/00000.h5"):
        flip(copy / file, 1000)
    report = deep(copy / "evaluation")
    assert report.problem is not None and report.problem.file == copy / "task/shards/00000.h5"
    assert report.checked == 0


def test_a_sound_dataset_in_the_place_of_another_is_named(copy: Path) -> None:
    shutil.rmtree(copy / "task")
    shutil.copytree(copy / "prior", copy / "task")
    (copy / "task/relabels/zero.json").rename(copy / "task/relabels/arrived.json")
    report = deep(copy / "evaluation")
    assert report.problem is not None and "arrived" in str(report.problem)


def test_a_view_that_was_made_anew_by_another_rule_is_named_by_the_merge(copy: Path) -> None:
    (copy / "task/relabels/arrived.json").unlink()
    relabel(copy / "task", "tests.envs.test_own_scene:arrived", "arrived", scale=5.0)
    report = deep(copy / "evaluation")
    assert report.problem is not None and report.problem.file == copy / "all.json"
    links = {thing.path.name: thing.links for thing in upstream_first(trace(copy / "evaluation"))}
    assert [link.holds for link in links["all.json"]] == [False, True]


def test_data_other_than_those_that_a_policy_was_trained_on_are_named(copy: Path) -> None:
    sources = [f"{copy / 'task'}@arrived"], [f"{copy / 'prior'}@zero"]
    (copy / "all.json").unlink()
    write_merge(copy / "all.json", *sources, 0.5)
    report = deep(copy / "evaluation")
    assert report.problem is not None and "all.json" in str(report.problem)
    state = copy / STEP / "state.json"
    held = json.loads(state.read_text())
    held["inputs"][0]["hash"] = trace(copy / "all.json").hash  # as if the run had used the new merge
    rewrite(state, held)
    report = deep(copy / "run")
    assert report.problem is not None and report.problem.field == "fingerprint"


def rewrite(path: Path, value: dict[str, Any]) -> None:
    """Write JSON as cog does, with a seal that fits where the file has one."""
    for seal in {"hash" if path.name == "state.json" else "", "seal"} & value.keys():
        value = {name: entry for name, entry in value.items() if name != seal}
        value[seal] = hash_json(value)
    path.write_text(json_text(value))


def test_weights_other_than_those_that_acted_are_named(copy: Path) -> None:
    path = copy / "evaluation/evaluation.json"
    held = json.loads(path.read_text())
    held["checkpoint_hash"] = "0" * 64
    rewrite(path, held)
    report = deep(copy / "evaluation")
    assert report.problem is not None and report.problem.field == "checkpoint_hash"


@pytest.mark.parametrize(
    "file, lost",
    [
        ("task", "task"),
        ("task/shards/00000.h5", None),
        ("prior/relabels/zero.json", "prior@zero"),
        ("all.json", "all.json"),
        ("run", "step_0000002"),
    ],
)
def test_what_is_missing_is_shown_and_breaks_the_chain(
    file: str, lost: str | None, copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy / file
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    broken = [thing.path.name for thing in upstream_first(trace(copy / "evaluation")) if thing.problem]
    assert broken[:1] == ([lost] if lost else [])
    assert cli.run(["why", str(copy / "evaluation")]) == 0
    assert ("missing or damaged" in capsys.readouterr().out) == (lost is not None)
    assert cli.run(["verify", "--deep", str(copy / "evaluation")]) == 1
    assert file.split("/")[0] in capsys.readouterr().err


def without_new_fields(root: Path) -> None:
    """Files as they were before they named their inputs and, in part, their version."""
    for name in ("task/relabels/arrived.json", "prior/relabels/zero.json", "all.json"):
        held = json.loads((root / name).read_text())
        del held["code_version"]
        rewrite(root / name, held)
    for name in ("task/manifest.json", f"{STEP}/state.json", "evaluation/evaluation.json"):
        held = json.loads((root / name).read_text())
        del held["inputs"]
        rewrite(root / name, held)


def test_older_files_keep_their_identity_and_say_what_is_not_recorded(
    copy: Path, made: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    without_new_fields(copy)
    state = json.loads((copy / STEP / "state.json").read_text())
    assert Path(state["config"]["data"]) == made / "all.json"  # found by the path of that time
    evaluation = trace(copy / "evaluation")
    assert not evaluation.recorded and [link.recorded for link in evaluation.links] == [None]
    assert trace(copy / "run").hash == trace(made / "run").hash
    assert trace(copy / "all.json").hash == trace(made / "all.json").hash
    assert trace(copy / "all.json").code_version is None
    assert deep(copy / "run") == Report(6, 1, None)
    assert cli.run(["why", str(copy / "run")]) == 0
    assert "hash not recorded" in capsys.readouterr().out
    assert checkpoint.load(copy / "run").inputs == ()
    write_merge(copy / "all.json", [f"{copy / 'task'}@arrived"], [f"{copy / 'prior'}@zero"], 0.25)


def test_a_policy_from_a_single_dataset_names_its_view(made: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(dataclasses.replace(config(out, updates=1), data=made / "task@arrived"))
    assert names(out) == [("dataset", "task"), ("view", "task@arrived"), ("checkpoint", "step_0000001")]
    assert deep(out) == Report(3, 0, None)


def test_a_materialised_merge_names_the_views_it_was_copied_from(copy: Path) -> None:
    materialise(copy / "all.json", copy / "full")
    kinds = [name for _, name in names(copy / "full")]
    assert kinds.index("task@arrived") < kinds.index("0-task") < kinds.index("0-task@stored")
    assert deep(copy / "full").problem is None
    flip(copy / "task/shards/00000.h5", 500)
    problem = deep(copy / "full").problem
    assert problem is not None and problem.file == copy / "task/shards/00000.h5"


def test_any_file_of_a_thing_means_the_thing(made: Path) -> None:
    for file, kind in {
        "task": "dataset",
        "task/manifest.json": "dataset",
        "task/shards/00000.h5": "dataset",
        "task/relabels/arrived.json": "view",
        "task@arrived": "view",
        "all.json": "merge",
        "run": "checkpoint",
        "run/config.json": "checkpoint",
        "run/checkpoints": "checkpoint",
        f"{STEP}/model.safetensors": "checkpoint",
        "evaluation/evaluation.json": "evaluation",
    }.items():
        assert identify(made / file)[0] == kind, file
        thing = trace(made / file)
        assert thing.kind == kind and not thing.problem and thing.hash


@pytest.mark.parametrize(
    "name", ["state.json", "latest.json", "config.json", "manifest.json", "classifier.json"]
)
def test_a_merge_is_a_merge_whatever_its_name(name: str, copy: Path) -> None:
    (copy / "all.json").rename(copy / name)
    assert names(copy / name)[-1] == ("merge", name)
    assert deep(copy / name) == Report(5, 0, None)
    write_merge(copy / "other.json", [f"{copy / 'task'}@arrived"])
    assert deep(copy / "other.json") == Report(3, 0, None)


def test_a_damaged_file_of_a_checkpoint_is_still_known_by_its_name(copy: Path) -> None:
    (copy / STEP / "state.json").write_text("{")
    thing = trace(copy / STEP / "state.json")
    assert thing.kind == "checkpoint" and "state.json" in thing.problem


def test_why_fails_if_the_thing_itself_cannot_be_read(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(copy / STEP / "model.safetensors", 1000)
    for path, code in ((copy / "run", 1), (copy / "evaluation", 0), (copy / "task@nothing", 1)):
        assert cli.run(["why", str(path)]) == cli.run(["why", "--json", str(path)]) == code
        assert "missing or damaged" in capsys.readouterr().out
    assert cli.run(["why", str(copy / "nowhere")]) == 1


def test_paths_may_be_told_from_any_folder(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made / "task")
    for name in ("relabels/arrived.json", "../task@arrived", "../task/relabels/arrived.json"):
        thing = trace(Path(name))
        assert (thing.kind, thing.problem) == ("view", "") and thing.links[0].holds
    assert trace(Path()).hash == trace(Path("manifest.json")).hash == thing.links[0].thing.hash
    monkeypatch.chdir(made / "task/relabels")
    assert trace(Path("arrived.json")).hash == thing.hash


def test_what_cog_did_not_write_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "other.json").write_text('{"kind": "shopping list"}')
    (tmp_path / "notes.txt").write_text("x")
    for name in ("empty", "list.json", "other.json", "notes.txt", "nowhere"):
        with pytest.raises(CogError, match=name):
            trace(tmp_path / name)


def test_a_chain_that_names_itself_ends(copy: Path) -> None:
    path = copy / "evaluation/evaluation.json"
    held = json.loads(path.read_text())
    held["inputs"] = [{"kind": "evaluation", "path": ".", "hash": "0"}] * 2
    rewrite(path, held)
    assert "names itself" in trace(copy / "evaluation").links[0].thing.problem
    assert deep(copy / "evaluation").problem is not None


@pytest.mark.parametrize("inputs", [3, ["x"], [{"kind": "merge"}], [{"kind": 1, "path": "\0", "hash": 2}]])
def test_malformed_inputs_are_a_problem_and_no_exception(inputs: Any, copy: Path) -> None:
    path = copy / "evaluation/evaluation.json"
    rewrite(path, json.loads(path.read_text()) | {"inputs": inputs})
    assert deep(copy / "evaluation").problem is not None
    assert to_json(trace(copy / "evaluation"))["kind"] == "evaluation"


def test_why_prints_the_tree_or_json(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["why", str(made / "evaluation")]) == 0
    lines = capsys.readouterr().out.splitlines()
    kinds = [word for line in lines for word in line.replace("│", " ").split()[:2] if word.isalpha()]
    assert [kind for kind in kinds if kind in ("evaluation", "checkpoint", "merge", "view", "dataset")] == [
        "evaluation",
        "checkpoint",
        "merge",
        *["view", "dataset"] * 2,
    ]
    assert cli.run(["why", "--json", str(made / "evaluation")]) == 0
    value = json.loads(capsys.readouterr().out)
    while value["inputs"]:
        (value, *_) = value["inputs"]
        assert value["holds"] and value["hash"] == value["recorded_hash"]
    assert value["kind"] == "dataset"


def test_a_thing_is_told_once(made: Path) -> None:
    def count(value: dict[str, Any]) -> int:
        return 1 + sum(count(entry) for entry in value.get("inputs", []))

    twice = Thing("merge", Path("m"), links=(*trace(made / "run").links,) * 2)
    assert count(to_json(twice)) == 1 + 5 + 1
    assert len(upstream_first(twice)) == 6
