"""Options written as text mean what they say, or are refused."""

import pytest

from cog.core.options import parse_options
from cog.errors import UsageError


def test_values_are_json_or_pythons_truth_values_or_words():
    read = parse_options(["a=1", "b=0.5", "c=true", "d=False", "e=True", 'f=["x","y"]', "g=plain"])
    assert read == {"a": 1, "b": 0.5, "c": True, "d": False, "e": True, "f": ("x", "y"), "g": "plain"}


@pytest.mark.parametrize("text", ["a", "=1", "a=NaN", "a=Infinity", "a=[1, -Infinity]"])
def test_a_text_without_a_name_or_with_a_number_that_is_not_finite_is_refused(text):
    with pytest.raises(UsageError, match=r"cannot be read\. Write name=value"):
        parse_options([text])


def test_a_name_that_comes_twice_is_refused():
    with pytest.raises(UsageError, match="'a=2' cannot be read"):
        parse_options(["a=1", "a=2"])
