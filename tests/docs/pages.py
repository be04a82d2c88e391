"""The pages: README and all of docs, their code blocks, and what a comment says of a block or page.

Above a block that a test cannot run stands `<!-- not run: REASON -->`. A page that needs the data and runs of
README says so: `<!-- after: README.md -->`; such a page is tried in a folder in which README's commands ran.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
INDEX = DOCS / "index.md"
ILLUSTRATIONS = ("text", "json", "bibtex")
"""Languages of blocks that only show something."""
FENCE = re.compile(r"^( *)```(.*)$")
NOT_RUN = re.compile(r"^ *<!-- not run: (.+) -->$")
AFTER = re.compile(r"^<!-- after: (\S+) -->$", re.M)


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str
    reason: str | None
    """Why it is not run; None where it is."""

    @property
    def where(self) -> str:
        """Page and line, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str | None:
        """Name of the module that a Python block is, if its first line is a comment with that name."""
        found = re.match(r"# (\w+\.py)\n", self.text)
        return found[1] if self.language == "python" and found else None


def pages() -> list[Path]:
    """README and every page of docs."""
    return [README, *sorted(DOCS.rglob("*.md"))]


def name(page: Path) -> str:
    """The page's name in a list of tests."""
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    lines = page.read_text().splitlines()
    opened, indent = None, ""
    for number, line in enumerate(lines, start=1):
        fence = FENCE.match(line)
        if fence and opened is None:
            opened, indent = number, fence[1]
        elif fence and opened is not None:
            mark = NOT_RUN.match(lines[opened - 2]) if opened > 1 else None
            text = "\n".join(held.removeprefix(indent) for held in lines[opened : number - 1])
            language = FENCE.match(lines[opened - 1])[2]  # type: ignore[index]
            yield Block(page, opened, language, text + "\n", mark[1] if mark else None)
            opened = None
    assert opened is None, f"{name(page)}:{opened}: the block does not end"


def predecessor(page: Path) -> Path | None:
    """The page whose commands must have run before those of this one."""
    found = AFTER.search(page.read_text())
    return None if found is None else ROOT / found[1]


def command_lines(text: str) -> list[str]:
    """The commands of a shell block, one a line, without comments; continued lines are joined."""
    joined = text.replace("\\\n", " ")
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.M | re.S)


def arguments(line: str) -> list[str] | None:
    """What a line gives to `cog` (or `python -m cog.cli`), shell variables as 1; None if nothing."""
    line = re.sub(r"\$\(\(.*?\)\)|\$\{?\w+\}?", "1", line)
    words = shlex.split(line, comments=True)
    for position, word in enumerate(words):
        if word == "cog" or word.endswith("/cog") or words[position - 1 : position + 1] == ["-m", "cog.cli"]:
            rest = words[position + 1 :]
            end = next(
                (place for place, word in enumerate(rest) if word in {"&&", "||", "|", "&", ">"}), None
            )
            return [word.rstrip(";") for word in rest[:end]]
    return None
