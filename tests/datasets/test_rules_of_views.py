"""Views by rules of every kind: their rewards, their copies, their size, and that no code of users runs."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cog.core.sealed import read_sealed, write_sealed
from cog.datasets.load import load
from cog.datasets.materialise import materialise
from cog.datasets.merge import open_merge
from cog.datasets.relabel.rules import parse_rule
from cog.datasets.relabel.view import count_ending_in, labelled, open_view, relabel
from cog.datasets.storage.dataset import write_dataset
from cog.datasets.storage.verify import verify
from cog.datasets.writer import DatasetWriter
from cog.errors import CogError, UsageError
from tests.conftest import make_episode

HELD = "object_height > 0.1 and object_gripper_distance < 0.06"


def test_a_view_by_a_rule_that_spells_a_predicate_out_gives_the_same_rewards(make_dataset):
    dataset = make_dataset()
    one, other = (relabel(dataset.path, rule, name) for rule, name in ((HELD, "a"), ("grasp_success", "b")))
    assert (one.reward_hash, one.rewarded_steps) == (other.reward_hash, other.rewarded_steps)
    assert open_view(dataset, "a") == one and verify(dataset.path) == []


def test_first_success_only_is_rewarded_once_and_ends_nothing(make_dataset):
    dataset = make_dataset(episodes=6)
    view = relabel(dataset.path, f"first({HELD})", "first", terminate=False)
    rewarded = [int(episode.rewards.sum()) for episode in labelled(dataset, view)]
    assert rewarded == [1, 0, 1, 0, 1, 0] and view.steps == dataset.step_count


def test_monte_carlo_returns_agree_with_the_rewards_that_they_sum(make_dataset):
    dataset = make_dataset()
    plain = relabel(dataset.path, "grasp_success", "plain", scale=10, terminate=False)
    summed = relabel(dataset.path, "to_go(grasp_success, 0.9)", "summed", scale=10, terminate=False)
    for one, other in zip(labelled(dataset, plain), labelled(dataset, summed), strict=True):
        expected = [sum(0.9**k * r for k, r in enumerate(one.rewards[t:])) for t in range(len(one))]
        np.testing.assert_allclose(other.rewards, expected, rtol=1e-6)
    with pytest.raises(UsageError, match="Do not terminate"):
        relabel(dataset.path, "to_go(grasp_success, 0.9)", "ended")
    assert not (dataset.path / "relabels/ended.json").exists()


@pytest.mark.parametrize(
    "rule, options",
    [
        (f"({HELD}) for 2 steps", {}),
        ("0.25 * (object_height > 0.1) - 0.5 * object_gripper_distance", {"terminate": False}),
        (f"to_go(first({HELD}), 0.99)", {"terminate": False, "scale": 3.0}),
        ("tests.datasets.test_rules:twice", {"terminate": False, "only": f"not ({HELD})"}),
    ],
)
def test_a_view_by_any_rule_equals_its_materialised_copy_to_the_bit(rule, options, make_dataset, tmp_path):
    dataset = make_dataset()
    view = relabel(dataset.path, rule, "made", **options)
    viewed, copied = load(open_merge(dataset.path)), load(materialise(dataset.path, tmp_path / "copy"))
    for name in ("frames", "proprio", "actions", "rewards", "terminals", "frame_index", "episode"):
        one, other = getattr(viewed, name), getattr(copied, name)
        assert one.dtype == other.dtype and one.tobytes() == other.tobytes(), name
    assert view.steps == len(viewed.rewards) and len(np.unique(viewed.rewards)) > 1


def test_ten_views_cost_kilobytes_however_large_the_dataset(make_dataset):
    rules = [f"object_height > {height / 10} for {height} steps" for height in range(1, 11)]
    sizes = []
    for name, episodes in (("small", 3), ("large", 150)):
        dataset = make_dataset(name, episodes=episodes)
        for number, rule in enumerate(rules):
            relabel(dataset.path, rule, f"view{number}", terminate=False)
        sizes.append([path.stat().st_size for path in (dataset.path / "relabels").iterdir()])
        assert len(sizes[-1]) == 10 and max(sizes[-1]) < 1000
    assert abs(sum(sizes[0]) - sum(sizes[1])) < 10 * 20, "only the digits of counts differ"


def test_selections_and_counts_take_rules_as_well(make_dataset):
    dataset = make_dataset(episodes=7)
    view = relabel(dataset.path, "zero", "failures", only=f"not ({HELD})")
    assert view.episodes == 3 and count_ending_in(dataset, HELD) == 4


def test_verify_runs_no_code_of_users_wherever_a_view_names_it(tmp_path):
    dataset = write_dataset(tmp_path / "data", [make_episode(np.random.default_rng(0), 4)], {"kind": "made"})
    relabel(dataset.path, "zero", "kept")
    file = dataset.path / "relabels/kept.json"
    value = read_sealed(file, "relabel", "a view", "")
    for change in ({"rule": "0.5 * absent:f"}, {"only": "zero > 1 or absent:f > 1", "episodes": 1}):
        write_sealed(file, "relabel", value | change)
        assert verify(dataset.path) == [], "absent cannot be imported, and is not"
    write_sealed(file, "relabel", value | {"rule": "zero + ?"})
    assert "character 8" in str(verify(dataset.path)[0])


def test_storage_reads_rules_without_the_learner():
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from cog.datasets import relabel\n"
        "from cog.datasets.relabel.rules import parse_rule\n"
        "parse_rule('first(grasp_success) or h > 1', ['h'], Path())\n"
        "assert 'torch' not in sys.modules and 'cog.classifier.network' not in sys.modules\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


SHAPES = [
    ("np.zeros((T, 1))", "Flatten it: values.reshape(-1)"),
    ("np.zeros((1, T))", "Flatten it: values.reshape(-1)"),
    ("np.zeros(T + 1)", "Drop the first entry of signals, which have one more: values[1:]"),
    ("np.zeros((T + 1, 1))", "Drop the first entry of signals, which have one more: values.reshape(-1)[1:]"),
    ("1.0", "Give each step its number: np.full(len(episode.actions), value)"),
    ("[1]", "Give each step its number: np.full(len(episode.actions), value)"),
    ("np.zeros(T - 1)", "Return an array with an entry for each of episode.actions"),
    ("np.zeros((T // 2, 2))", "Return an array with an entry for each of episode.actions"),
]


@pytest.mark.parametrize(("returned", "remedy"), SHAPES)
def test_rewards_of_a_wrong_shape_get_the_remedy_that_makes_them_right(
    returned, remedy, make_dataset, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    dataset = make_dataset(episodes=1)
    module = f"shape_rules_{SHAPES.index((returned, remedy))}"
    text = (
        f"import numpy as np\n\n\ndef wrong(episode):\n    T = len(episode.actions)\n    return {returned}\n"
    )
    (tmp_path / f"{module}.py").write_text(text)
    with pytest.raises(CogError, match="must return one number per step") as caught:
        relabel(dataset.path, f"{module}:wrong", "mine")
    assert str(caught.value).endswith(f"(4,). {remedy}")
    if "values" in remedy or "np.full" in remedy:  # what it says does it
        mended = remedy.split(": ")[1].replace("value)", "values)")
        right = text.replace("return ", "values = ") + f"    return {mended}\n"
        (tmp_path / f"{module}_mended.py").write_text(right)
        assert relabel(dataset.path, f"{module}_mended:wrong", "mine").steps > 0


def test_a_function_that_gives_other_rewards_each_time_is_named_as_such_when_the_data_are_loaded(
    make_dataset, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    text = (
        "CALLS = []\n\n\ndef moody(episode):\n    CALLS.append(1)\n    return [len(CALLS)] * len(episode)\n"
    )
    (tmp_path / "moody_rules.py").write_text(text)
    dataset = make_dataset()
    view = relabel(dataset.path, "moody_rules:moody", "mine", terminate=False)
    with pytest.raises(
        CogError, match="Let your function give an episode the same rewards each time"
    ) as caught:
        list(labelled(dataset, view))
    assert "relabel the dataset again under a new name" in str(caught.value)


def test_what_is_known_are_the_names_that_mean_something_in_the_data():
    signals = {
        "place": "zero, place",
        "success": "recorded_success, zero, success",
        "reward": "recorded, zero, reward",
        "drawer_opening": "drawer_opened, zero, drawer_opening",
        "object_height": "zero, object_height",  # a grasp needs the distance as well
    }
    for signal, known in signals.items():
        with pytest.raises(UsageError, match=f"Use one of: {known}, or your own as module:function$"):
            parse_rule("unheard_of", [signal], Path())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "recorded_success",
            "needs the signal 'success', but the data hold: h. Write a rule on these, or",
        ),
        ("grasp_success", "needs the signal 'object_height', but the data hold: h. Write a rule on these$"),
    ],
)
def test_a_predicate_on_signals_that_the_data_lack_says_what_to_do_instead(name, message, tmp_path):
    with DatasetWriter(tmp_path / "d") as writer:
        writer.add_episode(np.zeros((2, 1)), state=np.zeros((3, 1)), signals={"h": np.ones(3)})
    with pytest.raises(CogError, match=message):
        relabel(tmp_path / "d", name, "v")


def in_place(episode):
    state = episode.state
    state -= 1
    return state[1:, 0]


def in_place_signals(episode):
    episode.signals["place"][:] = 0
    return np.ones(len(episode))


def on_a_copy(episode):
    state = np.array(episode.state)
    state -= 1
    return state[1:, 0]


def test_a_reward_function_changes_no_data(tmp_path):
    state = np.arange(8.0).reshape(4, 2)
    with DatasetWriter(tmp_path / "data") as writer:
        writer.add_episode(np.zeros((3, 2)), state=state, signals={"place": np.ones(4)})
    for name in ("in_place", "in_place_signals"):
        rule = f"{__name__}:{name}"
        with pytest.raises(CogError, match=f"{name}.*read-only.*Let it compute on a copy of the data"):
            relabel(tmp_path / "data", rule, name)
    relabel(tmp_path / "data", f"{__name__}:on_a_copy", "copy", terminate=False)
    (source,) = open_merge(f"{tmp_path / 'data'}@copy").sources
    (episode,) = labelled(source.dataset, source.view)
    np.testing.assert_array_equal(episode.state, state)
    np.testing.assert_array_equal(episode.rewards, state[1:, 0] - 1)
