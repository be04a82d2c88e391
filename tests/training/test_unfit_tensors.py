"""Every reader refuses a checkpoint whose tensors are not finite or do not fit, and names one of them."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from cog import cli
from cog.core.files import hash_file
from cog.errors import CogError
from cog.evaluation.policy import Policy
from cog.provenance.verify_run import verify_run
from cog.replay.buffer import Buffer
from cog.training import checkpoint
from cog.training.guard import Diverged, refuse_bad_parameters
from cog.training.setup import create
from cog.training.tensors import MODEL, OPTIMIZER, not_finite
from cog.training.train import train
from tests.conftest import forge
from tests.helpers.learner_data import config, noise

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(config(folder, updates=2), noise())
    return folder


@pytest.fixture
def run(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "run"))


def rewritten(run, name, change):
    """Change the tensors of a file of the latest checkpoint, with all hashes made true again."""
    folder = checkpoint.find(run)
    tensors = load_file(folder / name)
    change(tensors)
    save_file({key: value.clone() for key, value in tensors.items()}, folder / name)
    forge(folder / "state.json", hashes={file: hash_file(folder / file) for file in (MODEL, OPTIMIZER)})
    return folder


def changes(tensors, rng):
    """What may be wrong with a tensor: its name, and how it comes about."""
    floats = sorted(key for key, value in tensors.items() if value.is_floating_point())
    acting = [key for key in floats if key.startswith("average.")]
    name = str(rng.choice(acting if acting and rng.random() < 0.5 else floats))
    value = tensors[name]
    place = int(rng.integers(value.numel()))

    def set_to(number):
        value.reshape(-1)[place] = number

    return name, {
        "nan": lambda: set_to(float("nan")),
        "inf": lambda: set_to(float("inf")),
        "minus inf": lambda: set_to(-float("inf")),
        "longer": lambda: tensors.update({name: torch.cat([value.reshape(-1), value.reshape(-1)[:1]])}),
        "another axis": lambda: tensors.update({name: value[None, None, None]}),
        "unknown": lambda: tensors.update({"critic.unknown.9": tensors.pop(name)}),
    }


@pytest.mark.parametrize("file", [MODEL, OPTIMIZER])
@pytest.mark.parametrize("kind", ["nan", "inf", "minus inf", "longer", "another axis", "unknown"])
def test_every_reader_refuses_a_tensor_that_is_not_finite_or_does_not_fit(file, kind, run):
    whole = checkpoint.find(run)
    shutil.copytree(whole, run.parent / "whole")
    for seed in range(4):
        shutil.rmtree(whole)
        shutil.copytree(run.parent / "whole", whole)
        names = []

        def change(tensors, seed=seed, names=names):
            name, ways = changes(tensors, np.random.default_rng(seed))
            ways[kind]()
            names.append("critic.unknown.9" if kind == "unknown" and file == OPTIMIZER else name)

        folder = rewritten(run, file, change)
        rule = "not finite" if kind in ("nan", "inf", "minus inf") else "settings"
        readers = [lambda: train(config(run, updates=3), noise(), resume=True)]
        if rule == "not finite" or (file == MODEL and names[0].startswith("average.")):
            readers += [lambda: checkpoint.load(run), lambda: Policy.load(run)]
        for reader in readers:
            with pytest.raises(CogError, match=rule) as refused:
                reader()
            assert str(folder / file) in str(refused.value)
            assert kind == "unknown" or names[0] in str(refused.value)
        assert any(rule in problem and str(folder / file) in problem for problem in verify_run(run))


def test_a_missing_tensor_is_named_by_verify_and_by_a_command(run, capsys):
    for file in (MODEL, OPTIMIZER):
        gone = []
        rewritten(run, file, lambda tensors, gone=gone: gone.append(tensors.pop(sorted(tensors)[0], None)))
    assert cli.run(["verify", str(run)]) == 1
    assert "holds nothing" in " ".join(capsys.readouterr().err.split())


def test_numbers_that_are_whole_or_finite_pass():
    assert not_finite({"a": torch.zeros(2), "b": torch.full((), 2**62), "c": torch.empty(0)}) is None
    assert not_finite({"a": torch.zeros(2), "b": torch.tensor([0.0, float("nan")])}) == "b"
    assert not_finite({"a": torch.tensor(1e38).repeat(100)}) is None  # a sum of them is not finite


def test_no_state_is_saved_that_could_not_be_loaded(tmp_path):
    settings = config(tmp_path / "run", updates=2)
    train(settings, noise())
    returns = settings.algorithm.returns()
    buffer = Buffer(noise(), torch.device("cpu"), settings.batch_size, settings.sampling, *returns)
    agent = create(settings, buffer)
    fingerprint = checkpoint.load(settings.out).fingerprint
    checkpoint.restore(checkpoint.load(settings.out), agent, buffer.drawn, fingerprint)
    refuse_bad_parameters(agent, settings.out)
    optimizer = next(iter(agent.optimizers.values()))
    state = next(iter(optimizer.state.values()))
    state["exp_avg_sq"].fill_(float("inf"))
    with pytest.raises(Diverged, match="exp_avg_sq"):
        refuse_bad_parameters(agent, settings.out)


def test_after_a_full_disk_the_advice_works_when_it_is_followed(tmp_path, monkeypatch):
    whole = checkpoint.load(train(config(tmp_path / "whole", updates=2), noise()))
    real = Path.write_bytes

    def full(path, data):
        if MODEL in path.name:
            raise FULL
        return real(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(
            CogError, match=r"No space left.*run the same command again, cog train with --resume"
        ):
            train(config(tmp_path / "run", updates=2), noise())
    done = checkpoint.load(train(config(tmp_path / "run", updates=2), noise(), resume=True))
    assert dict(done.hashes) == dict(whole.hashes)
