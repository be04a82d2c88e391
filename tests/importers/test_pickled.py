"""The restricted reader gives back plain data as they were pickled, and refuses every other name."""

import io
import pickle
import pickletools

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cog.datasets.importers.foreign.pickled import plain, read_objects
from cog.datasets.storage.problem import DataError

MANY = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ARRAYS = hnp.arrays(
    st.sampled_from([np.uint8, np.float32, np.float64, np.int64, np.bool_, ">f4", "U3", "S2"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
NUMBERS = st.sampled_from([np.float64(1.5), np.float32(-2), np.bool_(True), np.int64(7), np.uint8(3)])
DATA = st.recursive(
    LEAVES | ARRAYS | ARRAYS.map(np.asfortranarray) | NUMBERS,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=8,
)


def header():
    """What NumPy writes before the pickle of an array of objects with one axis and two elements."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|O", "fortran_order": False, "shape": (2,)})
    return stream.getvalue()


def save(path, values, protocol=4):
    """An npy file as np.save writes it, in any protocol of pickle."""
    array = np.empty(len(values), object)
    array[:] = values
    path.write_bytes(header() + pickle.dumps(array, protocol=protocol))
    return path


def assert_same(found, wanted):
    found = plain(found)
    if isinstance(wanted, np.ndarray | np.generic):
        np.testing.assert_array_equal(found, wanted)
        if isinstance(wanted, np.ndarray):
            assert found.dtype == wanted.dtype and found.shape == wanted.shape
    elif isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for key in wanted:
            assert_same(found[key], wanted[key])
    elif isinstance(wanted, list | tuple):
        assert type(found) is type(wanted) and len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)
    else:
        assert found == wanted and type(found) is type(wanted)


@settings(MANY, max_examples=100)
@given(values=st.lists(DATA, min_size=2, max_size=2), protocol=st.integers(0, 5))
def test_plain_data_come_back_in_every_protocol(tmp_path, values, protocol):
    found = read_objects(save(tmp_path / "a.npy", [{"one": value} for value in values], protocol))
    assert_same(found, [{"one": value} for value in values])


def test_what_numpy_itself_saves_comes_back(tmp_path):
    values = [{"images": [np.arange(12, dtype=np.uint8).reshape(2, 2, 3)], "reward": np.float64(1)}] * 2
    np.save(tmp_path / "a.npy", values)
    assert_same(read_objects(tmp_path / "a.npy"), values)


class Names:
    """A pickle of it names a routine, harmless or not; reading one runs it."""

    def __init__(self, routine, *arguments):
        self.routine, self.arguments = routine, arguments

    def __reduce__(self):
        return self.routine, self.arguments


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Names(print, "hello"), "builtins.print"),
        (Names(dict), "builtins.dict"),
        (Names(complex, 1), "builtins.complex"),
        (Names(getattr, "a", "b"), "builtins.getattr"),
        (set, "builtins.set"),
        (np.random.default_rng, "numpy.random"),
        (np.zeros, "numpy.zeros"),
        (np.float64, "numpy.float64"),
        (io.BytesIO, "_io.BytesIO"),
    ],
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_any_other_name_is_refused_and_nothing_runs(tmp_path, capsys, value, named, protocol):
    path = save(tmp_path / "a.npy", [{"one": value}, {}], protocol)
    with pytest.raises(DataError, match="it names ") as refused:
        read_objects(path)
    assert named.split(".")[-1] in str(refused.value)
    assert capsys.readouterr().out == ""


@MANY
@given(data=st.data())
def test_changed_bytes_never_give_more_than_plain_data_or_a_refusal(tmp_path, data):
    body = pickle.dumps(np.array([{"a": np.arange(3.0)}, {"b": [1, "x", b"y"]}], object), protocol=4)
    changed = bytearray(body)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "a.npy").write_bytes(header() + bytes(changed))
    try:
        found = read_objects(tmp_path / "a.npy")
    except DataError:
        return
    assert isinstance(found, list)


@pytest.mark.parametrize("put", [b"r\xff\xff\xff\x7f", b"r\xff\xff\x00\x00", b"p9999999999\n"])
def test_a_place_for_which_the_file_is_too_small_is_refused_before_memory_is_allotted(tmp_path, put):
    (tmp_path / "a.npy").write_bytes(machine(b"N", put))
    with pytest.raises(DataError, match="keeps a value at place"):
        read_objects(tmp_path / "a.npy")


def machine(*parts):
    """A pickle put together by hand."""
    return header() + b"\x80\x04" + b"".join(parts) + b"."


def by_name(module, name):
    return b"c" + f"{module}\n{name}\n".encode()


KIND = by_name("numpy", "dtype") + b"\x8c\x02f8\x85R"  # dtype("f8")
OBJECTS = by_name("numpy", "dtype") + b"\x8c\x01O\x85R"
EMPTY = by_name("numpy.core.multiarray", "_reconstruct") + b")R"


@pytest.mark.parametrize(
    "content",
    [
        machine(KIND, b"(K\x03\x8c\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb"),  # a type alone
        machine(EMPTY, b"(K\x01K\x08\x85", OBJECTS, b"\x89C\x08AAAAAAAAtb"),  # pointers as bytes
        machine(EMPTY, b"(K\x01K\x09\x85", KIND, b"\x89C\x08AAAAAAAAtb"),  # more than there is
        machine(EMPTY, b"(K\x01J\xff\xff\xff\xff\x85", KIND, b"\x89C\x00tb"),  # a negative side
        machine(KIND, b"(K\x03\x8c\x01|N\x8c\x01a\x85}J\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb"),  # fields
        machine(by_name("numpy.core.multiarray", "scalar"), b"}b"),  # attributes for a routine
        machine(by_name("numpy.core.multiarray", "scalar"), OBJECTS, b"C\x08AAAAAAAA\x86R"),
        machine(b"\x8c\x01ax"),
        header(),
        header() + b"no pickle",
        b"no npy",
    ],
)
def test_pickles_made_by_hand_are_refused(tmp_path, content):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError):
        read_objects(tmp_path / "a.npy")


def test_a_plain_array_and_a_missing_file_are_refused_with_a_reason(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(DataError, match="must be an array of objects"):
        read_objects(tmp_path / "a.npy")
    with pytest.raises(DataError, match="cannot be read"):
        read_objects(tmp_path / "missing.npy")


def test_the_pickles_made_here_are_of_the_protocols_that_they_say(tmp_path):
    for protocol in range(2, 6):
        data = save(tmp_path / "a.npy", [{}, {}], protocol).read_bytes()[len(header()) :]
        assert next(pickletools.genops(data))[1] == protocol
