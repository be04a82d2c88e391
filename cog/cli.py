"""The `cog` command: choose one command, parse its options by type, run it, exit with its code."""

import itertools
import os
import re
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cog.core.lazy import Entry
from cog.core.options import with_usable_paths
from cog.core.program import choose, exit_codes
from cog.errors import CogError, UsageError

DASHED = re.compile(r"-[^-\d.]")  # what is read as an option of one letter; not a negative number
ABOUT = "Connect a new skill to past experience with offline reinforcement learning."


def _entry(module: str, name: str, help: str) -> Entry:
    return Entry(f"cog.commands.{module}", name, help)


COMMANDS: Mapping[str, Entry] = {
    "collect": _entry("collect", "Collect", "Run scripted behaviours or a policy and write a dataset."),
    "teleop": _entry("collect", "Teleop", "Demonstrate with the keyboard; the episodes become a dataset."),
    "import": _entry("exchange", "Import", "Turn data of another package into a dataset."),
    "relabel": _entry("rewards", "Relabel", "Give a dataset rewards by a rule; its shards do not change."),
    "classify": _entry("rewards", "Classify", "Train a success classifier, to reward data without signals."),
    "merge": _entry("datasets", "Merge", "Join task and prior datasets into one training set."),
    "verify": _entry("datasets", "Verify", "Check a dataset, merge or run, and name what is wrong."),
    "export": _entry("exchange", "Export", "Write a dataset or a merge in the format of another tool."),
    "train": _entry("learn", "Train", "Train a policy on merged data."),
    "evaluate": _entry("learn", "Evaluate", "Run a policy from named starts and report its success."),
    "finetune": _entry("learn", "Finetune", "Continue training a policy online."),
    "demo": _entry("experiments", "Demo", "Run the whole chain, from collection to a report."),
    "reproduce": _entry("experiments", "Reproduce", "Repeat the paper's experiments."),
    "study": _entry("studies", "Study", "Answer one question about methods with numbers and pictures."),
    "info": _entry("datasets", "Info", "Print what a dataset holds."),
    "filter": _entry("datasets", "Filter", "Copy the episodes that satisfy conditions into a new dataset."),
    "split": _entry("datasets", "Split", "Distribute the episodes of a dataset over several new datasets."),
    "pack": _entry("datasets", "Pack", "Put a whole dataset, views included, into one file."),
    "unpack": _entry("datasets", "Unpack", "Write the files of a packed dataset into a new folder."),
    "sample": _entry("datasets", "Sample", "Show the content of the first batch of a training run."),
    "why": _entry("provenance", "Why", "Print what something was made from, back to the first episode."),
    "bench": _entry("experiments", "Bench", "Measure the speed of environment, data and updates here."),
}
"""Every command, with the module that is imported when it is chosen."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `cog` and exit: 0 done, 1 failed, 2 wrong usage."""
    with suppress(OSError):  # the current folder may have been removed
        if (folder := str(Path.cwd())) not in sys.path:
            sys.path.append(folder)  # so that the user's scenes and rewards can be modules there
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # errors here name the file
    with exit_codes():
        command = parse(sys.argv[1:] if arguments is None else arguments)
        try:
            code = command.run()
        except SystemExit as end:  # no command of the toolkit ends so
            raise CogError(
                f"code of yours ends the program: sys.exit({end.code!r})",
                remedy="raise an exception there, or return",
            ) from end
        sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line in this process and return its exit code."""
    before = signal.getsignal(signal.SIGINT)
    try:
        main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)  # which the end of a program ignores
    raise AssertionError("main always exits")


def parse(arguments: Sequence[str]) -> Any:
    """The command that `arguments` ask for, with its options; --help and unknown options exit.

    Raises:
        UsageError: there is no such command, or a path looks like an option.
        CogError: no file can have one of the paths.
    """
    name, entry, options = choose(COMMANDS, "command", "cog COMMAND [OPTIONS]", ABOUT, arguments)
    import tyro  # late: the list of commands does not need it

    command = entry.load()
    _refuse_dashed(options)
    if hasattr(command, "parse"):  # some of its options determine the others
        return with_usable_paths(command.parse(options))
    return with_usable_paths(tyro.cli(command, prog=f"cog {name}", args=options))


def _refuse_dashed(arguments: Sequence[str]) -> None:
    """Refuse a file or folder that is named like an option and would be read as one.

    Raises:
        UsageError: naming it.
    """
    for before, argument in itertools.pairwise(["", *arguments]):
        if argument == "--":  # after which nothing is an option
            return
        if not DASHED.match(argument) or argument == "-h" or before in ("--rule", "--only"):
            continue
        if os.path.exists(argument):  # noqa: PTH110 - a text that no file can have is no path
            raise UsageError(f"{argument!r} is read as an option", remedy=f"write ./{argument} for the path")


if __name__ == "__main__":
    main()
