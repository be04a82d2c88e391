"""An imported file goes all the way: relabel, merge, train, and the loss falls."""

import json

import numpy as np

from cog import cli
from tests.helpers.foreign import write_robomimic

UPDATES, PART = 200, 60


def reach(number, rewarded):
    """Ten steps of a red square that goes to a green one, or wanders."""
    rng = np.random.default_rng(number)
    place, goal = rng.uniform(-0.8, 0.8, (2, 2))
    frames, poses, actions = [], [], []
    for _ in range(11):
        picture = np.full((32, 32, 3), 40, np.uint8)
        for at, colour in ((place, 0), (goal, 1)):
            across, down = ((at + 1) * 14).astype(int)
            picture[down : down + 4, across : across + 4, colour] = 255
        frames.append(picture)
        poses.append(place)
        actions.append(np.clip(1.5 * (goal - place), -1, 1) if rewarded else rng.uniform(-1, 1, 2))
        place = np.clip(place + 0.3 * actions[-1], -1, 1)
    rewards = np.zeros(10)
    rewards[-1] = rewarded
    pictures, pose = np.stack(frames), np.stack(poses)
    actions = np.stack(actions[:-1])
    return {"actions": actions, "rewards": rewards, "agentview_image": pictures, "robot0_eef_pos": pose}


def test_an_imported_robomimic_file_trains_and_its_loss_falls(tmp_path):
    sources = []
    for role, rewarded in (("task", True), ("prior", False)):
        file = write_robomimic(
            tmp_path / f"{role}.hdf5", [reach(n + 99 * rewarded, rewarded) for n in range(20)]
        )
        keys = ["--image", "agentview_image", "--proprio", "robot0_eef_pos", "--image-size", "16"]
        folder = str(tmp_path / role)
        assert cli.run(["import", "robomimic", str(file), "--out", folder, *keys]) == 0
        relabel = ["relabel", folder, "--rule", "recorded", "--name", "reward", "--scale", "10"]
        assert cli.run(relabel) == 0
        sources += [f"--{role}", f"{folder}@reward"]
    merge, out = str(tmp_path / "both.json"), tmp_path / "run"
    assert cli.run(["merge", "--out", merge, *sources]) == 0
    small = ["--network.bottleneck", "16", "--network.critic-widths", "32", "--network.actor-widths", "32"]
    small += [
        "--cql.sampled-actions",
        "1",
        "--cql.critic-lr",
        "0.001",
        "--batch-size",
        "32",
        "--threads",
        "1",
    ]
    options = ["--updates", str(UPDATES), "--log-every", "1", "--checkpoint-every", str(UPDATES), *small]
    assert cli.run(["train", "--data", merge, "--out", str(out), *options]) == 0
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    losses = [line["td_loss"] for line in lines]
    assert len(losses) == UPDATES
    assert np.mean(losses[-PART:]) < 0.9 * np.mean(losses[:PART])
