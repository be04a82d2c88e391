"""Flags of ends and marks of success: 0 and 1 are known, anything else is refused by name, never guessed."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cog.datasets.importers.source import as_flags, ended_last
from cog.datasets.storage.problem import DataError
from tests.importers.formats.test_robomimic_forms import add_demo, import_file

KNOWN = st.sampled_from([0, 1, 0.0, 1.0, False, True])
ODD = st.one_of(st.floats(allow_nan=True), st.integers(-5, 5)).filter(lambda value: value not in (0, 1))


@given(st.lists(KNOWN, min_size=1, max_size=8))
def test_zeros_and_ones_of_any_type_are_flags(values):
    for shape in ((-1,), (-1, 1)):
        found = as_flags(Path("a"), "ends", np.asarray(values).reshape(shape))
        assert found.dtype == bool and found.tolist() == [value == 1 for value in values]


@given(st.lists(KNOWN, max_size=5), ODD, st.lists(KNOWN, max_size=5))
def test_any_other_value_is_refused_with_its_row(before, odd, after):
    values = np.asarray([*map(float, before), odd, *map(float, after)])
    with pytest.raises(DataError, match=f"must be 0 or 1 in every row, found .* in row {len(before)}"):
        as_flags(Path("a"), "ends", values)
    with pytest.raises(DataError, match="must be 0 or 1"):
        ended_last(Path("a"), "ends", values, 0)


def test_a_mark_of_success_that_is_no_number_is_refused(tmp_path, capsys):
    def make(data):
        demo = add_demo(data)
        steps = len(demo["actions"])
        demo["solved"] = np.r_[np.zeros(steps - 1), math.nan]

    code, said = import_file(tmp_path, capsys, make, "--success", "solved")
    assert code == 1 and "'demo_0/success': must be finite, found nan at step" in said
