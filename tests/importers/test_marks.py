"""A mark of success that a source lacks is refused with the file and another mark, whatever the format."""

import h5py
import pytest

from tests.helpers.foreign import (
    flat_arrays,
    minari_arrays,
    robomimic_arrays,
    write_flat,
    write_minari,
    write_robomimic,
)
from tests.importers.test_edges import FORMATS, made, write

WAYS = "Choose another mark: --success KEY, --success 'reward>0' or --success none"
CHOSEN = {
    "robomimic": ["--image", "none"],
    "minari": ["--image", "none", "--proprio", "arm/joints"],
    "lerobot": ["--image", "none", "--proprio", "observation.state"],
}
"""Options without which the observations of a source are not chosen."""


def source_of(name, folder):
    """A sound source of a format."""
    if name == "robomimic":
        return write_robomimic(folder / "a.hdf5", robomimic_arrays((3, 2)))
    if name == "d4rl":
        return write_flat(folder / "a.hdf5", flat_arrays((3, 2)))
    if name == "minari":
        return write_minari(folder / "a", minari_arrays((3, 2)))
    if name == "lerobot":
        pytest.importorskip("pyarrow")
        from tests.helpers.lerobot import episodes, write_lerobot

        return write_lerobot(folder / "a", episodes(), video=False)
    return write(name, folder, made([3, 2]))


@pytest.mark.parametrize("name", [*FORMATS, "robomimic", "d4rl", "minari", "lerobot"])
def test_a_mark_that_no_episode_has_is_refused_with_file_and_other_marks(name, bring, tmp_path):
    source = source_of(name, tmp_path)
    found = bring(name, source, "--success", "won", *CHOSEN.get(name, []))
    assert found.code == 2 and not found.out.exists()
    assert f"cog: {source}" in found.said and "'won'" in found.said and WAYS in found.said, found.said


@pytest.mark.parametrize("name", ["robomimic", "d4rl"])
def test_a_rule_on_rewards_that_are_not_there_is_refused_with_file_and_other_marks(name, bring, tmp_path):
    source = source_of(name, tmp_path)
    with h5py.File(source, "a") as file:
        if name == "d4rl":
            del file["rewards"]
        else:
            for demo in file["data"].values():
                del demo["rewards"]
    found = bring(name, source, "--success", "reward>0", *CHOSEN.get(name, []))
    assert found.code == 2 and not found.out.exists()
    assert f"cog: {source}: success rule 'reward>0': " in found.said and "has no rewards" in found.said
    assert "Mark successes by an array (--success KEY), or by nothing (--success none)" in found.said


@pytest.mark.parametrize("name", ["robomimic", "maniskill"])
def test_a_rule_that_cannot_be_read_is_refused_with_file_and_form(name, bring, tmp_path):
    source = source_of(name, tmp_path)
    found = bring(name, source, "--success", "reward>high", *CHOSEN.get(name, []))
    assert found.code == 2 and f"cog: {source}: invalid success rule 'reward>high'" in found.said
    assert "Write reward>NUMBER" in found.said
