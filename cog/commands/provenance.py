"""Commands on the origin of things: print the chain, recompute it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from cog.core.console import console, messages, progress

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

    from cog.provenance.lineage import Link, Thing

DIGITS = 12  # of a hash
PLAIN_WIDTH = 400  # characters of a line where the output is not a terminal


@dataclass(frozen=True)
class Why:
    """Print what something was made from, back to the first episode.

    Each thing is shown with its hash, settings and version.
    """

    path: tyro.conf.Positional[Path]
    """Dataset, FOLDER@VIEW, merge, run, checkpoint, evaluation, classifier, summary.json or results.json."""
    json: bool = False
    """Whether to print JSON instead of a tree."""

    def run(self) -> int:
        """Print, and return the exit code: 1 if the thing itself cannot be read, whatever it still says."""
        import json

        from rich.tree import Tree

        from cog.provenance.lineage import to_json, trace

        thing = trace(self.path)
        failed = 1 if thing.problem else 0
        if self.json:
            console().print_json(json.dumps(to_json(thing)))
            return failed
        tree = Tree(_label(thing, None, False))
        _grow(tree, thing, {(thing.kind, thing.path)})
        screen = console()
        if not screen.is_terminal:
            screen.width = PLAIN_WIDTH
        screen.print(tree)
        return failed


def verify_deep(path: Path) -> int:
    """Recompute a chain, print what does not hold, and return the exit code."""
    from cog.datasets.relabel.view import view_names
    from cog.datasets.storage.dataset import open_dataset
    from cog.provenance.lineage import trace
    from cog.provenance.recheck import recheck, upstream_first

    asked = trace(path)
    things = upstream_first(asked)
    with progress("verify", len(things), "thing") as advance:
        report = recheck(things, advance)
    if report.unrecorded:
        text = f"{report.unrecorded} links have no recorded hash: an older version wrote their files"
        messages().print(text, style="yellow")
    if report.problem is None:
        console().print(f"{path}: the whole chain holds, {counted(report.checked)}")
        if asked.kind == "dataset" and (views := view_names(open_dataset(asked.path))):
            messages().print(f"note: rewards were not recomputed; name a view: {path}@{views[0]}")
        return 0
    messages().print(str(report.problem), style="red")
    console().print(f"{path}: the chain breaks; sound before that: {counted(report.checked)}")
    return 1


def counted(number: int) -> str:
    """A number of things, in words."""
    return "1 thing" if number == 1 else f"{number} things"


def _grow(tree: Tree, thing: Thing, shown: set[tuple[str, Path]]) -> None:
    """Add what a thing was made from; repeated things are shown in full only once."""
    for link in thing.links:
        key = (link.thing.kind, link.thing.path)
        branch = tree.add(_label(link.thing, link, key in shown))
        if key not in shown:
            shown.add(key)
            _grow(branch, link.thing, shown)
    if not thing.recorded and not thing.links:
        tree.add("what it was made from is not recorded")


def _label(thing: Thing, link: Link | None, again: bool) -> Text:
    """Kind, path, hash and, below, the settings."""
    from rich.text import Text

    text = Text.assemble((thing.kind, "bold"), f" {thing.path}")
    if thing.hash is not None:
        text.append(f"  {thing.hash[:DIGITS]}", "cyan")
    if link is not None and link.recorded is None:
        text.append("  hash not recorded", "yellow")
    elif link is not None and thing.hash is not None and not link.holds:
        text.append(f"  changed since, was {str(link.recorded)[:DIGITS]}", "red")
    if again:
        return text.append("  as above", "dim")
    if thing.problem:
        return text.append(f"\nmissing or damaged: {thing.problem}", "red")
    version = thing.code_version or "version not recorded"
    return text.append(f"\n{'; '.join(filter(None, [thing.configuration, version]))}", "dim")
