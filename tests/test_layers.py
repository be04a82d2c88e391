"""The layers of the code: who may import whom, how large a folder may be, and that the wheel has them all."""

import ast
import configparser
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOPS = {"cog": "cog", "envs": "cog.envs", "datasets": "cog.datasets", "experiments": "cog.experiments"}
LAYERS = (
    ("cog.version", "cog.errors"),
    ("cog.users",),
    ("cog.core",),
    ("cog.signals",),
    ("cog.envs", "cog.networks"),
    ("cog.datasets",),
    ("cog.replay",),
    ("cog.algorithms", "cog.tabular"),
    ("cog.training",),
    ("cog.evaluation",),
    ("cog.policy",),
    ("cog.online", "cog.classifier"),
    ("cog.provenance",),
    ("cog.experiments",),
    ("cog.commands",),
    ("cog.cli",),
)
"""From the bottom to the top: imports go down. Packages of one layer do not import each other."""
FILES_IN_A_FOLDER = 15
LINES_IN_A_FILE = 400


def modules(root: Path) -> dict[str, Path]:
    """Every module of the package, by its import name."""
    found = {}
    for top, package in TOPS.items():
        for path in sorted((root / top).rglob("*.py")):
            parts = path.relative_to(root / top).with_suffix("").parts
            found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


def imports(source: str) -> Iterator[str]:
    """The modules of cog that a source imports, at the top or late."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "cog":
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "cog")


def inside(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def layer(module: str) -> tuple[int, str] | None:
    """The layer of a module and its package there; none for `cog` itself, which only re-exports."""
    for height, packages in enumerate(LAYERS):
        for package in packages:
            if inside(module, package):
                return height, package
    return None


def upward(module: str, source: str) -> list[str]:
    """What a module imports that stands above it or beside it."""
    own = layer(module)
    wrong = []
    for other in imports(source):
        theirs = layer(other)
        if own is None or theirs is None or own[1] == theirs[1]:
            continue
        if theirs[0] >= own[0]:
            wrong.append(f"{module} imports {other}")
    return wrong


def folders() -> list[Path]:
    """Every folder of the repository that holds Python, but for the top itself."""
    tops = [ROOT / top for top in (*TOPS, "tests")]
    return sorted({path.parent for top in tops for path in top.rglob("*.py")})


def test_imports_go_down_the_layers_only() -> None:
    wrong = [line for name, path in modules(ROOT).items() for line in upward(name, path.read_text())]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cog.core.files", "from cog.training import train"),
        ("cog.networks.actor", "import cog.algorithms.cql"),
        ("cog.envs.arm", "def late():\n    from cog.networks.encoder import Encoder"),
        ("cog.datasets.merge", "from cog.replay.buffer import Buffer"),
        ("cog.experiments.demo.plan", "from cog.commands.learn import Train"),
    ],
)
def test_an_import_that_goes_up_or_sideways_is_found(module: str, source: str) -> None:
    assert len(upward(module, source)) == 1


def test_every_module_stands_in_a_layer() -> None:
    assert [name for name in modules(ROOT) if layer(name) is None] == ["cog"]


def test_only_collection_and_teleoperation_of_the_datasets_know_environments() -> None:
    knowing = {
        name
        for name, path in modules(ROOT).items()
        if inside(name, "cog.datasets")
        and any(inside(other, "cog.envs") for other in imports(path.read_text()))
    }
    assert {name.split(".")[2] for name in knowing} == {"collection", "teleop"}


def test_recipes_of_the_paper_import_no_learner() -> None:
    learners = ("cog.networks", "cog.replay", "cog.algorithms", "cog.training")
    for name, path in modules(ROOT).items():
        if inside(name, "cog.experiments.paper.recipes"):
            for other in imports(path.read_text()):
                assert not any(inside(other, learner) for learner in learners), f"{name} imports {other}"


def test_a_folder_holds_few_files_and_says_in_its_first_lines_what_it_is() -> None:
    for folder in folders():
        own = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(own) <= FILES_IN_A_FOLDER, f"{folder.relative_to(ROOT)} holds {len(own)} files"
        doc = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
        assert doc and len(doc.splitlines()) <= 8, f"{folder.relative_to(ROOT)} does not say what it is"


def test_no_file_is_long() -> None:
    for folder in folders():
        for path in folder.glob("*.py"):
            lines = len(path.read_text().splitlines())
            assert lines <= LINES_IN_A_FILE, f"{path.relative_to(ROOT)} has {lines} lines"


def test_the_wheel_has_every_package() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = {name for name, path in modules(ROOT).items() if path.name == "__init__.py"}
    assert listed == found
