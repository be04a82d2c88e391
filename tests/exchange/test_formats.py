"""Every format of import and export is listed, opens or writes what it says, and explains its options."""

import dataclasses
import inspect
import re

import pytest

from cog import cli
from cog.datasets import exporters, importers
from cog.datasets.exporters.run import ExportOptions
from cog.datasets.importers.source import ImportOptions

TABLES = {"import": (importers.FORMATS, ImportOptions), "export": (exporters.FORMATS, ExportOptions)}
FORMATS = [(command, name) for command, (table, _) in TABLES.items() for name in table]


def options_of(command, name):
    return TABLES[command][0][name].load()


def documented(kind):
    """Names of the fields of a dataclass and its bases that have a docstring of one sentence."""
    found = set()
    for base in kind.__mro__:
        if dataclasses.is_dataclass(base):
            source = inspect.getsource(base)
            found |= set(re.findall(r'^    (\w+): [^\n]+\n    """[A-Z][^\n]+\."""$', source, flags=re.M))
    return found


@pytest.mark.parametrize("command", TABLES)
def test_a_command_lists_its_formats_and_refuses_others_by_name(command, capsys):
    table, _ = TABLES[command]
    assert cli.run([command, "--help"]) == 0
    shown = capsys.readouterr().out
    for name, entry in table.items():
        assert f"  {name} " in shown and entry.help in shown
    assert cli.run([command, "robomimics", "x", "--out", "y"]) == 2
    assert "there is no format 'robomimics'. Did you mean 'robomimic'?" in capsys.readouterr().err


@pytest.mark.parametrize(("command", "name"), FORMATS)
def test_a_format_brings_frozen_options_with_a_sentence_each_in_its_own_file(command, name):
    kind = options_of(command, name)
    assert issubclass(kind, TABLES[command][1]) and kind.format == name
    assert kind.__dataclass_params__.frozen
    assert kind.__module__ == f"cog.datasets.{command}ers.{name}"
    assert {field.name for field in dataclasses.fields(kind)} == documented(kind) - {"format"}


@pytest.mark.parametrize(("command", "name"), FORMATS)
def test_the_help_of_a_format_shows_its_options_and_no_other_formats(command, name, capsys):
    kinds = [options_of(command, other) for other in TABLES[command][0]]
    fields = {item.name for kind in kinds for item in dataclasses.fields(kind)}
    own = {item.name for item in dataclasses.fields(options_of(command, name))}
    assert cli.run([command, name, "--help"]) == 0
    shown = capsys.readouterr().out
    for field in fields:
        assert (f"--{field.replace('_', '-')} " in shown) == (field in own), field
