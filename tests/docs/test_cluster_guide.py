"""The guide to several machines: its commands run as printed, with smaller numbers and a free port."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "cluster.md"
SMALLER = "--task-episodes 3 --prior-episodes 3 --updates 2 --episodes 1"


def test_every_command_of_the_guide_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"```bash\n(.*?)```", GUIDE.read_text(), flags=re.S)
    assert len(blocks) == 2
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    text = "set -e\n" + "".join(blocks)
    text = text.replace("--quick --out", f"{SMALLER} --workers 1 --out")
    text = text.replace("--quick", SMALLER).replace("8786", port)
    text = text.replace("dask scheduler", "dask scheduler --dashboard-address 127.0.0.1:0")
    text = text.replace(" --nworkers 2", " --nworkers 2 --dashboard-address 127.0.0.1:0")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    run = subprocess.Popen(
        ["bash", "-c", text],
        cwd=tmp_path,
        env={**os.environ, "PATH": path},
        stdout=subprocess.DEVNULL,
        stderr=(tmp_path / "told").open("w"),
        start_new_session=True,
    )
    try:
        assert run.wait(timeout=280) == 0, (tmp_path / "told").read_text()
    finally:
        os.killpg(run.pid, signal.SIGKILL)  # the scheduler and its workers
    found = [(tmp_path / "runs" / name / "summary.json").read_text() for name in ("quick", "shared")]
    results = [text[text.index('"results"') : text.index('"seconds"')] for text in found]
    assert results[0] == results[1]
