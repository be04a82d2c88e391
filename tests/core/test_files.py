"""A folder is published whole or not at all."""

import pytest

from cog.core.files import write_folder_atomically
from cog.errors import CogError


def test_a_folder_is_published_whole_or_not_at_all(tmp_path):
    def writer(folder):
        (folder / "deep").mkdir()
        (folder / "deep/file").write_text("content")

    write_folder_atomically(tmp_path / "new/folder", writer)
    assert (tmp_path / "new/folder/deep/file").read_text() == "content"
    with pytest.raises(CogError, match="folder: exists already"):
        write_folder_atomically(tmp_path / "new/folder", writer)

    def fails(folder):
        writer(folder)
        raise OSError(28, "No space left on device")

    with pytest.raises(CogError, match=r"other: could not be written \(No space left"):
        write_folder_atomically(tmp_path / "new/other", fails)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["folder"]
