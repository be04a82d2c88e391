"""The `cog` command: parse options by type, run, and turn errors into one line and an exit code."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from cog.commands import bench, classify, data, export, tools
from cog.commands import collect as collection
from cog.commands import exchange as travel
from cog.commands import experiments as chain
from cog.commands import learn as learning
from cog.commands import provenance as lineage
from cog.core.exits import ended


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `cog` and exit: 0 done, 1 failed, 2 wrong usage."""
    sys.exit(run(sys.argv[1:] if arguments is None else list(arguments)))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # scenes and rewards of one's own are modules of the current folder
    return ended(lambda: parse(arguments).run())


def parse(arguments: Sequence[str]) -> Any:
    """The command that `arguments` ask for; exits with 2 when there is none or an option is unknown."""
    subcommands: dict[str, Any] = {
        "collect": collection.Collect,
        "teleop": collection.Teleop,
        "import": travel.Import,
        "relabel": data.Relabel,
        "classify": classify.Classify,
        "merge": data.Merge,
        "verify": data.Verify,
        "export": export.Export,
        "train": learning.Train,
        "evaluate": learning.Evaluate,
        "finetune": learning.Finetune,
        "demo": chain.Demo,
        "reproduce": chain.Reproduce,
        "info": data.Info,
        "filter": tools.Filter,
        "split": tools.Split,
        "pack": tools.Pack,
        "unpack": tools.Unpack,
        "sample": tools.Sample,
        "why": lineage.Why,
        "bench": bench.Bench,
    }
    if arguments[:1] == ["train"]:
        return learning.parse_train(arguments[1:])
    return tyro.extras.subcommand_cli_from_dict(
        subcommands,
        prog="cog",
        description="Connect a new skill to past experience with offline reinforcement learning.",
        args=arguments,
    )


if __name__ == "__main__":
    main()
