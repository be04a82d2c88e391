"""What faults are injected into: real commands that collect, demonstrate, reward, join, copy and train."""

import contextlib
import sys
from pathlib import Path

import h5py
import numpy as np

from cog import cli
from cog.datasets.merge import open_merge
from cog.datasets.storage.dataset import open_dataset, write_dataset
from cog.datasets.storage.verify import verify
from cog.datasets.teleop.teleop import teleoperate
from cog.errors import CogError
from cog.training import checkpoint
from cog.training.train import Interrupted, train
from tests.conftest import make_episode
from tests.datasets.test_teleop import LINE, TO_THE_END, Script
from tests.faults.harness import Scenario, Step

SHARDS = 12
UPDATES = (3, 6, 8)  # of the checkpoints of a short training


def command(*arguments: object) -> Step:
    """A `cog` command."""
    texts = [str(argument) for argument in arguments]
    return lambda: cli.run(texts)


def nothing(work: Path) -> None:
    """Begin in an empty folder."""


def datasets(work: Path) -> int:
    """Number of datasets that open and are sound to the bit, views included; merges must open as well."""
    folders = [path.parent for path in work.rglob("manifest.json")]
    for path in folders:
        if problems := verify(path):
            raise CogError(str(problems[0]))
    for path in (*work.glob("[!.]*.json"), *work.rglob("merge.json")):
        open_merge(path)
    return len(folders)


def collection(work: Path) -> list[Step]:
    toy = [
        "--env",
        "tests.helpers.toy_scene:toy/Line-v0",
        "--behaviour",
        "reach",
        "--start",
        "left",
        "middle",
    ]
    size = ["--image-size", 8, "--max-steps", 6, "--episodes", 2 * SHARDS, "--episodes-per-shard", 2]
    return [command("collect", "--out", work / "data", "--workers", 1, *toy, *size)]


def demonstrations(work: Path) -> list[Step]:
    """Episodes by keyboard: the manifest is written anew with each."""

    def demonstrate() -> int:
        keys = [entry for _ in range(4) for entry in (*TO_THE_END, {"enter"}, set())]
        spec = LINE.__class__(**{**vars(LINE), "episodes": 4})
        script = contextlib.nullcontext(Script(keys))
        try:
            teleoperate(spec, work / "mine", lambda: script, speed=1.0)
        except CogError as error:
            print(error, file=sys.stderr)
            return error.exit_code
        return 0

    return [demonstrate]


def demonstrated(work: Path) -> int:
    """Number of demonstrations that can be read."""
    if not (work / "mine" / "manifest.json").exists():
        return 0
    return len(list(open_dataset(work / "mine").episodes()))


def two_datasets(work: Path) -> None:
    """Task data and prior data of two shards each."""
    for seed, name in enumerate(("task", "old")):
        rng = np.random.default_rng(seed)
        made = [
            make_episode(rng, 3 + n, rewarded=1 if name == "task" else None, state=True) for n in range(4)
        ]
        write_dataset(work / name, made, {"kind": "synthetic", "seed": seed}, episodes_per_shard=2)


def joining(work: Path) -> list[Step]:
    task, old = work / "task", work / "old"
    return [
        command("relabel", task, "--rule", "grasp_success", "--name", "reward"),
        command("relabel", old, "--rule", "zero", "--name", "none"),
        command("merge", "--out", work / "both.json", "--task", f"{task}@reward", "--prior", f"{old}@none"),
        command(
            "merge",
            "--out",
            work / "both.json",
            "--task",
            f"{task}@reward",
            "--prior",
            f"{old}@none",
            "--materialise",
            work / "copy",
        ),
    ]


def training_options(work: Path) -> list[object]:
    size = ["--updates", UPDATES[-1], "--checkpoint-every", UPDATES[0], "--log-every", 1, "--batch-size", 8]
    network = ["--network.bottleneck", 8, "--network.critic-widths", 16, "--network.actor-widths", 16]
    return ["train", "--data", work / "both.json", "--out", work / "run", "--threads", 1, *size, *network]


def half_trained(work: Path) -> None:
    """Data, and a run that was interrupted after its first checkpoint."""
    two_datasets(work)
    for step in joining(work)[:3]:
        step()
    config = cli.parse([str(option) for option in training_options(work)]).config

    def stop(update: int, folder: Path) -> None:
        raise Interrupted(folder)

    with contextlib.suppress(Interrupted):
        train(config, on_checkpoint=stop)


def training(work: Path) -> list[Step]:
    return [command(*training_options(work), "--resume")]


def checkpoints(work: Path) -> int:
    """Number of the latest checkpoint, which must load; the one that it names, and all data, are sound."""
    datasets(work)
    latest = checkpoint.load(work / "run")
    latest.tensors("model"), latest.tensors("optimizer")
    return 1 + UPDATES.index(latest.update)


def rewarded(work: Path) -> None:
    """Task data with a view."""
    two_datasets(work)
    joining(work)[0]()


def packing(work: Path) -> list[Step]:
    return [command("pack", work / "task", "--out", work / "task.zip")]


def packed(work: Path) -> int:
    """Whether there is a pack, which must be sound."""
    if not (work / "task.zip").exists():
        return 0
    if problems := verify(work / "task.zip"):
        raise CogError(str(problems[0]))
    return 1


def exporting(work: Path) -> list[Step]:
    return [command("export", "robomimic", work / "task", "--out", work / "task.h5")]


def exported(work: Path) -> int:
    """Number of whole exports, in which every episode must be."""
    if not (work / "task.h5").exists():
        return 0
    with h5py.File(work / "task.h5") as file:
        return int(len(file["data"]) == 4)


SCENARIOS = (
    Scenario("collect", nothing, collection, datasets),
    Scenario("demonstrate", nothing, demonstrations, demonstrated),
    Scenario("relabel, merge and materialise", two_datasets, joining, datasets),
    Scenario("checkpoint", half_trained, training, checkpoints),
    Scenario("pack", rewarded, packing, packed),
    Scenario("export", rewarded, exporting, exported),
)
