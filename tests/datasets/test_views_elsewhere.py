"""Views of a dataset that cannot be written lie elsewhere, and serve everywhere as its own would."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from cog import cli
from cog.datasets.load import load
from cog.datasets.materialise import materialise
from cog.datasets.merge import open_merge, write_merge
from cog.datasets.relabel.view import open_view, relabel, view_names
from cog.datasets.storage.dataset import open_dataset
from cog.datasets.storage.elsewhere import REFERENCE
from cog.datasets.storage.packed import pack_dataset
from cog.datasets.storage.repair import repair
from cog.datasets.storage.verify import verify
from cog.errors import CogError, UsageError
from cog.provenance.lineage import trace
from cog.provenance.recheck import recheck, upstream_first


@pytest.fixture
def shared(make_dataset):
    return make_dataset("shared").path


@pytest.fixture(params=["folder", "packed"])
def source(request, shared, tmp_path):
    """The dataset in a folder, or in one file."""
    if request.param == "folder":
        return shared
    pack_dataset(shared, tmp_path / "shared.zip")
    return tmp_path / "shared.zip"


def test_a_view_elsewhere_gives_what_one_with_the_dataset_would(shared, source, tmp_path, frozen):
    wanted = relabel(shared, "object_height > 0.1 for 2 steps", "mine", scale=3)
    own = load(write_merge(tmp_path / "own.json", [f"{shared}@mine"])).fingerprint
    shutil.rmtree(shared / "relabels")
    before = frozen(shared)
    found = relabel(source, "object_height > 0.1 for 2 steps", "mine", scale=3, out=tmp_path / "views")
    assert found == wanted
    assert sorted(path.name for path in (tmp_path / "views").iterdir()) == [REFERENCE, "relabels"]
    merge = write_merge(tmp_path / "both.json", [f"{tmp_path / 'views'}@mine"])
    assert load(merge).fingerprint == load(open_merge(tmp_path / "views")).fingerprint == own
    assert load(materialise(tmp_path / "both.json", tmp_path / "copy")).fingerprint == own
    for place in (tmp_path / "views", tmp_path / "both.json"):
        assert verify(place) == []
        report = recheck(upstream_first(trace(place)))
        assert report.problem is None and report.checked >= 1
    chain = trace(tmp_path / "both.json")
    assert chain.links[0].thing.kind == "view" and chain.links[0].holds
    assert chain.links[0].thing.links[0].thing.path == source.resolve()
    pack_dataset(tmp_path / "views", tmp_path / "packed.zip")
    assert view_names(open_dataset(tmp_path / "packed.zip")) == ["mine"]
    assert load(open_merge(tmp_path / "packed.zip")).fingerprint == own
    assert frozen(shared) == before


def test_a_folder_of_views_takes_more_of_the_same_dataset_and_none_of_another(shared, make_dataset, tmp_path):
    views = tmp_path / "views"
    relabel(shared, "zero", "a", out=views)
    relabel(shared, "grasp_success", "b", out=views)
    relabel(views, "zero", "c")  # the folder stands for the dataset
    assert relabel(shared, "zero", "a", out=views) == open_view(open_dataset(views), "a")
    assert view_names(open_dataset(views)) == ["a", "b", "c"] and view_names(open_dataset(shared)) == []
    with pytest.raises(CogError, match="exists already with other content"):
        relabel(shared, "grasp_success", "a", out=views)
    with pytest.raises(CogError, match="holds views of another dataset"):
        relabel(make_dataset("other", seed=9).path, "zero", "d", out=views)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters/home.txt").write_text("dear")
    with pytest.raises(CogError, match="holds no views; nothing was written"):
        relabel(shared, "zero", "a", out=tmp_path / "letters")
    with pytest.raises(UsageError, match="own folder"):
        relabel(shared, "zero", "a", out=shared / "views")
    assert [path.name for path in (tmp_path / "letters").iterdir()] == ["home.txt"]


def test_both_moved_together_are_found_and_one_moved_alone_is_named(shared, tmp_path):
    (tmp_path / "lab").mkdir()
    shutil.move(shared, tmp_path / "lab/shared")
    relabel(tmp_path / "lab/shared", "grasp_success", "mine", out=tmp_path / "lab/views")
    shutil.move(tmp_path / "lab", tmp_path / "moved")
    assert verify(tmp_path / "moved/views") == []
    shutil.move(tmp_path / "moved/views", tmp_path / "views")
    with pytest.raises(CogError, match=r"not at .* any more\. Put it back there, or make the view again"):
        open_merge(tmp_path / "views@mine")


def test_views_of_a_dataset_that_has_changed_are_refused(shared, make_dataset, tmp_path):
    relabel(shared, "grasp_success", "mine", out=tmp_path / "views")
    shutil.rmtree(shared)
    make_dataset("shared", seed=5)
    with pytest.raises(CogError, match="not the one that these views are of"):
        open_merge(tmp_path / "views@mine")
    assert "not the one that these views are of" in str(verify(tmp_path / "views")[0])


def test_repair_leads_to_the_dataset_itself(shared, tmp_path):
    relabel(shared, "zero", "mine", out=tmp_path / "views")
    with pytest.raises(CogError, match=f"Repair their dataset: {shared}"):
        repair(tmp_path / "views")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.EPERM])
def test_a_dataset_that_cannot_be_written_is_told_with_the_way_and_the_way_works(
    number, shared, tmp_path, monkeypatch, capsys
):
    def refused(path, *arguments, real=os.mkdir, **options):
        if Path(path).is_relative_to(shared):
            raise OSError(number, os.strerror(number), str(path))
        real(path, *arguments, **options)

    monkeypatch.setattr(os, "mkdir", refused)
    command = ["relabel", str(shared), "--rule", "grasp_success", "--name", "mine"]
    assert cli.run(command) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert os.strerror(number) in said and "with --out FOLDER, and use it as FOLDER@mine" in said
    assert cli.run([*command, "--out", str(tmp_path / "views")]) == 0
    assert cli.run(["merge", "--task", f"{tmp_path / 'views'}@mine", "--out", str(tmp_path / "m.json")]) == 0
