"""A chain is found and recomputed wherever its parts lie: packed, behind a link, in a classifier."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from cog import cli
from cog.classifier.config import ClassifierConfig
from cog.classifier.fit import classify
from cog.classifier.network import FACTS, WEIGHTS
from cog.datasets.edit.split import split_dataset
from cog.datasets.merge import open_merge, write_merge
from cog.datasets.relabel.view import relabel
from cog.datasets.storage.packed import pack_dataset
from cog.datasets.storage.verify import verify
from cog.provenance.lineage import identify, trace
from cog.provenance.recheck import Report, recheck, upstream_first
from cog.training.train import train
from tests.conftest import MakeDataset
from tests.helpers.learner_data import config


@pytest.fixture
def folder(make_dataset: MakeDataset) -> Path:
    """A dataset with one view."""
    path = make_dataset("task").path
    relabel(path, "grasp_success", "success")
    return path


def deep(path: Path) -> Report:
    return recheck(upstream_first(trace(path)))


def things(path: Path) -> list[tuple[str, str]]:
    """Kind and name of everything in a chain, upstream first."""
    return [(thing.kind, thing.path.name) for thing in upstream_first(trace(path))]


def test_the_chain_above_a_merge_of_packed_data_holds(folder: Path, tmp_path: Path) -> None:
    pack_dataset(folder, tmp_path / "task.zip")
    shutil.rmtree(folder)
    merge = write_merge(tmp_path / "all.json", [f"{tmp_path / 'task.zip'}@success"])
    assert things(merge.path) == [
        ("dataset", "task.zip"),
        ("view", "task.zip@success"),
        ("merge", "all.json"),
    ]
    assert deep(merge.path) == Report(3, 0, None)
    assert cli.run(["verify", "--deep", str(tmp_path / "task.zip@success")]) == 0


def test_one_byte_changed_anywhere_in_packed_data_breaks_the_chain(folder: Path, tmp_path: Path) -> None:
    packed = tmp_path / "task.zip"
    pack_dataset(folder, packed)
    whole = packed.read_bytes()
    places = (whole.index(b'"spec_hash"'), whole.index(b'"reward_sum"'), len(whole) // 2, len(whole) - 1)
    for place in places:
        packed.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        problem = deep(tmp_path / "task.zip@success").problem
        assert problem is not None and problem.file.name == "task.zip" and "missing" not in str(problem)


def test_packed_data_name_what_they_were_made_from(folder: Path, tmp_path: Path) -> None:
    split_dataset(folder, [tmp_path / "one", tmp_path / "other"], (0.5, 0.5), 0)
    pack_dataset(tmp_path / "one", tmp_path / "one.zip")
    assert things(tmp_path / "one.zip") == [("dataset", "task"), ("dataset", "one.zip")]
    assert deep(tmp_path / "one.zip") == Report(2, 0, None)


def test_a_run_is_rechecked_through_a_link_to_its_folder(folder: Path, tmp_path: Path) -> None:
    merge = write_merge(tmp_path / "all.json", [f"{folder}@success"])
    train(dataclasses.replace(config(tmp_path / "run", updates=1), data=merge.path))
    link = tmp_path / "deep/er/link"
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "run")
    assert deep(link) == Report(4, 0, None)


def test_a_link_to_a_merge_file_is_the_merge(folder: Path, tmp_path: Path) -> None:
    merge = write_merge(tmp_path / "all.json", [f"{folder}@success"])
    link = tmp_path / "deep/er/link.json"
    link.parent.mkdir(parents=True)
    link.symlink_to(merge.path)
    assert open_merge(link).hash == merge.hash
    assert verify(link) == []
    assert deep(link) == Report(3, 0, None)
    train(dataclasses.replace(config(tmp_path / "run", updates=1), data=link))
    assert deep(tmp_path / "run") == Report(4, 0, None)


@pytest.fixture
def judged(folder: Path, tmp_path: Path) -> Path:
    """A dataset with a view by a classifier, which learnt from another one."""
    asked = {"updates": 2, "batch_size": 4, "held_out": 0.3, "validation": 0.3, "precision": 0.01}
    classify([folder], ClassifierConfig(tmp_path / "judge", label="grasp_success", **asked))
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    relabel(other, f"classifier:{tmp_path / 'judge'}", "seen")
    return other


@pytest.mark.parametrize("packed", [False, True])
def test_a_view_by_a_classifier_leads_to_what_the_classifier_learnt_from(
    packed: bool, judged: Path, tmp_path: Path
) -> None:
    name = "other.zip" if packed else "other"
    if packed:
        pack_dataset(judged, tmp_path / name)
    assert things(tmp_path / f"{name}@seen") == [
        ("dataset", name),
        ("dataset", "task"),
        ("classifier", "judge"),
        ("view", f"{name}@seen"),
    ]
    assert deep(tmp_path / f"{name}@seen") == Report(4, 0, None)


def test_a_classifier_tells_its_settings_and_any_of_its_files_means_it(judged: Path, tmp_path: Path) -> None:
    for place in ("judge", f"judge/{FACTS}", f"judge/{WEIGHTS}"):
        assert identify(tmp_path / place) == ("classifier", tmp_path / "judge")
    assert "label grasp_success" in trace(tmp_path / "judge").configuration
    assert things(tmp_path / "judge") == [("dataset", "task"), ("classifier", "judge")]


def test_a_damaged_missing_or_other_classifier_breaks_the_chain_of_its_views(
    judged: Path, tmp_path: Path
) -> None:
    weights, facts = (tmp_path / "judge" / name for name in (WEIGHTS, FACTS))
    whole = weights.read_bytes(), facts.read_text()
    weights.write_bytes(whole[0][:-1] + bytes([whole[0][-1] ^ 1]))
    assert str(weights) in str(deep(tmp_path / "other@seen").problem)
    weights.write_bytes(whole[0])
    facts.write_text(whole[1].replace("\n  ", "\n   ", 1))
    assert "not as cog wrote it" in str(deep(tmp_path / "other@seen").problem)
    facts.write_text(whole[1])
    shutil.copytree(tmp_path / "judge", tmp_path / "kept")
    shutil.rmtree(tmp_path / "judge")
    assert f"{tmp_path / 'judge'}: field 'classifier': it is missing" in str(
        deep(tmp_path / "other@seen").problem
    )
