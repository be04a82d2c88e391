"""What a run says about the machine and the software it ran on."""

import contextlib
import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

from cog.core.files import code_version
from cog.core.workers import cores

VERSIONS = ("torch", "pybullet", "numpy", "gymnasium", "h5py")


def versions() -> dict[str, str]:
    """Versions of this package, Python and the libraries that decide numbers."""
    found = {name: metadata.version(name) for name in VERSIONS}
    return {"cog": code_version(), "python": platform.python_version(), **found}


def machine() -> dict[str, Any]:
    """What is known of the machine without asking who owns it."""
    return {
        "cpus": os.cpu_count(),
        "cpus usable": cores(),
        "architecture": platform.machine(),
        "processor": processor(),
        "system": platform.system(),
    }


def processor() -> str:
    """The processor's name, as far as the system tells (Linux), or its architecture."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.machine()
