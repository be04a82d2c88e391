"""The `cog` command as its help describes it: commands, their options, defaults and sentences."""

import contextlib
import dataclasses
import functools
import io
import os
import re
from dataclasses import dataclass
from unittest import mock

from cog import cli

WIDTH = "100"  # of the help that is read here; narrow, so that it has one column


@dataclass(frozen=True)
class Option:
    """One option or argument."""

    words: str
    """As the help shows it: `--episodes INT`."""
    text: str
    """What it is."""
    default: str
    """Its default, or "required"."""


@dataclass(frozen=True)
class Command:
    """One command."""

    words: tuple[str, ...]
    """Its name, and that of its own subcommand."""
    text: str
    """What it does."""
    options: tuple[Option, ...]
    subcommands: tuple[str, ...]

    @property
    def flags(self) -> set[str]:
        """Every word that begins with two dashes."""
        return {flag for option in self.options for flag in re.findall(r"--[\w.-]+", option.words)}


@functools.cache
def command(*words: str) -> Command:
    """The command of that name, from its help."""
    printed = io.StringIO()
    with mock.patch.dict(os.environ, COLUMNS=WIDTH), contextlib.redirect_stdout(printed):
        try:
            cli.run([*words, "--help"])
        except SystemExit as error:
            assert not error.code, f"cog {' '.join(words)} --help: exit code {error.code}"
    # Into a text without an encoding, boxes are drawn as a title above a line of dashes.
    head, *boxes = re.split(r"^ .*\n -{10,} *$", printed.getvalue(), flags=re.M)
    paragraphs = [" ".join(part.split()) for part in head.strip().split("\n\n")[1:] if part[0] not in " -"]
    subcommands = re.findall(r"^ +(?:[*•] )?([a-z][a-z0-9_]*) {2,}[A-Z]", printed.getvalue(), flags=re.M)
    lines = [line.rstrip() for box in boxes for line in box.splitlines()]
    return Command(words, " ".join(paragraphs), tuple(_options(lines)), tuple(subcommands))


def algorithms() -> list[str]:
    """What `cog train --algorithm` takes."""
    (choice,) = [option for option in command("train").options if option.words.startswith("--algorithm")]
    return re.findall(r"\w+", choice.words.removeprefix("--algorithm"))


@functools.cache
def train() -> Command:
    """`cog train` with the options of every algorithm."""
    options = command("train").options
    for name in algorithms():
        more = command("train", "--algorithm", name).options
        own = [option for option in more if option.words.startswith(f"--{name.replace('_', '-')}.")]
        options += tuple(option for option in own if option not in options)
    return dataclasses.replace(command("train"), options=options)


def commands() -> list[Command]:
    """Every command, in the order of `cog --help`, a command with subcommands before these."""
    found = []
    for name in command().subcommands:
        found.append(train() if name == "train" else command(name))
        found += [command(name, part) for part in command(name).subcommands]
    return found


def known_flags(words: list[str]) -> set[str]:
    """The flags of the command that a command line names, and those of its subcommands."""
    top = train() if words[0] == "train" else command(words[0])
    return top.flags.union(*(command(words[0], part).flags for part in top.subcommands))


def _options(lines: list[str]) -> list[Option]:
    """The entries of a box: two spaces begin one, further ones go on with its text."""
    entries: list[tuple[str, list[str]]] = []
    for line in lines:
        if entries and entries[-1][0].endswith(",") and not any(entries[-1][1]):  # its choices go on
            entries[-1] = (entries[-1][0] + line.strip(), entries[-1][1])
        elif re.match(r"  [^ *•]", line):
            words, _, text = line[2:].partition("  ")
            entries.append((words, [text.strip()]))
        elif entries:
            entries[-1][1].append(line.strip())
    found = []
    for words, texts in entries:
        text = " ".join(part for part in texts if part)
        match = re.match(r"(.*?) ?\((?:default: (.*?)|(required))\)$", text)
        if match:
            found.append(Option(words, match[1], match[3] or match[2] or "none"))
    return found
