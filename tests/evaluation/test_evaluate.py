"""Evaluation: the same episodes for any number of workers, replayable by number and seed; refusals."""

import dataclasses
import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from cog.core.videos import write_sheet
from cog.datasets.collection.spec import CollectionSpec
from cog.envs.make import Scene
from cog.errors import CogError, UsageError
from cog.evaluation.config import EvaluateConfig
from cog.evaluation.evaluate import evaluate
from cog.evaluation.result import Evaluation, open_evaluation
from cog.evaluation.rollout import Fleet, Group, episode_seeds, replay
from tests.helpers.policies import SIZE, tiny_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("policy") / "run")


@pytest.fixture(scope="module")
def settings(run: Path, tmp_path_factory: pytest.TempPathFactory) -> EvaluateConfig:
    return EvaluateConfig(
        run,
        tmp_path_factory.mktemp("evaluation") / "one",
        episodes=5,
        env="cog/DrawerGrasp-v0",
        max_episode_steps=6,
        envs_per_worker=2,
        workers=1,
        videos=0,
    )


@pytest.fixture(scope="module")
def finished(settings: EvaluateConfig) -> Evaluation:
    return evaluate(settings)


def other(settings: EvaluateConfig, out: Path, **changes: object) -> EvaluateConfig:
    return dataclasses.replace(settings, out=out, **changes)  # type: ignore[arg-type]


def test_results_do_not_depend_on_the_number_of_workers(
    settings: EvaluateConfig, finished: Evaluation, tmp_path: Path
) -> None:
    two = evaluate(other(settings, tmp_path / "two", workers=2))
    assert (settings.out / "evaluation.json").read_text() == (two.out / "evaluation.json").read_text()


def test_episode_comes_out_the_same_alone_as_among_all(
    settings: EvaluateConfig, finished: Evaluation, tmp_path: Path
) -> None:
    alone = evaluate(other(settings, tmp_path / "alone", starts=("closed",), only=(3,)))
    among = [e for e in finished.episodes if (e["start"], e["number"]) == ("closed", 3)]
    assert list(alone.episodes) == among


@pytest.mark.parametrize("acting", ["sample", "critic"])
def test_draws_come_out_the_same_in_any_company_and_differ_from_the_mode(acting: str, tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "cql", algorithm="cql")
    scene = Scene("cog/DrawerGrasp-v0", (SIZE, SIZE, 3), 6)
    with closing(Fleet(run, scene, rows=2, acting=acting)) as fleet:
        first, second = fleet.roll(Group("open", (0, 1), (11, 12)))
        again = fleet.roll(Group("open", (1,), (12,)))[0]
    with closing(Fleet(run, scene, rows=2)) as fleet:
        mode = fleet.roll(Group("open", (1,), (12,)))[0]
    assert np.array_equal(again.actions, second.actions)
    assert not np.array_equal(first.actions, second.actions)
    assert not np.array_equal(mode.actions, second.actions)


def test_every_start_and_policy_gets_the_same_seeds(finished: Evaluation, settings: EvaluateConfig) -> None:
    for start in settings.starts:
        seeds = [e["seed"] for e in finished.episodes if e["start"] == start]
        assert seeds == episode_seeds(settings.seed, 5) == episode_seeds(settings.seed, 9)[:5]


def test_no_evaluation_episode_begins_as_a_collected_one_did() -> None:
    spec = CollectionSpec(episodes=200, seed=7)
    collected = {spec.episode_seed(number, attempt) for number in range(200) for attempt in range(3)}
    assert not collected & set(episode_seeds(7, 200))


def test_printed_seed_and_actions_replay_the_episode_with_frames_for_people(run: Path) -> None:
    scene = Scene("cog/DrawerGrasp-v0", (SIZE, SIZE, 3), 6)
    with closing(Fleet(run, scene, rows=2)) as fleet:
        first, second = fleet.roll(Group("open", (0, 1), (11, 12)))
        again = fleet.roll(Group("open", (1,), (12,)))[0]
    assert np.array_equal(again.actions, second.actions)
    assert again.total == second.total and again.furthest == second.furthest
    assert not np.array_equal(first.actions, second.actions)
    frames = replay(scene, second, 64)
    assert frames.shape == (7, 64, 64, 3) and frames.dtype == np.uint8
    assert not np.array_equal(frames[0], frames[-1])
    lied = dataclasses.replace(second, success=True)
    with pytest.raises(CogError, match="seed 12"):
        replay(scene, lied, 64)


def test_summary_agrees_with_its_episodes(finished: Evaluation, settings: EvaluateConfig) -> None:
    value = json.loads((settings.out / "evaluation.json").read_text())
    for entry in value["results"]:
        here = [episode for episode in value["episodes"] if episode["start"] == entry["start"]]
        assert entry["episodes"] == len(here) == 5
        assert entry["successes"] == sum(episode["success"] for episode in here)
        assert entry["mean_steps"] == np.mean([episode["steps"] for episode in here])
        assert sum(entry["failures"].values()) == 5 - entry["successes"]
        assert 0 <= entry["low"] <= entry["rate"] <= entry["high"] <= 1
    assert open_evaluation(settings.out) == finished


def test_finished_evaluation_is_not_repeated(
    settings: EvaluateConfig, finished: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cog.evaluation.evaluate._crew", lambda *_: pytest.fail("rolled out again"))
    assert evaluate(settings) == finished


def test_folder_of_another_evaluation_is_left_alone(settings: EvaluateConfig, finished: Evaluation) -> None:
    before = (settings.out / "evaluation.json").read_bytes()
    with pytest.raises(CogError, match=r"another evaluation.*config\.episodes"):
        evaluate(dataclasses.replace(settings, episodes=6))
    assert (settings.out / "evaluation.json").read_bytes() == before


def test_folder_with_other_files_is_refused(settings: EvaluateConfig, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CogError, match="does not hold an evaluation"):
        evaluate(other(settings, tmp_path))


def test_unknown_start_is_refused_with_the_known_ones(settings: EvaluateConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'ajar'.*open, closed"):
        evaluate(other(settings, tmp_path / "new", starts=("open", "ajar")))
    assert not (tmp_path / "new").exists()


def test_unknown_environment_is_refused(settings: EvaluateConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cog/Nowhere-v0"):
        evaluate(other(settings, tmp_path / "new", env="cog/Nowhere-v0"))


def test_a_folder_that_cannot_be_written_is_told_before_the_episodes_run(
    settings: EvaluateConfig, tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    ran: list[int] = []
    with pytest.raises(CogError, match="cannot be used as a folder"):
        evaluate(other(settings, tmp_path / "letter.txt" / "new"), lambda done, _: ran.append(done))
    assert ran == []


def test_policy_of_another_observation_is_refused_naming_both(
    settings: EvaluateConfig, tmp_path: Path
) -> None:
    stranger = tiny_run(tmp_path / "stranger", proprio=5)
    with pytest.raises(CogError, match=r"proprio \(5,\).*\(8,\)"):
        evaluate(other(settings, tmp_path / "new", checkpoint=stranger))
    two = tiny_run(tmp_path / "two", actions=2)
    with pytest.raises(CogError, match=r"action \(2,\).*\(8,\)"):
        evaluate(other(settings, tmp_path / "new", checkpoint=two))


def test_missing_checkpoint_is_named(settings: EvaluateConfig, tmp_path: Path) -> None:
    with pytest.raises(CogError, match="nowhere"):
        evaluate(other(settings, tmp_path / "new", checkpoint=tmp_path / "nowhere"))


@pytest.mark.parametrize(
    "changes",
    [{"episodes": 0}, {"starts": ()}, {"starts": ("open", "open")}, {"only": (5,)}, {"seed": -1}],
)
def test_senseless_settings_are_refused(settings: EvaluateConfig, changes: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        dataclasses.replace(settings, **changes)  # type: ignore[arg-type]


def test_videos_are_h264_with_the_index_in_front(settings: EvaluateConfig, tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    shown = evaluate(other(settings, tmp_path / "shown", starts=("open",), episodes=1, videos=1))
    video, sheet = (tmp_path / "shown" / name for name in shown.pictures["open"])
    data = video.read_bytes()
    assert b"avc1" in data and data.index(b"moov") < data.index(b"mdat")
    assert sheet.read_bytes().startswith(b"\x89PNG")


def test_without_the_encoder_a_contact_sheet_is_left_and_asking_for_videos_names_the_extra(
    settings: EvaluateConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("cog.evaluation.evaluate", "cog.core.videos"):
        monkeypatch.setattr(f"{module}.can_encode", lambda: False)
    with pytest.raises(CogError, match="extra 'report'"):
        evaluate(other(settings, tmp_path / "asked", videos=2))
    bare = evaluate(other(settings, tmp_path / "bare", starts=("open",), episodes=1, videos=None))
    assert bare.pictures["open"] == ("sheet_open.png",)


def test_contact_sheet_shows_first_and_last_frame(tmp_path: Path) -> None:
    import cv2

    frames = np.zeros((20, 32, 32, 3), np.uint8)
    frames[0], frames[-1] = (255, 0, 0), (0, 0, 255)
    write_sheet(tmp_path / "sheet.png", [("one", frames)])
    picture = cv2.cvtColor(cv2.imread(str(tmp_path / "sheet.png")), cv2.COLOR_BGR2RGB)
    assert tuple(picture[-1, 0]) == (255, 0, 0) and tuple(picture[-1, -1]) == (0, 0, 255)


def test_a_policy_whose_data_do_not_tell_their_scene_asks_for_one(settings: EvaluateConfig) -> None:
    both = {"env": None, "max_episode_steps": None}
    for asked, told in (
        ({"env": None}, "Pass --env$"),
        ({"max_episode_steps": None}, "Pass --max-episode-steps$"),
        (both, "Pass --env and --max-episode-steps$"),
    ):
        with pytest.raises(UsageError, match=told):
            evaluate(dataclasses.replace(settings, **asked))  # type: ignore[arg-type]
