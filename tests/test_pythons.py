"""Which Python the Makefile takes, and that PyBullet has, or does without, NumPy support."""

import os
import shutil
import subprocess
import sys
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pybullet
import pytest

from cog.envs import bullet
from cog.envs.bullet import Client
from cog.envs.scene import Camera

ROOT = Path(__file__).parents[1]
CAMERA = Camera(eye=(0.6, 0.0, 0.6), target=(0.0, 0.0, 0.0), field=60.0)


def script(path: Path, body: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def fake_python(path: Path, version: str, status: int = 0) -> Path:
    """What answers every question with its version."""
    return script(path, f"echo {version}; exit {status}")


def find_python(tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """What .ci/find-python answers on a machine where only `tmp_path` has Pythons."""
    (tmp_path / "bin").mkdir(exist_ok=True)
    (tmp_path / "bin" / "cat").unlink(missing_ok=True)
    (tmp_path / "bin" / "cat").symlink_to(shutil.which("cat") or "/bin/cat")
    machine = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path / "home")} | variables
    return subprocess.run(
        ["/bin/sh", ROOT / ".ci" / "find-python"], env=machine, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    "place",
    [
        "bin/python3.11",
        "home/.pyenv/versions/3.11.7/bin/python3.11",
        "home/.local/share/uv/python/cpython-3.11.9-linux-x86_64-gnu/bin/python3.11",
        "home/miniforge3/bin/python3.11",
        "home/miniconda3/envs/old/bin/python3.11",
        "home/elsewhere/bin/python3.11",
    ],
)
def test_python_3_11_is_preferred_wherever_it_is_kept(tmp_path, place):
    fake_python(tmp_path / "bin" / "python3", "3.12")
    fake_python(tmp_path / "bin" / "python3.12", "3.12")
    fake_python(tmp_path / "bin" / "python3.10", "3.10")
    chosen = fake_python(tmp_path / place, "3.11")
    listed = tmp_path / "home" / ".conda" / "environments.txt"
    listed.parent.mkdir(parents=True)
    listed.write_text(f"{tmp_path / 'gone'}\n{tmp_path / 'home' / 'elsewhere'}\n")
    assert find_python(tmp_path).stdout == f"{chosen}\n"


def test_the_places_that_variables_name_are_searched(tmp_path):
    fake_python(tmp_path / "bin" / "python3.12", "3.12")
    pyenv = fake_python(tmp_path / "p" / "versions" / "3.10.13" / "bin" / "python3.10", "3.10")
    assert find_python(tmp_path, PYENV_ROOT=str(tmp_path / "p")).stdout == f"{pyenv}\n"
    uv = fake_python(tmp_path / "u" / "cpython-3.10.1-x" / "bin" / "python3.10", "3.10")
    assert find_python(tmp_path, UV_PYTHON_INSTALL_DIR=str(tmp_path / "u")).stdout == f"{uv}\n"
    conda = fake_python(tmp_path / "c" / "bin" / "python3.10", "3.10")
    assert find_python(tmp_path, CONDA_EXE=str(tmp_path / "c/bin/conda")).stdout == f"{conda}\n"


def test_a_python_that_does_not_run_or_is_another_is_passed_over(tmp_path):
    fake_python(tmp_path / "bin" / "python3.11", "3.11", status=127)  # pyenv's shim of a version switched off
    fake_python(tmp_path / "bin" / "python3.10", "3.12")
    fake_python(tmp_path / "bin" / "python3.12", "")  # without ensurepip
    chosen = fake_python(tmp_path / "bin" / "python3.13", "3.13")
    assert find_python(tmp_path).stdout == f"{chosen}\n"


def test_a_newer_python_is_tried_with_a_word_and_none_at_all_is_refused_with_remedies(tmp_path):
    refused = find_python(tmp_path)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "uv python install 3.11" in refused.stderr
    assert "make PYTHON=" in refused.stderr
    fake_python(tmp_path / "bin" / "python3", "3.9")
    assert find_python(tmp_path).returncode == 1
    newer = fake_python(tmp_path / "bin" / "python3", "3.15")
    found = find_python(tmp_path)
    assert (found.returncode, found.stdout) == (0, f"{newer}\n")
    assert "tested with Python 3.10 to 3.13" in found.stderr


# An environment's python for .ci/build-pybullet. PyBullet works once installed from a wheel that says NUMPY;
# the index has none; a build writes $WHEEL into the wheel that it makes, and ends with $STATUS.
FAKE_ENVIRONMENT = r"""
here=$(dirname "$0")
echo "$*" >>"$here/asked"
case "$*" in
*isNumpyEnabled*) grep -q NUMPY "$here/installed" 2>/dev/null; exit ;;
*sysconfig.get_path*) echo "$here/include"; exit ;;
*customize_compiler*) echo "cc: not found"; exit "${COMPILER:-0}" ;;
*"Python %d"*) echo Python 3.12; exit ;;
esac
for last; do
    [ "${before:-}" != --find-links ] || links=$last
    [ "${before:-}" != --wheel-dir ] || made=$last
    before=$last
done
case "$*" in
*"pip wheel"*)
    [ -z "${CFLAGS:-}${CXXFLAGS:-}" ] || exit 1
    echo "$WHEEL" >"$made/pybullet-3.2.7-cp312-cp312-x.whl"
    exit "${STATUS:-0}"
    ;;
*--find-links*) cat "$links"/pybullet-*.whl >"$here/installed" 2>/dev/null ;;
*.whl) cat "$last" >"$here/installed" ;;
esac
"""


@pytest.fixture
def machine(tmp_path):
    """A fake environment's folder, and how to build PyBullet for it."""
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "Python.h").touch()
    python = script(tmp_path / "python", FAKE_ENVIRONMENT)

    def build(**variables: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache"), "WHEEL": "NUMPY"} | variables
        return subprocess.run(
            [ROOT / ".ci" / "build-pybullet", python],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
        )

    return tmp_path, build


def kept(folder: Path) -> list[str]:
    """Everything in the folder of kept wheels."""
    return sorted(entry.name for entry in (folder / "cache" / "cog" / "wheels").iterdir())


def test_a_wheel_is_built_once_with_a_word_on_the_time_and_serves_the_next_environment(machine):
    folder, build = machine
    first = build()
    assert first.returncode == 0, first.stderr
    before, _, after = first.stdout.partition("\n")
    assert "PyBullet 3.2.7 has no wheel for Python 3.12 here" in before
    assert "about ten minutes" in before
    assert " min " in after.splitlines()[-1]
    assert kept(folder) == ["pybullet-3.2.7-cp312-cp312-x.whl"]
    (folder / "installed").unlink()  # another clone, with an environment of its own
    second = build(WHEEL="not built again")
    assert (second.returncode, second.stdout) == (0, "")
    assert (folder / "asked").read_text().count("pip wheel") == 1


def test_flags_that_would_replace_the_optimising_ones_do_not_reach_the_build(machine):
    _, build = machine
    built = build(CFLAGS="-g", CXXFLAGS="-g")
    assert built.returncode == 0, built.stderr


def test_pybullet_that_works_is_left_alone(machine):
    folder, build = machine
    (folder / "installed").write_text("NUMPY")
    assert build().returncode == 0
    assert "pip" not in (folder / "asked").read_text()


@pytest.mark.parametrize(
    "trouble", [{"STATUS": "1"}, {"WHEEL": "no support"}], ids=["half built", "without NumPy"]
)
def test_a_wheel_that_is_not_whole_or_lacks_numpy_is_not_kept(machine, trouble):
    folder, build = machine
    failed = build(**trouble)
    assert failed.returncode == 1
    assert "PyBullet 3.2.7" in failed.stderr
    assert kept(folder) == []


def test_a_missing_compiler_or_missing_headers_are_told_before_the_build_with_the_remedy(machine):
    folder, build = machine
    failed = build(COMPILER="1")
    assert failed.returncode == 1
    assert "C++ compiler is missing" in failed.stderr
    assert "apt install g++" in failed.stderr
    (folder / "include" / "Python.h").unlink()
    failed = build()
    assert failed.returncode == 1
    assert "apt install python3-dev" in failed.stderr
    assert "pip wheel" not in (folder / "asked").read_text()
    assert kept(folder) == []


@pytest.fixture
def untold(monkeypatch):
    """Nothing was said of slow pictures yet, and what a test says is forgotten after it."""
    monkeypatch.setenv(bullet.TOLD, "1")
    monkeypatch.delenv(bullet.TOLD)


def view(client: Client) -> np.ndarray:
    """A red box on a green one, not square."""
    client.solid("box", (1.0, 1.0, 0.02), (0.1, 0.8, 0.2), 0.0, np.zeros(3))
    client.solid("box", (0.1, 0.2, 0.1), (0.9, 0.1, 0.1), 0.0, np.array([0.0, 0.1, 0.1]), yaw=0.3)
    return client.image(24, 36)


def test_pictures_are_the_same_without_numpy_support_and_warn_once(monkeypatch, untold):
    with_numpy = Client(CAMERA)
    expected = view(with_numpy)
    with_numpy.close()
    assert len(np.unique(expected)) > 2

    real = pybullet.getCameraImage

    def numbers(*args, **kwargs):
        width, height, pixels, depth, mask = real(*args, **kwargs)
        plain = tuple(int(number) for number in np.asarray(pixels).reshape(-1))
        return width, height, plain, tuple(np.asarray(depth).reshape(-1)), mask

    monkeypatch.setattr(pybullet, "isNumpyEnabled", lambda: 0)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for _ in range(2):
            client = Client(CAMERA)
            client.api.getCameraImage = partial(numbers, physicsClientId=client.api._client)
            np.testing.assert_array_equal(view(client), expected)
            client.close()
    assert len(said) == 1
    assert "--no-build-isolation" in str(said[0].message)


def test_workers_do_not_repeat_what_their_parent_said_of_slow_pictures(monkeypatch, untold):
    code = """
import pybullet
from cog.envs.bullet import Client
from tests.test_pythons import CAMERA
pybullet.isNumpyEnabled = lambda: 0
Client(CAMERA).close()
"""

    def said() -> str:
        return subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        ).stderr

    assert said().count("built without NumPy") == 1
    monkeypatch.setattr(pybullet, "isNumpyEnabled", lambda: 0)
    with pytest.warns(UserWarning, match="built without NumPy"):
        Client(CAMERA).close()
    assert "built without NumPy" not in said()


def test_this_pybullet_has_numpy_support():
    assert pybullet.isNumpyEnabled() == 1


def test_the_running_python_is_one_that_is_promised():
    classifier = f"Programming Language :: Python :: {sys.version_info.major}.{sys.version_info.minor}"
    assert classifier in (ROOT / "setup.cfg").read_text()
