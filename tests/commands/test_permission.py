"""Who may not read a file is told so, whatever the file is: not that it is damaged, or to write elsewhere."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

import cog
from cog.core.files import PERMIT, read_remedy
from tests.helpers.learner_data import config, noise

AS_OTHERS = ("setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search")
"""Without the superuser's right to read what nobody may."""
COMMANDS = """
import contextlib, sys
from cog import cli

for line in sys.stdin.read().splitlines():
    print("COMMAND", line, flush=True)
    with contextlib.redirect_stderr(sys.stdout):
        cli.run(line.split())
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Files of many kinds that nobody may read."""
    if not os.geteuid() and not shutil.which(AS_OTHERS[0]):
        pytest.skip("the superuser may read everything")
    root = tmp_path_factory.mktemp("denied")
    with h5py.File(root / "s.hdf5", "w") as file:
        file["data/demo_0/actions"] = np.zeros((3, 2))
        file["data/demo_0/obs/pose"] = np.zeros((3, 2))
    np.savez(root / "s.npz", actions=np.zeros((3, 2)), observations=np.zeros((3, 2)), terminals=np.zeros(3))
    with zipfile.ZipFile(root / "s.zarr.zip", "w") as file:
        file.writestr(".zgroup", '{"zarr_format": 2}')
    with cog.DatasetWriter(root / "data", image_size=8) as writer:
        images = np.zeros((5, 8, 8, 3), np.uint8)
        writer.add_episode(np.zeros((4, 3)), images=images, success=True)
    cog.relabel(root / "data", "recorded_success", "s")
    shutil.copytree(root / "data", root / "closed")
    cog.merge(root / "m.json", f"{root}/data@s")
    cog.train(config(root / "run", updates=1), noise())
    denied = [
        *(root / name for name in ("s.hdf5", "s.npz", "s.zarr.zip", "m.json")),
        *(root / "data").rglob("*.h5"),
        root / "closed" / "manifest.json",
        *(root / "run").rglob("model.safetensors"),
    ]
    for path in denied:
        path.chmod(0)
    yield root
    for path in denied:
        path.chmod(0o644)


def test_every_command_that_reads_speaks_of_the_permission(place: Path):
    commands = [
        f"import {place}/s.hdf5",
        f"import robomimic {place}/s.hdf5 --out {place}/o --proprio pose",
        f"import {place}/s.npz",
        f"import d4rl {place}/s.npz --out {place}/o",
        f"import diffusion_policy {place}/s.zarr.zip --out {place}/o",
        f"verify {place}/data",
        f"relabel {place}/data --rule zero --name z",
        f"pack {place}/data --out {place}/o.cog",
        f"verify {place}/closed",
        f"train --data {place}/closed --out {place}/o --updates 1",
        f"train --data {place}/m.json --out {place}/o --updates 1",
        f"evaluate --checkpoint {place}/run --out {place}/o",
    ]
    program = [sys.executable, "-c", COMMANDS]
    if not os.geteuid():
        program = [*AS_OTHERS, *program]
    ended = subprocess.run(program, input="\n".join(commands), capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    parts = ended.stdout.split("COMMAND ")[1:]
    assert len(parts) == len(commands)
    for part in parts:
        said = " ".join(part.split())
        assert "Ask for the permission to read it" in said, said
        assert "write into" not in said and "from a copy" not in said, said


@pytest.mark.parametrize(
    ("error", "permitted"), [(PermissionError(13, "no"), False), (OSError(5, "io"), True)]
)
def test_only_a_denied_permission_has_that_remedy(error: OSError, permitted: bool):
    assert read_remedy(error, "restore it") == ("restore it" if permitted else PERMIT)
