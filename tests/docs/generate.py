"""The parts of pages that code makes: `python -m tests.docs.generate` writes them, a test compares them.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`; NAME is a function of this file and its
arguments. Pages of cells are made as a whole by `cog.experiments.tables.rows`.
"""

import inspect
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cog.envs
from cog.envs import scene
from cog.envs.behaviours import behaviour_options
from cog.envs.make import scene_class
from cog.envs.tabletop import Tabletop
from cog.experiments.tables import demo, finetune, methods, rows
from tests.docs.commands import Option, algorithms, command, commands, train
from tests.docs.pages import DOCS, pages
from tests.packages.d3rlpy_settings import BASE, MATCHED, Matched

DATA = DOCS / "results/data"
PACKAGES = ("cog", "d3rlpy")
ROWS = ("closed", "blocked_drawer", "blocked_object", "pick_place")
PART = re.compile(r"(<!-- generated: ([^\n]+) -->\n).*?(<!-- end -->\n)", re.S)


def table(header: list[str], lines: list[list[str]]) -> str:
    """A table in markdown; bars in cells are escaped."""
    cells = [header, ["---"] * len(header), *lines]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in cells)


def command_list(*pages: str) -> str:
    """Every command and what it does; `pages` say where its options are, as `page=command,command`."""
    page_of = {name: page for page, names in (text.split("=") for text in pages) for name in names.split(",")}
    found = [entry for entry in commands() if len(entry.words) == 1]
    return table(
        ["command", "what it does"],
        [
            [f"[`{entry.words[0]}`]({page_of[entry.words[0]]}.md#{entry.words[0]})", entry.text]
            for entry in found
        ],
    )


def options(*names: str) -> str:
    """Every option of some commands."""
    parts = []
    for entry in (entry for name in names for entry in commands() if entry.words[0] == name):
        parts.append(f"## {' '.join(entry.words)}\n\n{entry.text}\n")
        own = tuple(f"--{name.replace('_', '-')}." for name in algorithms()) if names[0] == "train" else ()
        if found := [option for option in entry.options if not option.words.startswith(own)]:
            parts.append(_options_table(found) + "\n")
    return "\n".join(parts).rstrip("\n")


def format_options(*names: str) -> str:
    """The options of commands with a format: those that every format has, then each format's own.

    What says something else of itself than the first, such as the export of a policy, shares nothing.
    """
    parts = []
    for name in names:
        kinds = [command(name, part) for part in command(name).subcommands]
        alike = [kind for kind in kinds if kind.text == kinds[0].text]
        shared = [one for one in kinds[0].options if all(one in kind.options for kind in alike)]
        parts.append(f"## {name}\n\n{kinds[0].text} With every format:\n\n{_options_table(shared)}\n")
        for kind in kinds:
            own = kind.options if kind not in alike else [one for one in kind.options if one not in shared]
            parts.append(f"## {' '.join(kind.words)}\n")
            parts += [] if kind in alike else [f"{kind.text}\n"]
            parts.append(f"{_options_table(own)}\n" if own else "No options of its own.\n")
    return "\n".join(parts).rstrip("\n")


def algorithm_options(*names: str) -> str:
    """The options of `cog train` that set the hyper-parameters of some algorithms."""
    parts = []
    for name in names:
        own = [one for one in train().options if one.words.startswith(f"--{name.replace('_', '-')}.")]
        parts.append(f"## {name}\n\n{_options_table(own)}\n")
    return "\n".join(parts).rstrip("\n")


def _options_table(found: Sequence[Option]) -> str:
    lines = [[f"`{option.words}`", option.text, _code(option.default)] for option in found]
    return table(["option", "what it is", "default"], lines)


def scenes() -> str:
    """Every scene with its horizon, the sizes of what it shows, its starts and its signals."""
    found: dict[tuple[str, ...], list[str]] = {}
    for env, (_, horizon) in cog.envs.SCENES.items():
        kind = scene_class(env)
        facts = (str(horizon), str(kind.state_size), _names(kind.starts), _names(kind.signal_names))
        found.setdefault(facts, []).append(env)
    lines = [[_names(versions), *facts] for facts, versions in found.items()]
    return table(["environment", "steps", "state", "starts", "signals"], lines)


def actions() -> str:
    """What every scene says of its actions and observations."""
    text = inspect.cleandoc(str(Tabletop.__doc__)).split("\n\n", 1)[1]
    for name in ("POSITION_SCALE", "ROTATION_SCALE"):
        text = text.replace(f"`scene.{name}`", str(getattr(scene, name)))
    return text


def behaviours() -> str:
    """Every behaviour with what it does, its options and the scenes that bring it."""
    kinds = {env: scene_class(env).behaviours for env in cog.envs.SCENES}
    found = {name: kind for known in kinds.values() for name, kind in known.items()}
    lines = []
    for name, kind in found.items():
        options = behaviour_options(name, found).items()
        given = ", ".join(f"`{option}={json.dumps(value)}`" for option, value in options)
        where = list(dict.fromkeys(env[:-3] for env, known in kinds.items() if name in known))
        lines.append([f"`{name}`", str(kind.__doc__).split("\n")[0], given or "none", _names(where)])
    return table(["behaviour", "what it does", "options and defaults", "environments"], lines)


def stages() -> str:
    """How far an episode of each scene can get."""
    lines = [[f"`{env}`", "; ".join(name for name, _ in scene_class(env).stages)] for env in cog.envs.SCENES]
    return table(["environment", "a failed episode is put at the last of these that it reached"], lines)


def demo_table() -> str:
    """The committed table of the demo."""
    return demo.markdown(json.loads((DATA / "demo.json").read_text()))


def finetune_table() -> str:
    """The committed table of fine-tuning."""
    return finetune.markdown(json.loads((DATA / "finetune.json").read_text()))


def td3_bc_table() -> str:
    """The committed returns of TD3+BC in two packages, one line a seed."""
    result = json.loads((DATA / "td3_bc_d3rlpy.json").read_text())["pendulum"]
    both = result["algorithms"]["td3_bc"]
    lines = [
        [f"seed {seed}", *(f"{both[name]['returns'][place]:.0f}" for name in PACKAGES)]
        for place, seed in enumerate(result["budget"]["seeds"])
    ]
    lines.append(["mean over seeds", *(_interval(both[name], 0) for name in PACKAGES)])
    return table(["return", *PACKAGES], [*lines, ["the data", *[_interval(result["behaviour"], 0)] * 2]])


def d3rlpy_returns(task: str) -> str:
    """The committed returns on one task of every algorithm in two packages, means over seeds."""
    result = json.loads((DATA / "d3rlpy.json").read_text())[task]
    digits = 0 if abs(result["behaviour"]["mean"]) > 100 else 1
    words = {"equal": "overlap", "better": "cog is better", "worse": "d3rlpy is better"}
    lines = [
        [f"`{name}`", *(_interval(both[one], digits) for one in PACKAGES), words[both["verdict"]]]
        for name, both in result["algorithms"].items()
    ]
    data = ["the data", *[_interval(result["behaviour"], digits)] * 2, ""]
    return table(["return", *PACKAGES, "intervals"], [*lines, data])


def d3rlpy_settings() -> str:
    """The settings of algorithms that cog and d3rlpy share, and their names in either."""
    lines = [
        [f"`{name}`", *(f"`{one}`" if one else "" for one in setting[1:]), json.dumps(setting.value)]
        for name, matched in [("all", Matched("", BASE)), *MATCHED.items()]
        for setting in matched.settings
        if name == "all" or setting not in BASE
    ]
    return table(["algorithm", *PACKAGES, "value"], lines)


def _interval(figures: Mapping[str, float], digits: int) -> str:
    return "{mean:.{0}f} [{low:.{0}f}, {high:.{0}f}]".format(digits, **figures)


def methods_known() -> str:
    """Every algorithm with its paper and file."""
    return "\n".join(methods.known())


def methods_measured(name: str) -> str:
    """The committed results of methods in `methods_NAME.json`."""
    return "\n".join(methods.measured([json.loads((DATA / f"methods_{name}.json").read_text())]))


def methods_across(*names: str) -> str:
    """Success in every row of the committed results of methods in `methods_NAME.json`."""
    return "\n".join(
        methods.across([json.loads((DATA / f"methods_{name}.json").read_text()) for name in names])
    )


def row_summary() -> str:
    """The committed results of the paper's rows, one line an arm; those from the simulator's state last."""
    return "\n".join(rows.summary(list(committed().values())))


def committed(row: str | None = None) -> dict[Path, dict[str, Any]]:
    """Committed results of all rows or one; a row whose arms two commands ran has a second file."""
    files = [
        DATA / f"{kind}_{name}{part}.json"
        for kind in ("reproduce", "state")
        for name in ((row,) if row else ROWS)
        for part in ("", "_arms")
    ]
    return {path: json.loads(path.read_text()) for path in files if path.exists()}


PARTS: Mapping[str, Callable[..., str]] = {
    made.__name__: made
    for made in (
        *(command_list, options, format_options, algorithm_options),
        *(scenes, actions, behaviours, stages),
        *(demo_table, finetune_table, row_summary),
        *(td3_bc_table, methods_known, methods_measured, methods_across),
        *(d3rlpy_returns, d3rlpy_settings),
    )
}


def filled(text: str) -> str:
    """A page with its generated parts as the code makes them now."""

    def part(found: re.Match[str]) -> str:
        name, *arguments = found[2].split()
        return f"{found[1]}{PARTS[name](*arguments)}\n{found[3]}"

    return PART.sub(part, text)


def made() -> Iterator[tuple[Path, str]]:
    """Every page that holds something generated, and its text as it should be."""
    for page in pages():
        if PART.search(text := page.read_text()):
            yield page, filled(text)
    for row in ROWS:
        yield DOCS / f"results/cells-{row}.md", rows.page(list(committed(row).values()))


def _names(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _code(default: str) -> str:
    return default if default in ("required", "none") else f"`{default}`"


if __name__ == "__main__":
    for page, text in made():
        page.write_text(text)
