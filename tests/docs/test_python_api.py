"""`import cog` gives what its page lists, and loads nothing heavy before it is used."""

import subprocess
import sys

import pytest

import cog
from tests.docs.python_api import PAGE, entry, filled

RENAMED = "cog.policy Policy, cog.datasets.writer DatasetWriter, cog.datasets.action_scale ActionScale"
RENAMED += ", cog.datasets.relabel relabel, cog.datasets.relabel open_view"
SCRIPTS = "summarise summarise_rows summarise_finetune measure_behaviours bench_data bench_environment"


def in_a_fresh_process(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_the_page_lists_every_public_name_as_it_is_called():
    assert PAGE.read_text() == filled(PAGE.read_text()), "run python -m tests.docs.python_api"
    assert list(cog.__all__) == sorted(cog.__all__)


def test_an_entry_shows_signature_sentence_and_errors():
    line = entry("relabel")
    assert line.startswith(
        "- **`relabel(dataset_path, rule, name, *, scale=1.0, terminate=True, only=None, out=None)`**"
    )
    assert line.endswith("Raises `UsageError`, `CogError`.\n")
    assert entry("TrainConfig").startswith("- **`TrainConfig(data, out, ...)`** One training run")
    assert entry("Policy").startswith("- **`Policy.load(path, ")


def test_importing_cog_loads_nothing_heavy():
    heavy = {"torch", "pybullet", "numpy", "h5py", "gymnasium"}
    code = f"import cog, sys; print(*sorted({heavy} & set(sys.modules)))"
    assert in_a_fresh_process(code).split() == []


@pytest.mark.parametrize("name", [name for name in cog.__all__ if name != "__version__"])
def test_a_public_name_is_what_its_own_module_defines(name):
    value = getattr(cog, name)
    assert value is getattr(sys.modules[value.__module__], value.__name__)
    assert name in dir(cog)


def test_a_name_that_does_not_exist_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'cog' has no attribute 'juggle'"):
        _ = cog.juggle


@pytest.mark.parametrize("place", RENAMED.split(", "))
def test_documented_import_names_stay(place):
    module, name = place.split()
    namespace: dict[str, object] = {}
    exec(f"from {module} import {name}", namespace)
    assert namespace[name] is getattr(cog, name)


@pytest.mark.parametrize("script", SCRIPTS.split())
def test_documented_scripts_stay(script):
    command = [sys.executable, "-m", f"cog.experiments.{script}", "--help"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0 and "--out" in run.stdout, run.stderr
