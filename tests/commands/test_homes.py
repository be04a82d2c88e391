"""`~` is the home everywhere: in each function and each setting of the Python API that takes a path."""

import dataclasses
import inspect
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cog
from cog.datasets.edit.split import split_dataset
from cog.datasets.edit.subset import write_subset
from cog.datasets.exporters.robomimic import RobomimicExport
from cog.datasets.exporters.run import export
from cog.datasets.importers.robomimic import RobomimicOptions
from cog.datasets.importers.run import run_import
from cog.datasets.materialise import materialise
from cog.datasets.storage.packed import pack_dataset, unpack_dataset
from tests.helpers.learner_data import config

WITHIN = {"DatasetWriter": 1, "Policy": 3}
"""How many methods of a class take a path; a private one of `Policy` is called by `load`."""
FUNCTIONS = {"merge", "open_dataset", "open_evaluation", "open_merge", "relabel", "verify", "collect"}
BY_SETTINGS = {"train", "evaluate", "finetune", "classify", "preset"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "home"


def takes_a_path(function: Callable[..., Any]) -> bool:
    return any("Path" in str(one.annotation) for one in inspect.signature(function).parameters.values())


def test_no_function_of_the_api_that_takes_a_path_is_left_out_here():
    functions = {name for name in cog.__all__ if inspect.isfunction(getattr(cog, name))}
    found = {name for name in functions if takes_a_path(getattr(cog, name))}
    assert found - BY_SETTINGS == FUNCTIONS
    kinds = {name: getattr(cog, name) for name in cog.__all__ if inspect.isclass(getattr(cog, name))}
    methods = {
        name: sum(
            takes_a_path(one)
            for _, one in inspect.getmembers(kind, inspect.isroutine)
            if inspect.isfunction(one) or inspect.ismethod(one)
        )
        for name, kind in kinds.items()
        if not dataclasses.is_dataclass(kind)
    }
    assert {name: count for name, count in methods.items() if count} == WITHIN


def test_settings_write_it_out_in_every_path(home: Path):
    for name in ("TrainConfig", "EvaluateConfig", "FinetuneConfig", "ClassifierConfig"):
        kind = getattr(cog, name)
        hints = typing.get_type_hints(kind)
        paths = {one: "~/x" for one, hint in hints.items() if hint is Path}
        made = kind(**paths)
        assert [getattr(made, one) for one in paths] == [home / "x"] * len(paths), name
    assert cog.preset("cpu", Path("~/m"), Path("~/r")).out == home / "r"
    assert cog.ClassifierConfig(out=Path("o"), negatives=(Path("~/n"),)).negatives == (home / "n",)


def test_a_chain_of_functions_keeps_to_it(home: Path):
    pictures = np.zeros((5, 8, 8, 3), np.uint8)
    with cog.DatasetWriter("~/data", image_size=8) as writer:
        for _ in range(2):
            writer.add_episode(np.zeros((4, 3)), images=pictures, proprio=np.zeros((5, 2)), success=True)
    assert writer.dataset is not None and writer.dataset.path == home / "data"
    data = cog.open_dataset("~/data")
    cog.relabel("~/data", "recorded_success", "s")
    cog.relabel("~/data", "recorded_success", "t", out="~/views")
    assert cog.merge(Path("~/m.json"), "~/data@s").path == home / "m.json"
    assert cog.verify("~/m.json") == cog.verify("~/data") == []
    merge = cog.open_merge("~/m.json")

    materialise(Path("~/m.json"), Path("~/copies"))
    pack_dataset(Path("~/data"), Path("~/packed.cog"))
    unpack_dataset(Path("~/packed.cog"), Path("~/unpacked"))
    write_subset(data, [0], Path("~/one"), {"kind": "subset"})
    split_dataset(Path("~/data"), [Path("~/first"), Path("~/second")], [0.5, 0.5], 0)
    export(RobomimicExport(), merge, Path("~/out.hdf5"))
    run_import(Path("~/out.hdf5"), Path("~/back"), RobomimicOptions(image="image", proprio=("proprio",)))
    spec = cog.CollectionSpec(episodes=1, max_episode_steps=1, image_size=16)
    cog.collect(spec, "~/collected", workers=1)

    settings = dataclasses.replace(config(updates=1, batch_size=4), data="~/m.json", out="~/run")
    cog.train(settings)
    policy = cog.Policy.load("~/run")
    policy.export("~/policy")
    assert cog.Policy.load("~/policy").update == 1
    with pytest.raises(cog.CogError, match=f"^{home}/none/evaluation.json"):
        cog.open_evaluation("~/none")

    assert list(Path().iterdir()) == []  # nothing lies in a folder that is called ~
    assert {path.name for path in home.iterdir() if not path.name.startswith(".")} == {
        *("data", "views", "m.json", "copies", "packed.cog", "unpacked", "one", "first", "second"),
        *("out.hdf5", "back", "collected", "run", "policy"),
    }
