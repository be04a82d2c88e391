"""Where there is no dataset, the error says what is there instead and names the datasets that are meant."""

import pytest

from cog import cli
from cog.core.lock import locked
from cog.datasets.materialise import materialise
from cog.datasets.merge import write_merge
from cog.datasets.relabel.view import relabel
from cog.datasets.storage.container import COLLECTION
from cog.datasets.storage.dataset import open_dataset
from cog.errors import CogError


def error_of(path):
    with pytest.raises(CogError) as caught:
        open_dataset(path)
    return str(caught.value)


def test_a_merge_in_place_of_a_dataset_names_its_datasets(make_dataset, tmp_path, capsys):
    names = ["task", "prior"]
    for seed, name in enumerate(names):
        relabel(make_dataset(name, episodes=2, seed=seed).path, "zero", "none")
    write_merge(tmp_path / "m.json", [f"{tmp_path}/task@none"], [f"{tmp_path}/prior@none"])
    copy = tmp_path / "copy"
    materialise(tmp_path / "m.json", copy)
    inside = f"Pass one of the datasets: {copy}/0-task, {copy}/1-prior"
    for path, remedy in (
        (copy, inside),
        (copy / "merge.json", inside),
        (tmp_path / "m.json", f"Pass one of the datasets: {tmp_path}/task, {tmp_path}/prior"),
    ):
        assert error_of(path) == f"{path}: this is a merge, not a dataset. {remedy}"
        assert cli.run(["relabel", str(path), "--rule", "zero", "--name", "z"]) == 1
        assert remedy in " ".join(capsys.readouterr().err.split())


def test_a_folder_of_datasets_names_some_of_them_and_counts_the_others(make_dataset, tmp_path):
    one = make_dataset("here/0", episodes=1).path
    assert error_of(tmp_path / "here").endswith(f"Pass the dataset: {one}")
    for number in range(1, 7):
        make_dataset(f"here/{number}", episodes=1)
    named = ", ".join(f"{tmp_path}/here/{number}" for number in range(5))
    assert error_of(tmp_path / "here").endswith(f"Pass one of the datasets: {named} and 2 more")
    assert error_of(one / "manifest.json").endswith(f"Pass its folder: {one}")


@pytest.mark.parametrize("what", ["nothing", "a folder", "a text", "json", "a merge of text"])
def test_what_holds_no_dataset_leaves_the_path_to_be_checked(what, tmp_path):
    path = tmp_path / "it"
    if what == "a folder":
        (path / "empty").mkdir(parents=True)
    elif what != "nothing":
        path.write_text({"a text": "no", "json": "{}", "a merge of text": '{"kind": "merge"}'}[what])
    assert error_of(path) == f"{path}: there is no dataset here (manifest.json is missing). Check the path"


@pytest.mark.parametrize(
    ("mark", "again"), [(COLLECTION, "Run the same collect command"), (".unfinished", "Run the command")]
)
def test_an_unfinished_folder_says_whether_a_process_is_at_work_there(mark, again, tmp_path):
    (tmp_path / mark).write_text("{}")
    assert again in error_of(tmp_path)
    with locked(tmp_path):
        said = error_of(tmp_path)
    assert "another process is writing it: process" in said and said.endswith("Wait until it is done")
    assert again not in said
    (tmp_path / ".lock").write_text("{}")  # as a killed process leaves it
    assert again in error_of(tmp_path)
