"""`cog verify` on runs and checkpoints: sound ones pass, every damaged file is named."""

import shutil

import pytest

from cog import cli
from cog.errors import CogError
from cog.provenance.verify_run import is_run, verify_run
from cog.training import checkpoint
from cog.training.train import train
from tests.conftest import forge
from tests.helpers.learner_data import config, noise


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with checkpoints at updates 3 and 4."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    train(config(folder, updates=4), noise())
    return folder


@pytest.fixture
def run(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return tmp_path / "run"


def test_a_sound_run_its_checkpoints_and_each_of_them_have_no_problems(run, frozen, capsys):
    before = frozen(run)
    for path in (run, run / "checkpoints", run / "checkpoints" / "step_0000003"):
        assert is_run(path) and verify_run(path) == []
        assert cli.run(["verify", str(path)]) == 0
        assert "sound" in capsys.readouterr().out
    assert frozen(run) == before


@pytest.mark.parametrize(
    "name",
    [
        "config.json",
        "checkpoints/latest.json",
        *(
            f"checkpoints/step_{update}/{file}"
            for update in ("0000003", "0000004")
            for file in ("state.json", "model.safetensors", "optimizer.safetensors")
        ),
    ],
)
def test_a_flipped_bit_or_a_cut_in_any_file_of_a_run_is_named(name, run, capsys):
    file = run / name
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 2
    for damaged in (bytes(flipped), whole[:-1], b""):
        file.write_bytes(damaged)
        assert cli.run(["verify", str(run)]) == 1
        assert str(file) in capsys.readouterr().err
    file.write_bytes(whole)
    assert verify_run(run) == []


def test_every_damaged_checkpoint_is_named_and_a_missing_file_too(run):
    folders = sorted((run / "checkpoints").glob("step_*"))
    (folders[0] / "model.safetensors").unlink()
    (folders[1] / "optimizer.safetensors").write_bytes(b"")
    problems = verify_run(run / "checkpoints")
    assert any(f"{folders[0] / 'model.safetensors'}: missing" in problem for problem in problems)
    assert any(f"{folders[1] / 'optimizer.safetensors'}: content" in problem for problem in problems)


def test_a_problem_that_several_checks_meet_is_told_once(run):
    for file in ("state.json", "model.safetensors"):
        (run / "checkpoints/step_0000004" / file).write_bytes(b"")
    problems = verify_run(run)
    assert problems and len(problems) == len(set(problems))


def test_a_configuration_of_another_run_and_cut_metrics_are_named(run):
    forge(run / "config.json", seed=7)
    assert "field 'seed': differs from" in verify_run(run)[0]
    forge(run / "config.json", seed=0)
    metrics = run / "metrics.jsonl"
    whole = metrics.read_bytes()
    metrics.write_bytes(whole[:-20])
    assert "written after" in verify_run(run)[0]
    metrics.write_bytes(whole.replace(b'"update": 2', b'"update"; 2'))
    assert f"{metrics}: line 2 is invalid JSON" in verify_run(run)[0]


def test_a_missing_pointer_leads_to_the_newest_checkpoint_and_a_damaged_one_says_how_to_mend_it(run):
    pointer = run / "checkpoints" / "latest.json"
    pointer.write_text("{}")
    with pytest.raises(CogError, match=r"latest\.json: .*Delete it"):
        checkpoint.load(run)
    pointer.unlink()
    assert checkpoint.load(run).update == 4
    shutil.rmtree(run / "checkpoints" / "step_0000004")
    train(config(run, updates=4), noise(), resume=True)
    assert checkpoint.load(run).update == 4 and verify_run(run) == []


def test_a_run_goes_on_without_its_damaged_configuration_as_the_message_says(run):
    file = run / "config.json"
    file.write_text("{")
    with pytest.raises(CogError, match=r"config\.json: .*Delete it, then continue with --resume"):
        train(config(run, updates=4), noise(), resume=True)
    file.unlink()
    train(config(run, updates=4), noise(), resume=True)
    assert file.exists() and verify_run(run) == []


def test_a_folder_of_data_is_no_run(make_dataset):
    assert not is_run(make_dataset().path)
