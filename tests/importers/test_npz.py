"""Rows of npz files are read in any order as they were written; damage and objects are refused."""

import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cog.datasets.importers.foreign.npz import NpzFile
from cog.datasets.storage.problem import DataError

MANY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@MANY
@given(
    data=st.data(),
    array=hnp.arrays(
        st.sampled_from([np.uint8, np.float32, np.float64, np.int64, np.bool_, ">i4"]),
        hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=6),
    ),
    columns_first=st.booleans(),
    packed=st.booleans(),
)
def test_rows_are_those_of_the_array_in_any_order_of_reading(tmp_path, data, array, columns_first, packed):
    array = np.asfortranarray(array) if columns_first else array
    (np.savez_compressed if packed else np.savez)(tmp_path / "a.npz", one=array, two=np.arange(3))
    file = NpzFile(tmp_path / "a.npz")
    assert file.arrays()["one"] == (array.dtype, array.shape)
    for _ in range(4):
        begin = data.draw(st.integers(0, len(array)))
        end = data.draw(st.integers(begin, len(array) + 2) | st.none())
        np.testing.assert_array_equal(file.read("one", begin, end), array[begin:end], strict=True)
        np.testing.assert_array_equal(file.read("two", 1, 2), [1])
    file.close()


def test_an_array_of_objects_is_refused_before_anything_of_it_is_read(tmp_path):
    np.savez(tmp_path / "a.npz", one=np.array([{"a": 1}], object))
    with pytest.raises(DataError, match="must be plain numbers, found type object"):
        NpzFile(tmp_path / "a.npz").read("one")


@pytest.mark.parametrize("cut", [1, 60, 200])
def test_a_file_that_ends_early_is_refused(tmp_path, cut):
    np.savez_compressed(tmp_path / "a.npz", one=np.random.default_rng(0).integers(0, 255, 500))
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[:-cut])
    with pytest.raises(DataError, match="cannot be read as npz"):
        NpzFile(tmp_path / "a.npz")


def test_a_changed_byte_is_found_by_the_checksum(tmp_path):
    np.savez(tmp_path / "a.npz", one=np.zeros(5000, np.uint8))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[3000] = 1
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(DataError, match="Bad CRC"):
        NpzFile(tmp_path / "a.npz").read("one")


def test_a_shape_that_claims_more_than_the_file_holds_is_refused(tmp_path):
    np.save(tmp_path / "one.npy", np.zeros((10, 10)))
    claims = (tmp_path / "one.npy").read_bytes().replace(b"(10, 10)", b"(99, 99)")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("one.npy", claims)
    with pytest.raises(DataError, match="its shape asks for others"):
        NpzFile(tmp_path / "a.npz")
