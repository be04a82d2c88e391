"""Several seeds trained at once."""

import itertools
import os
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cog.errors import CogError, UsageError
from cog.provenance.verify_run import verify_run
from cog.training import checkpoint
from cog.training.seeds import train_seeds
from cog.training.train import Interrupted, train
from tests.helpers.learner_data import config, noise
from tests.training.test_execution import needs_cuda

SEEDS = (0, 1, 5)


def assert_as_alone(together: Path, alone: Path) -> None:
    """Every run of `together` holds, byte for byte, what the run of its seed in `alone` holds."""
    for seed in SEEDS:
        one, two = together / f"seed{seed}", alone / f"seed{seed}"
        assert (one / "metrics.jsonl").read_bytes() == (two / "metrics.jsonl").read_bytes()
        for name in checkpoint.TENSOR_FILES:
            assert (checkpoint.find(one) / name).read_bytes() == (checkpoint.find(two) / name).read_bytes()


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """Each seed trained by itself."""
    for seed in SEEDS:
        train(config(tmp_path / "alone" / f"seed{seed}", seed=seed, shift=2), noise())
    return tmp_path / "alone"


def test_each_of_several_seeds_learns_what_it_learns_alone(tmp_path: Path, alone: Path) -> None:
    ended = train_seeds(config(tmp_path / "together", shift=2), SEEDS, noise())
    assert ended == {seed: checkpoint.find(tmp_path / "together" / f"seed{seed}") for seed in SEEDS}
    assert_as_alone(tmp_path / "together", alone)


def test_signal_saves_every_seed_and_all_resume_bitwise(tmp_path: Path, alone: Path) -> None:
    def interrupt(seed: int, update: int, total: int, metrics: Mapping[str, float]) -> None:
        if (seed, update) == (1, 4):
            os.kill(os.getpid(), signal.SIGTERM)

    settings = config(tmp_path / "together", shift=2)
    with pytest.raises(Interrupted, match="Continue with --resume"):
        train_seeds(settings, SEEDS, noise(), on_progress=interrupt)
    saved = [checkpoint.load(tmp_path / "together" / f"seed{seed}").update for seed in SEEDS]
    assert saved == [5, 4, 4]  # the first had its fifth turn before it learnt of the signal
    train_seeds(settings, SEEDS, noise(), resume=True)
    assert_as_alone(tmp_path / "together", alone)


def test_a_seed_that_fails_ends_alone_and_is_named(tmp_path: Path) -> None:
    def fail(seed: int, update: int, total: int, metrics: Mapping[str, float]) -> None:
        if (seed, update) == (1, 5):
            raise CogError("Q ran away")

    said: list[str] = []
    with pytest.raises(CogError, match=r"^seed 1: Q ran away$"):
        train_seeds(config(tmp_path / "run"), SEEDS, noise(), on_progress=fail, on_message=said.append)
    assert said[-1] == "seed 1: Q ran away"
    assert [checkpoint.load(tmp_path / "run" / f"seed{seed}").update for seed in SEEDS] == [8, 3, 8]
    assert [verify_run(tmp_path / "run" / f"seed{seed}") for seed in SEEDS] == [[], [], []]


def test_a_folder_with_another_run_is_refused_before_any_seed_begins(tmp_path: Path) -> None:
    (tmp_path / "run" / "seed5").mkdir(parents=True)
    (tmp_path / "run" / "seed5" / "thesis.txt").write_text("mine")
    with pytest.raises(CogError, match="seed5: is not empty"):
        train_seeds(config(tmp_path / "run"), SEEDS, noise())
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.parametrize("seeds", [(), (1, 1)])
def test_no_seeds_or_one_twice_are_wrong_usage(tmp_path: Path, seeds: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="each only once"):
        train_seeds(config(tmp_path / "run"), seeds, noise())


def test_settings_that_cannot_be_run_are_wrong_usage_and_a_run_is_no_place_for_several(
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match="graphed needs CUDA"):
        train_seeds(config(tmp_path / "graphed", graphed=True), SEEDS, noise())
    train(config(tmp_path / "run"), noise())
    with pytest.raises(CogError, match="holds a run itself"):
        train_seeds(config(tmp_path / "run"), SEEDS, noise())


@needs_cuda
@pytest.mark.parametrize("graphed", [False, True])
def test_seeds_on_streams_of_their_own_do_not_disturb_each_other(
    tmp_path: Path, graphed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    # Wide layers, whose products need working memory, and one seed that ends before the others.
    changes = {"device": "cuda", "graphed": graphed, "critic_widths": (1024, 1024), "batch_size": 64}
    train(config(tmp_path / "together" / "seed1", seed=1, updates=30, **changes), noise())
    train_seeds(config(tmp_path / "together", updates=40, **changes), SEEDS, noise(), resume=True)
    changes["updates"] = 40
    for seed in SEEDS:
        train(config(tmp_path / "alone" / f"seed{seed}", seed=seed, **changes), noise())
    for seed, name in itertools.product(SEEDS, checkpoint.TENSOR_FILES):
        one = load_file(checkpoint.find(tmp_path / "together" / f"seed{seed}") / name)
        two = load_file(checkpoint.find(tmp_path / "alone" / f"seed{seed}") / name)
        assert one.keys() == two.keys()
        for key in one:
            torch.testing.assert_close(one[key], two[key], rtol=1e-4, atol=1e-5)
