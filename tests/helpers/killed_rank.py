"""`cog`, of which rank 1 is killed in mid-run (see tests/test_parallel.py)."""

import os
import signal

import pytest

from cog import cli
from tests.helpers.ranks import strike

if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as patch:
        if os.environ["RANK"] == "1":
            strike(patch, signal.SIGKILL)
        cli.main()
