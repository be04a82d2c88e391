"""Links, filters and locks of HDF5 files: what lies in the file is read, all else is told as what it is."""

import errno

import h5py
import numpy as np
import pytest

from cog.datasets.importers.foreign.hdf5 import ForeignFile
from cog.datasets.storage.problem import DataError
from tests.importers.formats.test_robomimic_forms import STATE, STEPS, add_demo, episodes_of, import_file


def soft_within(data):
    add_demo(data)
    add_demo(data, "demo_1")
    data["demo_2"] = h5py.SoftLink("/data/demo_0")
    data["demo_3"] = h5py.SoftLink("demo_2")
    for group in ("obs", "next_obs"):
        del data[f"demo_1/{group}/q"]
        data[f"demo_1/{group}/q"] = h5py.SoftLink(f"/data/demo_3/{group}/q")


def test_links_within_the_file_are_followed(tmp_path, capsys):
    code, text = import_file(tmp_path, capsys, soft_within)
    assert code == 0 and "4 episodes" in text
    for episode in episodes_of(tmp_path):
        np.testing.assert_array_equal(episode.state, STATE.astype(np.float32))


def test_what_a_linked_group_lacks_is_missing_and_what_a_link_names_in_vain_is_told(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["held/x"] = [1.0]
        file["to_held"] = h5py.SoftLink("held")
        file["to_nothing"] = h5py.SoftLink("held/y")
        file["by_way"] = h5py.SoftLink("/to_held")
    with ForeignFile(tmp_path / "a.h5") as file:
        for group in ("held", "to_held", "by_way"):
            assert f"{group}/x" in file and f"{group}/y" not in file and f"{group}/x/y" not in file
        for name in ("to_nothing", "to_nothing/x"):
            with pytest.raises(DataError, match="leads through a link to what is not in this file"):
                file.names(name)


def elsewhere(tmp_path):
    """Ways to name what is not in the file, and what each must be told as."""
    with h5py.File(tmp_path / "secret.hdf5", "w") as secret:
        add_demo(secret.create_group("data"))
    other, raw = tmp_path / "secret.hdf5", tmp_path / "raw"
    raw.write_bytes(bytes(STEPS * 2 * 8))
    layout = h5py.VirtualLayout((STEPS, 2), np.float64)
    layout[:] = h5py.VirtualSource(other, "data/demo_0/actions", (STEPS, 2))

    def link(place, value):
        def make(data):
            add_demo(data, "demo_7")
            if place in data:
                del data[place]
            data[place] = value

        return make

    def virtual(data):
        del add_demo(data)["actions"]
        data.create_virtual_dataset("demo_0/actions", layout)

    def external(data):
        del add_demo(data)["actions"]
        data.create_dataset("demo_0/actions", (STEPS, 2), "f8", external=[(str(raw), 0, STEPS * 2 * 8)])

    def objects(data):
        del add_demo(data)["actions"]
        data.create_dataset("demo_0/actions", (STEPS,), h5py.vlen_dtype(np.float64))

    def huge(data):
        del add_demo(data)["actions"]
        data.create_dataset("demo_0/actions", (2**40, 2), np.float64, chunks=(1, 2))

    def circle(data):
        add_demo(data)["obs/again"] = h5py.SoftLink("/data/demo_0")

    def through(data):
        data.file["away"] = h5py.ExternalLink(other, "/data")
        add_demo(data)
        data["demo_1"] = h5py.SoftLink("/away/demo_0")

    def in_turn(made):
        """A virtual array of this very file, of one whose values lie elsewhere."""

        def make(data):
            made(data)
            within = h5py.VirtualLayout((STEPS, 2), np.float64)
            within[:] = h5py.VirtualSource(".", "/data/held", (STEPS, 2))
            data.move("demo_0/actions", "held")
            data.create_virtual_dataset("demo_0/actions", within)

        return make

    file = h5py.ExternalLink(other, "/data/demo_0")
    away = ("must not be a link to another file", "h5copy -p -f ext")
    return {
        "another file": (link("demo_0", file), *away),
        "an array of another file": (link("demo_7/actions", h5py.ExternalLink(other, "/x")), *away),
        "another file by a soft link": (through, *away),
        "nothing": (link("demo_0", h5py.SoftLink("/none")), "what is not in this file", "emove the link"),
        "themselves": (link("demo_0", h5py.SoftLink("/data/demo_0")), "in a circle", "emove"),
        "what holds them": (circle, "has no end", "emove the link"),
        "a virtual array": (virtual, "not in others", "with h5py"),
        "raw bytes": (external, "not in others", "with h5py"),
        "a virtual array in turn": (in_turn(virtual), "not in others", "with h5py"),
        "raw bytes in turn": (in_turn(external), "not in others", "with h5py"),
        "a link in turn": (in_turn(link("demo_0/actions", h5py.ExternalLink(other, "/x"))), *away),
        "objects": (objects, "plain numbers, found type object", "fixed size"),
        "too much": (huge, "more than the file can hold", "estore"),
    }


def test_what_is_not_in_the_file_is_refused_as_what_it_is(tmp_path, capsys):
    for case, (make, rule, remedy) in elsewhere(tmp_path).items():
        code, text = import_file(tmp_path, capsys, make)
        assert code == 1 and rule in text and remedy in text and "damaged" not in text, (case, text)


def virtual_of(path, source, rows, held=5):
    """A file in which `x` is to be rows 1, 2, ... of what is called `a` in `source`."""
    with h5py.File(path, "w") as file:
        file["a"] = np.arange(2.0 * held).reshape(held, 2)
        layout = h5py.VirtualLayout((rows, 2), np.float64)
        layout[:] = h5py.VirtualSource(source, "a", (rows + 1, 2))[1:]
        file.create_virtual_dataset("x", layout)
        twice = h5py.VirtualLayout((rows, 2), np.float64)
        twice[:] = h5py.VirtualSource(source, "x", (rows, 2))
        file.create_virtual_dataset("twice", twice)
    return path


@pytest.mark.parametrize("given", ["relative", "absolute"])
@pytest.mark.parametrize("source", [".", "own.hdf5", "./own.hdf5", "absolute"])
def test_virtual_arrays_of_the_file_itself_are_read_whatever_they_call_it(
    source, given, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own.hdf5"
    path = own if given == "absolute" else own.relative_to(tmp_path)
    virtual_of(path, str(own) if source == "absolute" else source, 4)
    with ForeignFile(path) as file:
        for name in ("x", "twice"):
            np.testing.assert_array_equal(file.read(name), np.arange(2.0, 10).reshape(4, 2))
            np.testing.assert_array_equal(file.read(name, 1, 3), np.arange(4.0, 8).reshape(2, 2))


def test_virtual_arrays_of_what_only_looks_like_the_file_are_refused(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    virtual_of(tmp_path / "other/own.hdf5", ".", 4)
    monkeypatch.chdir(tmp_path / "other")  # where a file of that name lies as well
    with h5py.File(tmp_path / "a%b.hdf5", "w") as file:  # a pattern: rows 2, 3 are those of a1.hdf5
        file["a"] = np.zeros((2, 2))
        space = h5py.h5s.create_simple((4, 2), (h5py.h5s.UNLIMITED, 2))
        space.select_hyperslab((0, 0), (h5py.h5s.UNLIMITED, 1), (2, 1), (2, 2))
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_virtual(space, b"./a%b.hdf5", b"a", h5py.h5s.create_simple((2, 2)))
        whole = h5py.h5s.create_simple((4, 2), (h5py.h5s.UNLIMITED, 2))
        h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_DOUBLE, whole, plan)
    virtual_of(tmp_path / "own.hdf5", "other/own.hdf5", 4)
    virtual_of(tmp_path / "b.hdf5", "../b.hdf5", 4)
    for name in ("own.hdf5", "b.hdf5", "a%b.hdf5"):
        with ForeignFile(tmp_path / name) as file, pytest.raises(DataError, match="not in others"):
            file.read("x")
    virtual_of(tmp_path / "c.hdf5", "./c.hdf5", 4)
    monkeypatch.setenv("HDF5_VDS_PREFIX", str(tmp_path / "other"))  # HDF5 looks there first
    with ForeignFile(tmp_path / "c.hdf5") as file, pytest.raises(DataError, match="not in others"):
        file.read("x")


def test_parts_of_virtual_arrays_without_values_are_refused_as_they_would_be_read_as_zeros(tmp_path):
    with h5py.File(virtual_of(tmp_path / "a.hdf5", ".", 4, held=4), "a") as file:
        for name, source, rows in (("half", "a", 2), ("none", "missing", 4), ("self", "self", 4)):
            layout = h5py.VirtualLayout((4, 2), np.float64)
            layout[:rows] = h5py.VirtualSource(".", source, (4, 2))[:rows]
            file.create_virtual_dataset(name, layout)
    faults = {
        "x": r"is made of entries up to \(4, 1\) of a, whose shape is \(4, 2\)",
        "half": "has sources for 4 of its 8 values",
        "none": "is a virtual array of missing, which is not in this file",
        "self": "is made of itself",
    }
    with ForeignFile(tmp_path / "a.hdf5") as file:
        for name, rule in faults.items():
            with pytest.raises(DataError, match=rule):
                file.read(name)


def compressed(data, number, sizes):
    """An episode whose actions are said to be compressed by a filter."""
    del add_demo(data)["actions"]
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((STEPS, 2))
    plan.set_filter(number, h5py.h5z.FLAG_OPTIONAL, sizes)
    space = h5py.h5s.create_simple((STEPS, 2))
    array = h5py.h5d.create(data["demo_0"].id, b"actions", h5py.h5t.NATIVE_DOUBLE, space, plan)
    array.write_direct_chunk((0, 0), bytes(40), 0)


@pytest.mark.parametrize(("number", "name"), [(32900, "unknown"), (32901, "unknown")])
def test_a_filter_that_is_not_installed_is_named(number, name, tmp_path, capsys):
    code, text = import_file(tmp_path, capsys, lambda data: compressed(data, number, (1,)))
    assert code == 1 and f"filter {number} ({name}), which is not installed" in text
    assert "hdf5plugin" in text and "damaged" not in text and "restore" not in text


def test_pictures_that_cannot_be_read_are_told_before_what_lacks_a_last_frame(tmp_path, capsys):
    def make(data):
        demo = add_demo(data, following=False)  # whose only reward is on its last step
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((STEPS, 8, 8, 3))
        plan.set_filter(32900, h5py.h5z.FLAG_OPTIONAL, (1,))
        space = h5py.h5s.create_simple((STEPS, 8, 8, 3))
        array = h5py.h5d.create(demo["obs"].id, b"cam", h5py.h5t.NATIVE_UINT8, space, plan)
        array.write_direct_chunk((0, 0, 0, 0), bytes(99), 0)

    code, text = import_file(tmp_path, capsys, make, "--image", "cam", "--proprio", "q")
    assert code == 1 and "obs/cam" in text and "filter 32900" in text


def test_filters_of_hdf5plugin_are_read_where_it_is_installed(tmp_path, capsys):
    plugin = pytest.importorskip("hdf5plugin")

    def make(data):
        demo = add_demo(data)
        values = demo["actions"][()]
        del demo["actions"]
        demo.create_dataset("actions", data=values, chunks=(STEPS, 2), **plugin.Blosc())

    assert import_file(tmp_path, capsys, make)[0] == 0


NO_LOCKS = "grants no locks", "HDF5_USE_FILE_LOCKING=FALSE"
FAILURES = [
    (
        OSError(errno.ENOLCK, "unable to lock file, errno = 37"),
        "grants no locks",
        "HDF5_USE_FILE_LOCKING=FALSE",
    ),
    (
        OSError(errno.ENOTSUP, "unable to lock file, errno = 95"),
        "grants no locks",
        "HDF5_USE_FILE_LOCKING=FALSE",
    ),
    (OSError(errno.EAGAIN, "unable to lock file, errno = 11"), "another process", "Wait"),
    (OSError("truncated file: eof = 96"), "cut off", "download it again"),
    (OSError("file is already open for write (may use <h5clear file> to clear)"), "left open", "h5clear -s"),
]


@pytest.mark.parametrize(("error", "rule", "remedy"), FAILURES)
def test_a_file_that_does_not_open_is_told_why(error, rule, remedy, tmp_path, monkeypatch):
    (tmp_path / "d.hdf5").write_bytes(b"x")

    def refuse(*arguments, **options):
        raise error

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(DataError, match=rule) as caught:
        ForeignFile(tmp_path / "d.hdf5")
    assert remedy in str(caught.value)


def test_a_folder_a_missing_file_a_pointer_and_another_kind_of_file_are_told_apart(tmp_path):
    (tmp_path / "pointer.hdf5").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    (tmp_path / "text.hdf5").write_text("no" * 2000)
    names = {
        "none.hdf5": "no such file",
        ".": "is a folder",
        "pointer.hdf5": "git lfs pull",
        "text.hdf5": "another kind",
    }
    for name, said in names.items():
        with pytest.raises(DataError, match=said):
            ForeignFile(tmp_path / name)


def test_too_little_memory_is_no_damage(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        file["x"] = np.zeros(4)

    def exhausted(*arguments):
        raise MemoryError

    with ForeignFile(tmp_path / "d.hdf5") as file:
        monkeypatch.setattr(h5py.Dataset, "__getitem__", exhausted)
        with pytest.raises(MemoryError):
            file.read("x")
