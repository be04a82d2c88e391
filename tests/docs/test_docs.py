"""Every code block of every page does what it says: commands and Python run, what cannot run is parsed."""

import re
import runpy
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import tyro

from cog import cli
from tests.docs import pages as docs
from tests.docs.commands import known_flags
from tests.docs.pages import Block, arguments, blocks, command_lines, pages, prose
from tests.docs.runner import IF_GIVEN, SMALLER, folder_before, run_page, smaller

MAKE = re.findall(r"^([\w-]+):", (docs.ROOT / "Makefile").read_text(), flags=re.M)


def runs(page: Path) -> bool:
    """Whether something of the page is run."""
    return any(block.reason is None and block.language in ("bash", "python") for block in blocks(page))


def not_run() -> list[Block]:
    """Blocks that are not run."""
    return [block for page in pages() for block in blocks(page) if block.reason is not None]


@pytest.fixture(scope="session")
def made() -> dict[Path, Path]:
    """Folders in which pages have run that others come after."""
    return {}


@pytest.mark.parametrize("page", [page for page in pages() if runs(page)], ids=docs.name)
def test_a_page_runs_from_top_to_bottom(page: Path, made: dict[Path, Path], tmp_path_factory: Any) -> None:
    if page in made:  # it ran for another page
        return
    folder = folder_before(page, made, tmp_path_factory)
    run_page(page, folder)
    made.setdefault(page, folder)


@pytest.mark.parametrize("page", pages(), ids=docs.name)
def test_every_block_is_run_marked_or_an_illustration(page: Path) -> None:
    for block in blocks(page):
        assert block.language in ("bash", "python", *docs.ILLUSTRATIONS), f"{block.where}: {block.language!r}"
        if block.language in docs.ILLUSTRATIONS:
            assert block.reason is None, f"{block.where}: an illustration needs no mark"
    indented = re.search(r"\n\n    [^ \-*].*", prose(page))
    assert indented is None, f"{docs.name(page)}: fence this block: {indented[0]}"


@pytest.mark.parametrize(
    "block", [b for b in not_run() if b.language == "bash"], ids=lambda block: block.where
)
def test_a_block_that_is_not_run_names_what_exists(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    shell = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
    assert shell.returncode == 0, f"{block.where}: {shell.stderr}"
    for line in command_lines(block.text):
        words = arguments(line)
        if words is not None:
            parsed(words, f"{block.where}: {line}")
        elif script := re.search(r"python -m (cog\.experiments\.\S+)(.*)", line):
            parsed_script(script[1], script[2].split(), monkeypatch)
        elif line.startswith("make "):
            assert line.split()[1] in MAKE, f"{block.where}: {line}"


def test_python_that_is_not_run_compiles() -> None:
    for block in not_run():
        if block.language == "python":
            compile(block.text, block.where, "exec")


def parsed(words: list[str], what: str) -> None:
    """Fail unless the command line parses; what it names need not be there."""
    if "--help" in words:
        words = [word for word in words if word != "--help"] + ["--help"]
    try:
        cli.parse(words)
    except SystemExit as error:
        assert not error.code, f"does not parse: {what}"


def parsed_script(module: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail unless the options of a script of `cog.experiments` exist."""
    seen: list[Any] = []
    monkeypatch.setattr("cog.experiments.script.script", lambda settings, _: seen.append(settings))
    runpy.run_module(module, run_name="__main__")
    tyro.cli(seen[0], args=words)


@pytest.mark.parametrize("page", pages(), ids=docs.name)
def test_options_in_running_text_exist(page: Path) -> None:
    for code in re.findall(r"`(cog [a-z]+ [^`]*--[^`]*)`", prose(page).replace("\n", " ")):
        words = code.split()[1:]
        for flag in re.findall(r"(--[\w.-]+)", code):
            assert flag in known_flags(words) | {"--help"}, f"{docs.name(page)}: {code}"


def test_every_smaller_number_is_of_a_command_on_some_page() -> None:
    lines = [line for page in pages() for block in blocks(page) for line in command_lines(block.text)]
    for command in {**SMALLER, **IF_GIVEN}:
        assert any(line.startswith(f"cog {command} ") for line in lines), command


def test_small_numbers_take_the_place_of_the_printed_ones() -> None:
    words = shlex.split("evaluate --checkpoint a --episodes 100 --starts open")
    small = "evaluate --checkpoint a --starts open --episodes 1 --max-episode-steps 3 --workers 1"
    assert shlex.join(smaller(words)) == small
    assert smaller(["info", "data"]) == ["info", "data"]


def test_an_unmarked_command_that_is_not_of_cog_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```bash\nmake demo\n```\n")
    (block,) = blocks_of(page)
    assert (block.language, block.reason, block.line) == ("bash", None, 1)
    page.write_text("<!-- not run: minutes -->\n```bash\nmake demo\n```\n")
    (block,) = blocks_of(page)
    assert (block.reason, block.text) == ("minutes", "make demo\n")


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page outside the repository."""
    return list(blocks(page))


def test_arguments_are_found_behind_variables_and_launchers() -> None:
    assert arguments("torchrun --nproc-per-node 2 -m cog.cli train --seed $((2 * S))") == [
        "train",
        "--seed",
        "1",
    ]
    assert arguments('OMP_NUM_THREADS=1 cog collect --out "s$S/task"') == ["collect", "--out", "s1/task"]
    assert arguments("make demo") is None
