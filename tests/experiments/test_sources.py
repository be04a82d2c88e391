"""A folder of experiments remembers the code that made it."""

import json
import shutil
from pathlib import Path

import pytest

from cog.errors import CogError
from cog.experiments.jobs.code import PARTS, code, code_hash
from cog.experiments.paper import reproduce as module
from cog.experiments.paper.reproduce import STORE, claimed


def test_what_other_code_has_finished_is_reused_only_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with claimed(tmp_path / "out", False):
        pass
    other = {**code(), "cog.envs": "of another scene"}
    monkeypatch.setattr(module, "code", lambda: other)
    before = (tmp_path / "out" / STORE).read_bytes()
    with (
        pytest.raises(CogError, match=r"other code \(cog\.envs changed since\).*--mix-code"),
        claimed(tmp_path / "out", False),
    ):
        pass
    assert (tmp_path / "out" / STORE).read_bytes() == before
    with claimed(tmp_path / "out", True):
        pass
    monkeypatch.undo()
    with claimed(tmp_path / "out", False):
        held = json.loads((tmp_path / "out" / STORE).read_text())
    assert held["code"] == [code(), other]


def test_the_hash_of_code_follows_what_it_does_and_not_its_words(tmp_path: Path) -> None:
    def hashed(source: str, name: str = "scene.py") -> str:
        (tmp_path / name).write_text(source)
        found = code_hash(tmp_path, "*.py")
        (tmp_path / name).unlink()
        return found

    plain = hashed("LIMIT = 1.0\ndef height(x):\n    return x\n")
    assert plain == hashed("LIMIT = 1.0  # m\n\n\ndef height(x):\n    '''More.'''\n    return x\n")
    assert plain != hashed("LIMIT = 1.1\ndef height(x):\n    return x\n")
    assert plain != hashed("LIMIT = 1.0\ndef height(x):\n    return -x\n")
    assert plain != hashed("LIMIT = 1.0\ndef height(x):\n    return x\n", "other.py")


def test_a_changed_byte_or_another_name_of_an_asset_changes_the_hash_of_code(tmp_path: Path) -> None:
    folder, pattern = PARTS["cog.envs.assets"]
    assert (Path(folder) / "cabinet.urdf").exists()
    copy = Path(shutil.copytree(folder, tmp_path / "assets"))
    before = code_hash(copy, pattern)
    assert before == code()["cog.envs.assets"]
    text = (copy / "cabinet.urdf").read_text()
    (copy / "cabinet.urdf").write_text(text.replace("0", "1", 1))
    assert code_hash(copy, pattern) != before
    (copy / "cabinet.urdf").write_text(text)
    assert code_hash(copy, pattern) == before
    (copy / "cabinet.urdf").rename(copy / "cupboard.urdf")
    assert code_hash(copy, pattern) != before


def test_every_part_that_decides_results_is_found_where_it_is_installed() -> None:
    assert all(any(Path(folder).glob(pattern)) for folder, pattern in PARTS.values())
    assert (Path(PARTS["cog.envs"][0]) / "double_drawer.py").exists()
    assert (Path(PARTS["cog"][0]) / "algorithms" / "cql.py").exists()


def test_the_hash_of_code_covers_every_package_that_decides_results() -> None:
    root = Path(PARTS["cog"][0])
    counted = {path.relative_to(root).as_posix() for path in root.glob(PARTS["cog"][1])}
    packages = [path.parent for path in root.glob("*/__init__.py")]
    assert len(packages) > 8
    for package in packages:
        own = {path.relative_to(root).as_posix() for path in package.rglob("*.py")}
        assert own <= counted
