"""What is published as new replaces nothing, wherever a rival comes in between, and leaves no strays."""

import errno
import os
import stat
import threading
from collections import deque
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from cog.core import files
from cog.core.files import TEMPORARY_SUFFIX, Taken, beside, fsync, write_atomically, write_bytes
from cog.core.files import write_folder_atomically as write_folder
from cog.errors import CogError

CALLS = ("open", "link", "replace", "rename", "fsync", "mkdir", "unlink", "close")
"""Calls of the system that publishing makes, before each of which a rival may come in."""
LINKS = (None, *files.NO_LINKS)
"""What the file system says to a hard link: nothing, or that it has none."""
NAMES = st.text(
    st.characters(blacklist_characters="/\0", blacklist_categories=("Cs",)), min_size=1, max_size=85
).filter(lambda name: name not in (".", "..") and len(name.encode()) <= 255)
QUIET = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


class Watched:
    """Calls a function before each of the system's calls, once in the thread at a time."""

    def __init__(self, monkeypatch, before, links=None):
        self.inside = threading.local()
        for name in CALLS:
            monkeypatch.setattr(os, name, self._wrapped(getattr(os, name), name, before, links))

    def _wrapped(self, real, name, before, links):
        def call(*arguments, **options):
            if not getattr(self.inside, "now", False):
                self.inside.now = True
                try:
                    before(name)
                finally:
                    self.inside.now = False
            if name == "link" and links is not None:
                raise OSError(links, os.strerror(links))
            return real(*arguments, **options)

        return call


def write_file(path: Path, data: bytes) -> None:
    write_bytes(path, data, new=True)


def write_folder_of_one(path: Path, data: bytes) -> None:
    write_folder(path, lambda folder: (folder / "file").write_bytes(data) and None)


def held(path: Path) -> bytes:
    return (path / "file").read_bytes() if path.is_dir() else path.read_bytes()


def strays(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.name.endswith(TEMPORARY_SUFFIX)]


def calls_of(write, folder, links) -> int:
    """How many calls one writer makes that meets nobody."""
    count = 0

    def seen(_):
        nonlocal count
        count += 1

    with pytest.MonkeyPatch.context() as patch:
        Watched(patch, seen, links)
        write(folder / "alone", b"alone")
    return count


@pytest.mark.parametrize("links", LINKS)
@pytest.mark.parametrize("write", [write_file, write_folder_of_one])
def test_a_rival_that_comes_in_before_any_call_of_a_writer_loses_nothing(write, links, tmp_path):
    for point in range(calls_of(write, tmp_path, links)):
        path, winners, count = tmp_path / f"at {point}", [], 0

        def rival(_, path=path, point=point, winners=winners):
            nonlocal count
            if count == point:
                try:
                    write(path, b"rival")
                    winners.append(b"rival")
                except Taken:
                    pass
            count += 1

        with pytest.MonkeyPatch.context() as patch:
            Watched(patch, rival, links)
            try:
                write(path, b"first")
                winners.append(b"first")
            except Taken as refused:
                assert str(path) in str(refused) and "exists already, written 20" in str(refused)
        assert winners == [held(path)]
        assert strays(tmp_path) == []


class Turns:
    """Lets two threads make their calls in a drawn order; when it is used up, both run freely."""

    def __init__(self, order):
        self.order, self.ended = deque(order), set()
        self.changed = threading.Condition()

    def take(self, name):
        with self.changed:
            self.changed.wait_for(lambda: self._next() in (None, name))
            if self.order:
                self.order.popleft()
            self.changed.notify_all()

    def end(self, name):
        with self.changed:
            self.ended.add(name)
            self.changed.notify_all()

    def _next(self):
        while self.order and self.order[0] in self.ended:
            self.order.popleft()
        return self.order[0] if self.order else None


@QUIET
@given(order=st.lists(st.sampled_from("ab"), max_size=24), links=st.sampled_from(LINKS), kind=st.booleans())
def test_of_two_writers_in_any_order_of_their_calls_one_publishes(order, links, kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    write, turns, winners = (write_file if kind else write_folder_of_one), Turns(order), []

    def run(name):
        try:
            write(folder / "out", name.encode())
            winners.append(name.encode())
        except Taken:
            pass
        finally:
            turns.end(name)

    with pytest.MonkeyPatch.context() as patch:
        Watched(patch, lambda _: turns.take(threading.current_thread().name), links)
        threads = [threading.Thread(target=run, args=(name,), name=name) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert winners == [held(folder / "out")]
    assert strays(folder) == []


@QUIET
@given(name=NAMES, data=st.binary(max_size=40), new=st.booleans())
@example(name="x" * 255, data=b"longest", new=True)
@example(name="é" * 127, data=b"longest in letters of two bytes", new=False)
@example(name="-rf [x] *\n", data=b"", new=True)
def test_a_file_of_any_name_that_the_system_allows_holds_what_was_written(name, data, new, tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    write_bytes(folder / name, data, new)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {name: data}
    with pytest.raises(Taken):
        write_bytes(folder / name, b"other", new=True)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {name: data}
    assert beside(folder / name, "lock").parent == folder
    assert len(beside(folder / name, f"01234567{TEMPORARY_SUFFIX}").name.encode()) <= 255


@QUIET
@given(names=st.lists(NAMES, min_size=2, max_size=6, unique=True))
def test_names_beside_different_outputs_differ(names):
    assert len({beside(Path("f") / name, "lock") for name in names}) == len(names)


@pytest.mark.parametrize("number", files.NOT_FOR_FOLDERS)
def test_a_file_system_that_syncs_no_folders_is_as_durable_as_it_can_be(number, tmp_path, monkeypatch):
    def refused(descriptor, real=os.fsync):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", refused)
    write_bytes(tmp_path / "new/file", b"here")
    write_bytes(tmp_path / "new/file", b"there")
    write_folder_of_one(tmp_path / "folder", b"inside")
    assert (tmp_path / "new/file").read_bytes() == b"there" and held(tmp_path / "folder") == b"inside"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EINVAL])
def test_a_file_that_cannot_be_synced_is_not_published(number, tmp_path, monkeypatch):
    def fails(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    (tmp_path / "file").write_bytes(b"before")
    with pytest.raises(CogError, match=f"{os.strerror(number)}.*as it was before"):
        write_bytes(tmp_path / "file", b"after")
    with pytest.raises(OSError, match=os.strerror(number)):
        fsync(tmp_path / "file")
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENAMETOOLONG, "Choose a shorter name"),
        (errno.EACCES, "Choose a folder that you may write into"),
        (errno.EROFS, "Choose a folder that you may write into"),
        (errno.ENOSPC, "Free space or choose another folder"),
        (errno.EFBIG, r"nothing was written\. Raise the limit on the size of files"),
    ],
)
def test_the_remedy_is_for_what_went_wrong(number, remedy, tmp_path):
    def fails(path):
        raise OSError(number, os.strerror(number), str(path))

    with pytest.raises(CogError, match=remedy):
        write_atomically(tmp_path / "file", fails)
    assert list(tmp_path.iterdir()) == []
