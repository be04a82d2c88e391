"""Pages are short, found from the index, and link to what exists; generated parts are as code makes them."""

import re
from pathlib import Path

import pytest

from tests.docs import generate
from tests.docs.commands import algorithms
from tests.docs.pages import DOCS, INDEX, README, ROOT, name, pages, prose

README_LINES, PAGE_LINES = 130, 150


def links(page: Path) -> list[str]:
    """Every link of a page that leads to a file."""
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    return [target for target in targets if not re.match(r"https?:|mailto:", target)]


def anchors(page: Path) -> set[str]:
    """What can be linked to within a page."""
    titles = re.findall(r"^#+ (.+)$", prose(page), flags=re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", pages(), ids=name)
def test_a_page_is_short_and_begins_with_its_title(page: Path) -> None:
    lines = page.read_text().splitlines()
    assert len(lines) <= (README_LINES if page == README else PAGE_LINES)
    assert lines[0].startswith("# ")


@pytest.mark.parametrize("page", pages(), ids=name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)}: {link}"
        assert not anchor or anchor in anchors(target), f"{name(page)}: {link}"


def test_every_page_is_reached_from_the_index() -> None:
    reached, new = {INDEX}, {INDEX}
    while new:
        found = {(page.parent / link.partition("#")[0]).resolve() for page in new for link in links(page)}
        new = {page for page in found if page.suffix == ".md" and DOCS in page.parents} - reached
        reached |= new
    assert {*pages()} - {README} == reached


def test_every_figure_and_result_is_named_on_a_page() -> None:
    text = "\n".join(page.read_text() for page in pages())
    for file in sorted([*(DOCS / "results/data").iterdir(), *(DOCS / "results/figures").iterdir()]):
        assert file.name in text, file.name


@pytest.mark.parametrize("page", [page for page, _ in generate.made()], ids=name)
def test_generated_parts_are_as_the_code_makes_them(page: Path) -> None:
    wanted = dict(generate.made())[page]
    assert page.read_text() == wanted, "run: python -m tests.docs.generate"


def test_readme_maps_folders_that_exist_and_names_code_that_exists() -> None:
    for file in re.findall(r"`((?:cog|envs|datasets|experiments|tests)/[\w/.]*)`", prose(README)):
        assert (ROOT / file).exists(), file


def test_readme_names_every_algorithm() -> None:
    table = README.read_text().partition("## Algorithms")[2].partition("\n## ")[0]
    named = {
        name for line in re.findall(r"^\|.*\|$", table, flags=re.M) for name in re.findall(r"`(\w+)`", line)
    }
    assert named == set(algorithms())


def test_python_sources_name_pages_that_exist() -> None:
    for folder in ("cog", "envs", "datasets", "experiments", "tests"):
        for source in (ROOT / folder).rglob("*.py"):
            for page in re.findall(r"docs/[\w/-]+\.(?:md|json|png)", source.read_text()):
                assert (ROOT / page).exists(), f"{source.relative_to(ROOT)}: {page}"
