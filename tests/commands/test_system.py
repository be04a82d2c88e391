"""The command line and the system around it: paths as typed, readers that leave, what the system refuses."""

import dataclasses
import errno
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cog import cli
from cog.core.options import usable_path, with_usable_paths
from cog.core.program import exit_codes
from cog.datasets.collection.collect import collect
from cog.datasets.merge import parse_source
from cog.datasets.relabel.rules import relocate
from cog.datasets.relabel.view import relabel
from cog.datasets.storage.verify import verify
from cog.errors import CogError, UsageError
from tests.datasets.test_teleop import LINE

PARTS = st.lists(
    st.text("ab~é .-", min_size=1, max_size=5).filter(lambda part: part not in (".", "..")), max_size=3
)
HOMES = st.sampled_from(["", "~", "/", "~/", "./"])


@dataclass(frozen=True)
class Inner:
    """Settings in settings."""

    film: Path | None
    several: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Outer:
    """Settings of a command."""

    out: Path
    name: str
    inner: Inner
    count: int = 3


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(begin=HOMES, parts=PARTS, name=st.text("~/x"))
@example(begin="~", parts=["", "data"], name="~/x")
def test_paths_are_what_a_shell_makes_of_them_wherever_they_stand(begin, parts, name, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = Path(begin + "/".join(parts))
    first = path.parts[0] if path.parts else ""
    if first.startswith("~") and first != "~":  # the home of a user whom nobody knows
        with pytest.raises(CogError, match="no home of"):
            usable_path(path)
        return
    wanted = tmp_path.joinpath(*path.parts[1:]) if first == "~" else path
    made = with_usable_paths(Outer(path, name, Inner(path, (Path("b"), path))))
    assert made == Outer(wanted, name, Inner(wanted, (Path("b"), wanted)))
    assert with_usable_paths(made) is made  # nothing is left to write out
    assert with_usable_paths(Outer(Path("x"), name, Inner(None))).inner.film is None


def test_a_tilde_in_a_source_or_a_rule_is_the_home_too(tmp_path, monkeypatch, make_dataset):
    monkeypatch.setenv("HOME", str(tmp_path))
    make_dataset("data")
    assert parse_source("~/data@view") == (tmp_path / "data", "view")
    assert relocate("classifier:~/judge", Path(), tmp_path / "data") == "classifier:../judge"
    monkeypatch.chdir(tmp_path)
    assert cli.run(["relabel", "~/data", "--rule", "zero", "--name", "v"]) == 0
    assert cli.run(["merge", "--task", "~/data@v", "--out=~/m.json"]) == 0
    assert cli.run(["verify", "~/m.json"]) == 0
    assert (tmp_path / "m.json").exists() and not Path("~").exists()


@pytest.mark.parametrize("length", [200, 237, 238, 255])
def test_an_output_of_any_length_that_the_system_allows_is_written(length, tmp_path, make_dataset):
    dataset = make_dataset("data").path
    relabel(dataset, "zero", "v")
    name = "m" * length
    assert cli.run(["merge", "--task", str(dataset), "--out", str(tmp_path / name)]) == 0
    assert cli.run(["pack", str(dataset), "--out", str(tmp_path / f"p{name[1:]}")]) == 0
    assert cli.run(["relabel", str(dataset), "--rule", "zero", "--name", name[:-5]]) == 0
    assert cli.run(["verify", str(dataset)]) == 0


@pytest.mark.parametrize("out", ["LOOP", "LOOP/x", "x" * 256, "x/" * 2200 + "x", "x" * 256 + "/y", "a\0b"])
@pytest.mark.parametrize("command", ["merge", "train", "pack", "relabel"])
def test_an_output_that_no_file_can_be_is_refused_in_one_line(
    command, out, tmp_path, make_dataset, monkeypatch, capsys
):
    data = make_dataset("data", episodes=2).path
    relabel(data, "zero", "v")
    monkeypatch.chdir(tmp_path)
    Path("LOOP").symlink_to("LOOP")
    before = sorted(path.name for path in tmp_path.iterdir())
    source = {"merge": ["--task", "data@v"], "train": ["--data", "data@v", "--updates", "1"]}
    source |= {"pack": ["data"], "relabel": ["data", "--rule", "zero", "--name", "w"]}
    assert cli.run([command, *source[command], "--out", out]) == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said and len(said) < 400
    reason = {"L": errno.ELOOP, "x": errno.ENAMETOOLONG}.get(out[0])
    assert (os.strerror(reason) if reason else "null") in " ".join(said.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_name_of_a_view_that_is_too_long_is_refused_in_one_line(make_dataset, capsys):
    data = make_dataset().path
    assert cli.run(["relabel", str(data), "--rule", "zero", "--name", "v" * 260]) == 2
    assert "too long" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO, errno.ENOENT])
def test_what_the_system_refuses_is_one_line_with_the_file(number, capsys):
    with pytest.raises(SystemExit) as ended, exit_codes():
        raise OSError(number, os.strerror(number), "data/x.h5")
    assert ended.value.code == 1
    assert f"cog: data/x.h5: {os.strerror(number)}" in " ".join(capsys.readouterr().err.split())


def test_a_fault_of_the_toolkit_itself_still_shows_where_it_is():
    for error in (RuntimeError("shapes differ"), ValueError("x"), OSError("no number")):
        with pytest.raises(type(error)), exit_codes():
            raise error


def test_further_interrupts_do_not_disturb_the_end_of_a_command(capsys):
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(SystemExit) as ended, exit_codes():
            raise KeyboardInterrupt
        os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == 1 and capsys.readouterr().err.strip() == "cog: interrupted"


@pytest.mark.parametrize("arguments", [["--help"], ["merge", "--help"], ["why", "--json", "."]])
def test_a_reader_that_leaves_ends_a_command_quietly(arguments, tmp_path, make_dataset, monkeypatch):
    monkeypatch.chdir(make_dataset().path)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        command = [sys.executable, "-m", "cog.cli", *arguments]
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    finally:
        os.close(writing)
    assert done.stderr == "" and done.returncode == 1


def test_a_broken_pipe_that_is_not_the_output_is_no_silent_end(capsys):
    with pytest.raises(SystemExit), exit_codes():
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    assert os.strerror(errno.EPIPE) in capsys.readouterr().err


def test_hidden_files_among_shards_and_views_are_nobodys(make_dataset, capsys):
    dataset = make_dataset()
    relabel(dataset.path, "grasp_success", "reward")
    for name in (
        ".DS_Store",
        "._manifest.json",
        "shards/._00000.h5",
        "shards/.nfs01",
        "relabels/._reward.json",
    ):
        (dataset.path / name).write_bytes(b"\0")
    assert verify(dataset.path) == []
    assert cli.run(["verify", "--repair", str(dataset.path)]) == 0
    (dataset.path / "shards/00009.h5").write_bytes(b"\0")
    assert [problem.file.name for problem in verify(dataset.path)] == ["00009.h5"]


@pytest.mark.parametrize("command", ["info", "verify", "filter"])
def test_a_manifest_is_told_to_stand_for_its_folder(command, make_dataset, tmp_path, capsys):
    dataset = make_dataset().path
    more = ["--out", str(tmp_path / "new"), "--min-length", "1"] if command == "filter" else []
    assert cli.run([command, str(dataset / "manifest.json"), *more]) == 1
    assert f"Pass its folder: {dataset}" in capsys.readouterr().err.replace("\n", " ").replace("  ", " ")


def test_a_negative_number_of_workers_is_refused(tmp_path):
    with pytest.raises(UsageError, match="workers is -1; it must be at least 0"):
        collect(dataclasses.replace(LINE, episodes=1), tmp_path / "data", workers=-1)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("code", [0, None, 3, "bye"])
def test_code_of_the_user_that_ends_the_program_is_never_taken_for_success(
    code, monkeypatch, capsys, tmp_path
):
    def leave(self: object) -> None:
        sys.exit(code)

    monkeypatch.setattr("cog.commands.datasets.Verify.run", leave)
    assert cli.run(["verify", str(tmp_path)]) == 1
    assert f"ends the program: sys.exit({code!r})" in capsys.readouterr().err
    assert cli.run(["verify", "--help"]) == 0


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_without_standard_streams_a_command_does_its_work(closed, tmp_path, make_dataset):
    dataset = make_dataset(episodes=2)
    command = f"{sys.executable} -m cog.cli relabel {dataset.path} --rule zero --name quiet {closed}"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 0
    assert verify(dataset.path) == [] and (dataset.path / "relabels/quiet.json").exists()


@pytest.mark.parametrize(
    "command",
    [
        ["pack", "{data}", "--out", "{data}/all.cog"],
        ["export", "d3rlpy", "{data}@success", "--out", "{data}/all.h5"],
        ["filter", "{data}", "--min-length", "1", "--out", "{data}/more"],
        ["merge", "--task", "{data}@success", "--out", "{data}/m.json", "--materialise", "{data}/copy"],
    ],
)
def test_nothing_is_written_into_the_dataset_that_it_is_made_from(command, make_dataset, capsys):
    dataset = make_dataset(episodes=2)
    relabel(dataset.path, "grasp_success", "success")
    before = sorted(dataset.path.rglob("*"))
    assert cli.run([part.format(data=dataset.path) for part in command]) == 2
    assert "which must not change" in " ".join(capsys.readouterr().err.split())
    assert [path for path in sorted(dataset.path.rglob("*")) if path.suffix != ".json"] == [
        path for path in before if path.suffix != ".json"
    ]


def test_a_link_to_nowhere_and_a_merge_in_a_merge_are_called_what_they_are(tmp_path, make_dataset, capsys):
    dataset = make_dataset(episodes=2)
    relabel(dataset.path, "zero", "v")
    (tmp_path / "link").symlink_to("nowhere")
    assert cli.run(["filter", str(dataset.path), "--min-length", "1", "--out", str(tmp_path / "link")]) == 1
    assert "it is a link to nowhere, which does not exist" in " ".join(capsys.readouterr().err.split())
    merge = str(tmp_path / "m.json")
    assert cli.run(["merge", "--task", f"{dataset.path}@v", "--out", merge]) == 0
    assert cli.run(["merge", "--task", merge, "--out", str(tmp_path / "n.json")]) == 1
    assert "name the datasets in it" in " ".join(capsys.readouterr().err.split()).lower()


def test_a_terminal_that_lacks_letters_shows_their_numbers(tmp_path, make_dataset):
    folder = tmp_path / "sp ace ü"
    make_dataset(episodes=1).path.rename(folder)
    done = subprocess.run(
        [sys.executable, "-m", "cog.cli", "verify", str(folder)],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0 and b"sp ace \\xfc: sound" in done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["info", "data", "--json"]])
def test_an_output_that_is_full_is_told_as_such(arguments, make_dataset, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    make_dataset("data") if "data" in arguments else None
    command = [sys.executable, "-m", "cog.cli", *arguments]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
        silent = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=full, check=False)
    said = " ".join(done.stderr.split())
    assert "cog: the output could not be printed (No space left on device). Send it elsewhere" in said
    assert done.returncode == silent.returncode == 1 and "Traceback" not in said


def test_a_current_folder_that_was_removed_is_no_traceback(make_dataset, tmp_path):
    make_dataset("data")
    (tmp_path / "gone").mkdir()
    command = f"cd gone && rmdir ../gone && {sys.executable} -m cog.cli info {tmp_path / 'data'}"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr and (done.returncode == 0) == ("episodes" in done.stdout)
