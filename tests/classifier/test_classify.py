"""A success classifier learns from labelled frames, is measured on unseen episodes, and rewards data."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cog import cli
from cog.classifier.config import ClassifierConfig
from cog.classifier.fit import classify
from cog.classifier.frames import HELD_OUT, TRAINING, VALIDATION, LabelledFrames, read_frames, split
from cog.classifier.network import judge, open_classifier, save
from cog.classifier.verdicts import best_threshold, measure
from cog.core.inputs import Input
from cog.datasets.episode import Episode
from cog.datasets.load import load
from cog.datasets.materialise import materialise
from cog.datasets.merge import open_merge
from cog.datasets.relabel.view import labelled, open_view, relabel
from cog.datasets.storage.dataset import Dataset, open_dataset, write_dataset
from cog.datasets.storage.verify import verify
from cog.errors import CogError, UsageError
from cog.evaluation.intervals import wilson
from tests.conftest import make_episode

QUICK = {"updates": 60, "batch_size": 32, "shift": 0, "lr": 3e-3}


def picture_episode(rng: np.random.Generator, steps: int, succeeds: bool, after: int = 0) -> Episode:
    """Dark noise; on success, `after` steps before the end, the upper half of the picture lights up."""
    episode = make_episode(rng, steps + after, rewarded=steps - 1 if succeeds else None)
    images = (episode.images // 4).copy()
    images[episode.signals["object_height"] > 0.1, :4] += 150
    return Episode(**{**vars(episode), "images": images, "success": succeeds})


def pictures(folder: Path, episodes: int = 24, seed: int = 0, **options: int) -> Dataset:
    """A dataset of such episodes of 3 to 5 steps; two in three succeed."""
    rng = np.random.default_rng(seed)
    made = [picture_episode(rng, 3 + n % 3, succeeds=n % 3 > 0, **options) for n in range(episodes)]
    return write_dataset(folder, made, {"kind": "synthetic", "seed": seed}, episodes_per_shard=10)


@pytest.fixture(scope="module")
def judged(tmp_path_factory) -> Path:
    """A folder with the dataset `data`, and the classifier `judge` that learnt from it."""
    folder = tmp_path_factory.mktemp("judged")
    pictures(folder / "data")
    verdicts = classify(
        [folder / "data"], ClassifierConfig(folder / "judge", label="object_height > 0.1", **QUICK)
    )
    assert [(v.precision.value, v.recall.value) for v in verdicts] == [(1, 1)] * 3
    return folder


@pytest.fixture
def copied(judged, tmp_path) -> Path:
    """The same, to be changed."""
    return Path(shutil.copytree(judged, tmp_path / "copied"))


# --- Reward by a classifier ------------------------------------------------------------------------


def test_a_classifier_rewards_episodes_that_it_never_saw_as_their_signals_do(judged, tmp_path):
    dataset = pictures(tmp_path / "new", seed=5)
    view = relabel(dataset.path, f"classifier:{judged / 'judge'}", "seen", scale=10)
    truth = relabel(dataset.path, "grasp_success", "truth", scale=10)
    assert view.reward_hash == truth.reward_hash and view.episodes_rewarded == 16
    held = relabel(dataset.path, f"classifier:{judged / 'judge'} and zero == 0 for 2 steps", "held")
    assert held.rewarded_steps == sum(len(e) > 1 and e.success for e in dataset.episodes())
    assert verify(dataset.path) == []


def test_a_view_names_the_classifier_by_content_and_by_its_place_beside_the_data(copied, monkeypatch):
    monkeypatch.chdir(copied / "judge")
    view = relabel(Path("../data"), "classifier:.", "seen")
    dataset = open_dataset(copied / "data")
    found = open_classifier(copied / "judge")
    assert view.rule == "classifier:../judge"
    assert view.inputs == (Input("classifier", "../judge", found.hash),)
    monkeypatch.chdir("/")
    assert open_view(dataset, "seen") == view
    moved = copied.rename(copied.with_name("moved somewhere"))
    assert len(list(labelled(open_dataset(moved / "data"), view))) == 24
    fields = json.loads((moved / "data/relabels/seen.json").read_text())
    assert fields["inputs"] == [{"kind": "classifier", "path": "../judge", "hash": found.hash}]


def test_folders_with_blanks_are_quoted(copied, monkeypatch):
    (copied / "judge").rename(copied / "my judge (2)")
    monkeypatch.chdir(copied)
    view = relabel(Path("data"), "classifier:'my judge (2)'", "seen")
    assert view.rule == 'classifier:"../my judge (2)"' and view.episodes_rewarded == 16
    assert verify(copied / "data") == []


def test_a_classifier_that_changed_since_is_noticed_even_if_it_rewards_the_same(copied):
    dataset = open_dataset(copied / "data")
    relabel(dataset.path, f"classifier:{copied / 'judge'}", "seen")
    old = open_classifier(copied / "judge")
    save(copied / "judge", old.network, old.threshold + 1e-6, {})
    with pytest.raises(CogError, match=r"seen.json.*'inputs': classifier ../judge is not what it was"):
        load(open_merge(dataset.path))
    assert "inputs" in str(verify(dataset.path)[0])
    (copied / "judge/classifier.json").unlink()
    with pytest.raises(CogError, match=r"classifier.json: no such file; expected a classifier"):
        load(open_merge(dataset.path))


def test_a_view_by_a_classifier_equals_its_materialised_copy_which_needs_it_no_more(copied, tmp_path):
    relabel(copied / "data", f"classifier:{copied / 'judge'}", "seen")
    viewed = load(open_merge(copied / "data"))
    copy = materialise(copied / "data", tmp_path / "copy")
    shutil.rmtree(copied / "judge")
    stored = load(copy)
    for name in ("frames", "proprio", "actions", "rewards", "terminals", "frame_index"):
        assert getattr(viewed, name).tobytes() == getattr(stored, name).tobytes(), name


def test_judging_does_not_depend_on_the_number_of_threads(judged):
    classifier = open_classifier(judged / "judge")
    (episode, *_) = open_dataset(judged / "data").episodes()
    before, found = torch.get_num_threads(), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(judge(classifier.network, episode.pictures(), episode.proprio))
        assert torch.get_num_threads() == threads
    torch.set_num_threads(before)
    np.testing.assert_array_equal(*found)


def test_data_of_another_kind_are_refused_by_name(judged, make_dataset, tmp_path):
    rule = f"classifier:{judged / 'judge'}"
    with pytest.raises(CogError, match=r"episode 0: .*: the classifier needs images of .*have none"):
        relabel(make_dataset(state=True).path, rule, "seen")
    wide = make_episode(np.random.default_rng(0), 4)
    wide = Episode(**{**vars(wide), "images": np.zeros((5, 8, 16, 3), np.uint8)})
    dataset = write_dataset(tmp_path / "wide", [wide], {"kind": "made"})
    with pytest.raises(CogError, match=r"needs images of \(8, 8, 3\); the data have \(8, 16, 3\)"):
        relabel(dataset.path, rule, "seen")
    assert not (dataset.path / "relabels").exists()


# --- A folder that is no classifier -------------------------------------------------------------------


@pytest.mark.parametrize(
    "change, message",
    [
        ({"format": 2}, "field 'format'"),
        ({"kind": "merge"}, "field 'format'"),
        ({"threshold": 0.5}, "field 'hash': the content does not match"),
        ({"hash": None}, "field 'hash'"),
    ],
)
def test_a_changed_field_is_refused(change, message, copied):
    file = copied / "judge/classifier.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CogError, match=rf"classifier.json: {message}"):
        open_classifier(copied / "judge")


def test_every_flipped_byte_of_the_weights_and_every_cut_is_refused(copied):
    file = copied / "judge/classifier.safetensors"
    data = file.read_bytes()
    for place in np.random.default_rng(0).integers(len(data), size=20):
        changed = bytearray(data)
        changed[place] ^= 1 << int(place) % 8
        for content in (bytes(changed), data[:place], b""):
            file.write_bytes(content)
            with pytest.raises(CogError, match=r"classifier\.safetensors: the content does not match"):
                open_classifier(copied / "judge")
    file.unlink()
    with pytest.raises(CogError, match=r"classifier\.safetensors: cannot be read"):
        open_classifier(copied / "judge")


# --- Learning -----------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_classifier(judged, tmp_path):
    config = ClassifierConfig(tmp_path / "again", label="object_height > 0.1", **QUICK)
    torch.manual_seed(99)
    state = torch.random.get_rng_state()
    classify([judged / "data"], config)
    assert torch.equal(torch.random.get_rng_state(), state), "the global generator is left alone"
    name = "classifier.safetensors"
    assert (tmp_path / "again" / name).read_bytes() == (judged / "judge" / name).read_bytes()


def test_the_success_of_episodes_is_label_enough(tmp_path):
    """Success is visible for three more frames; the margin keeps them from being called failures."""
    pictures(tmp_path / "data", after=3)
    options = {**QUICK, "use_proprio": False}
    verdicts = classify([tmp_path / "data"], ClassifierConfig(tmp_path / "judge", margin=3, **options))
    assert [(v.precision.value, v.recall.value) for v in verdicts] == [(1, 1)] * 3
    one = relabel(tmp_path / "data", f"classifier:{tmp_path / 'judge'}", "seen")
    assert one.reward_hash == relabel(tmp_path / "data", "grasp_success", "truth").reward_hash


def test_positives_and_negatives_may_come_from_two_datasets(tmp_path):
    rng = np.random.default_rng(0)
    shown = [picture_episode(rng, 3, succeeds=True) for _ in range(12)]
    shown = [Episode(**{**vars(episode), "success": False}) for episode in shown]  # nobody noted it
    write_dataset(tmp_path / "shown", shown, {"kind": "made"})
    others = [picture_episode(rng, 4, succeeds=False) for _ in range(12)]
    others = [Episode(**{**vars(episode), "success": True}) for episode in others]  # at another task
    write_dataset(tmp_path / "others", others, {"kind": "made"})
    config = ClassifierConfig(tmp_path / "judge", negatives=(tmp_path / "others",), **QUICK)
    assert [v.recall.value for v in classify([tmp_path / "shown"], config)] == [1, 1, 1]
    rule = f"classifier:{tmp_path / 'judge'}"
    assert relabel(tmp_path / "shown", rule, "seen").episodes_rewarded == 12
    assert relabel(tmp_path / "others", rule, "seen").episodes_rewarded == 0
    names = [
        entry["path"] for entry in json.loads((tmp_path / "judge/classifier.json").read_text())["inputs"]
    ]
    assert names == ["../shown", "../others"]


def test_frames_are_those_after_each_step_and_labels_those_of_the_rule(judged):
    frames = read_frames([judged / "data"], ClassifierConfig(judged / "x", label="grasp_success"))
    episodes = list(open_dataset(judged / "data").episodes())
    np.testing.assert_array_equal(frames.images["image"], np.concatenate([e.images[1:] for e in episodes]))
    np.testing.assert_array_equal(frames.proprio, np.concatenate([e.proprio[1:] for e in episodes]))
    heights = np.concatenate([e.signals["object_height"][1:] for e in episodes])
    np.testing.assert_array_equal(frames.success, heights > 0.1)
    assert frames.successful.tolist() == [e.success for e in episodes] and frames.known.all()


@pytest.mark.parametrize("successes, failures", [(3, 0), (40, 7), (100, 300)])
def test_no_episode_is_in_two_parts_and_successes_are_in_each(successes, failures):
    successful = np.arange(successes + failures) < successes
    config = ClassifierConfig(Path("x"), validation=0.2, held_out=0.3)
    parts = split(successful, config)
    np.testing.assert_array_equal(parts, split(successful, config))
    for part, share in ((TRAINING, 0.5), (VALIDATION, 0.2), (HELD_OUT, 0.3)):
        assert (successful & (parts == part)).sum() >= 1
        assert abs((parts == part).sum() - share * len(parts)) <= 2
    if failures:
        other = split(successful, ClassifierConfig(Path("x"), validation=0.2, held_out=0.3, seed=1))
        assert (other != parts).any()


# --- Thresholds and verdicts ----------------------------------------------------------------------------


def made_frames(success: list[list[int]]) -> LabelledFrames:
    """Frames of these labels, one list an episode."""
    labels = np.concatenate(success).astype(bool)
    numbers = np.repeat(np.arange(len(success)), [len(entry) for entry in success])
    images = np.zeros((len(labels), 8, 8, 3), np.uint8)
    return LabelledFrames({"image": images}, None, labels, np.ones(len(labels), bool), numbers, ())


def test_verdicts_count_frames_episodes_and_first_frames():
    frames = made_frames([[0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 0], [0, 0, 0, 1], [0, 1]])
    found = np.concatenate([[0, 1, 1, 0], [1, 0, 0, 1], [0, 1, 0], [0, 0, 0, 0], [1, 1]]).astype(float)
    among = np.array([True, True, True, True, False])  # the last belongs to another part
    by_frame, by_episode, in_time = measure(found, frames, among, 0.5, tolerance=1)
    assert (by_frame.precision, by_frame.recall) == (wilson(2, 5), wilson(2, 4))
    assert (by_episode.precision, by_episode.recall) == (wilson(2, 3), wilson(2, 3))
    assert (in_time.precision, in_time.recall) == (wilson(1, 3), wilson(1, 3))
    exact = measure(found, frames, among, 0.5, tolerance=0)[2]
    assert exact.recall.successes == 0
    nothing = measure(found, frames, among, 2.0, tolerance=0)
    assert all(verdict.precision is None and verdict.recall.successes == 0 for verdict in nothing)


@pytest.mark.parametrize("seed", range(8))
def test_no_other_threshold_finds_more_at_the_stated_precision(seed):
    rng = np.random.default_rng(seed)
    labels = [[*[0] * int(rng.integers(1, 5)), int(rng.integers(2))] for _ in range(30)]
    frames = made_frames(labels)
    scores = rng.normal(size=len(frames.success)) + 2.5 * frames.success
    among = np.arange(30) < 25

    def right(threshold: float) -> tuple[int, float]:
        verdict = measure(scores, frames, among, threshold, 1)[2]
        return verdict.recall.successes, verdict.precision.value if verdict.precision else 0.0

    threshold = best_threshold(scores, frames, among, 0.8, 1)
    assert right(threshold)[1] >= 0.8
    every = [right(value) for value in np.concatenate([scores - 1e-9, [scores.min() - 1]])]
    assert right(threshold)[0] == max(count for count, precision in every if precision >= 0.8)


def test_a_precision_out_of_reach_is_refused_and_nothing_is_written(tmp_path):
    rng = np.random.default_rng(0)
    made = [make_episode(rng, 4, rewarded=3 if n % 2 else None) for n in range(40)]  # noise shows nothing
    write_dataset(tmp_path / "data", made, {"kind": "made"})
    config = ClassifierConfig(tmp_path / "judge", precision=1.0, **QUICK | {"updates": 1})
    with pytest.raises(CogError, match=r"precision of 1 on the 12 validation .* reaches 0\.\d+\. Nothing"):
        classify([tmp_path / "data"], ClassifierConfig(**{**vars(config), "validation": 0.3}))
    assert not (tmp_path / "judge").exists()


# --- The command ------------------------------------------------------------------------------------------


def test_the_command_prints_precision_and_recall_with_intervals(judged, tmp_path, capsys):
    arguments = [str(judged / "data"), "--out", str(tmp_path / "judge"), "--label", "grasp_success"]
    options = ["--updates", "60", "--batch-size", "32", "--shift", "0", "--lr", "3e-3"]
    assert cli.run(["classify", *arguments, *options]) == 0
    printed = capsys.readouterr().out
    assert "precision" in printed and "recall" in printed and "±1 step " in printed
    assert f"2/2  {wilson(2, 2)}" in printed and f"--rule classifier:{tmp_path / 'judge'}" in printed
    before = (tmp_path / "judge/classifier.json").read_bytes()
    assert cli.run(["classify", *arguments, *options]) == 1
    assert "not empty" in capsys.readouterr().err
    assert (tmp_path / "judge/classifier.json").read_bytes() == before


@pytest.mark.parametrize(
    "options, message",
    [
        ({"precision": 0.0}, "precision is 0.0"),
        ({"held_out": 0.5, "validation": 0.5}, "add up below 1"),
        ({"updates": 0}, "updates is 0"),
        ({"lr": 0.0}, "lr is 0.0"),
        ({"label": "zero", "margin": 2}, "Leave out negatives and margin"),
    ],
)
def test_contradicting_settings_are_wrong_usage(options, message):
    with pytest.raises(UsageError, match=message):
        ClassifierConfig(Path("x"), **options)


def test_data_without_pictures_successes_or_failures_are_refused(judged, make_dataset, tmp_path):
    out = tmp_path / "judge"
    with pytest.raises(UsageError, match="at least one dataset"):
        classify([], ClassifierConfig(out))
    with pytest.raises(CogError, match="contains no images to judge"):
        classify([make_dataset(state=True).path], ClassifierConfig(out))
    with pytest.raises(CogError, match="0 of 24 episodes hold a success"):
        classify([judged / "data"], ClassifierConfig(out, label="object_height > 5"))
    with pytest.raises(CogError, match="frames of success and 0 others"):
        classify([judged / "data"], ClassifierConfig(out, label="object_height > -5"))
    with pytest.raises(UsageError, match="'altitude' is unknown"):
        classify([judged / "data"], ClassifierConfig(out, label="altitude > 5"))
    assert not out.exists()
