"""A missing or damaged checkpoint names another that serves, if there is one, and a run continues from it."""

import shutil
from pathlib import Path

import pytest

from cog.errors import CogError
from cog.evaluation.policy import Policy
from cog.training import checkpoint
from cog.training.train import train
from tests.helpers.learner_data import config, noise
from tests.training.test_train import assert_same_run

NONE = "There is no other sound checkpoint in .*checkpoints: restore .* or train again into another folder"


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:1000])


def run_of(root: Path, every: int, updates: int = 5) -> Path:
    train(config(root, updates=updates, checkpoint_every=every, log_every=1), noise())
    return root / "checkpoints"


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_without_another_the_only_way_is_to_train_again(file: str, tmp_path: Path):
    checkpoints = run_of(tmp_path / "run", every=1000)
    cut(checkpoints / "step_0000005" / file)
    for _ in range(2):
        with pytest.raises(CogError, match=NONE):
            train(config(tmp_path / "run", updates=6), noise(), resume=True)
        with pytest.raises(CogError, match=NONE):
            Policy.load(tmp_path / "run")
        shutil.rmtree(checkpoints / "step_0000005", ignore_errors=True)


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json"])
def test_what_the_advice_says_continues_the_run_from_the_one_before(file: str, tmp_path: Path):
    checkpoints = run_of(tmp_path / "run", every=4)
    older, newest = checkpoints / "step_0000004", checkpoints / "step_0000005"
    cut(newest / file)
    advice = f"Use {older} instead; to continue the run from there, delete {newest} and run the same command"
    for ask in (lambda: Policy.load(tmp_path / "run"), lambda: Policy.load(newest)):
        with pytest.raises(CogError) as refused:
            ask()
        assert advice in str(refused.value)
    assert Policy.load(older).update == 4

    shutil.rmtree(newest)
    with pytest.raises(CogError, match=f"no such file.* Use {older} instead; .* there, run the same command"):
        Policy.load(tmp_path / "run")
    said: list[str] = []
    settings = config(tmp_path / "run", updates=7, checkpoint_every=4, log_every=1)
    train(settings, noise(), resume=True, on_message=said.append)
    assert any(f"{newest} is missing" in line and older.name in line for line in said)
    run_of(tmp_path / "straight", every=4, updates=7)
    assert_same_run(tmp_path / "run", tmp_path / "straight")


def test_another_that_is_damaged_as_well_is_not_named(tmp_path: Path):
    checkpoints = run_of(tmp_path / "run", every=4)
    for folder in checkpoints.glob("step_*"):
        cut(folder / "optimizer.safetensors")
    with pytest.raises(CogError, match=NONE):
        checkpoint.load(tmp_path / "run")
