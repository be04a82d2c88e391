"""An error says what is wrong, where, and how to mend it, and knows its exit code."""

import pickle
from pathlib import Path

import pytest

from cog.core.sealed import SealError
from cog.datasets.storage.problem import DataError, Problem
from cog.errors import CogError, FailedElsewhere, UsageError, missing_extra

PROBLEM = Problem(Path("a.h5"), "actions", "must be finite", "repair it", 3)
SEAL = SealError(Path("a.json"), "seal", "is broken", "make it again")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CogError("the shelf is bent"), "the shelf is bent"),
        (CogError("bent", where=Path("shelf")), "shelf: bent"),
        (CogError("bent", where="shelf", remedy="replace it"), "shelf: bent. Replace it"),
        (CogError("Is it bent?", remedy="replace it"), "Is it bent? Replace it"),
        (UsageError("bent", remedy="--straight helps"), "bent. --straight helps"),
        (DataError(PROBLEM), "a.h5: episode 3, field 'actions': must be finite. Repair it"),
        (
            SEAL,
            "a.json: field 'seal': is broken. Make it again",
        ),
        (FailedElsewhere("bent", 2), "bent"),
        (
            missing_extra("av", "lerobot"),
            "this needs the package 'av' (of the extra 'lerobot'). Install it with: pip install av",
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_text_of_an_error_is_composed_of_its_parts(error, text):
    assert str(error) == text


@pytest.mark.parametrize(
    "error",
    [
        CogError("bent", where="shelf", remedy="replace it"),
        UsageError("bent", remedy="replace it"),
        DataError(PROBLEM),
        SEAL,
        FailedElsewhere("bent", 2),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_comes_out_of_a_worker_process_as_it_was(error):
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error) and str(back) == str(error)
    assert (back.what, back.where, back.remedy) == (error.what, error.where, error.remedy)
    assert back.exit_code == error.exit_code


def test_exit_codes_say_whether_the_command_line_was_wrong():
    assert (CogError.exit_code, UsageError.exit_code, DataError(PROBLEM).exit_code) == (1, 2, 1)
    assert FailedElsewhere("bent", 2).exit_code == 2 and FailedElsewhere.exit_code == 1
