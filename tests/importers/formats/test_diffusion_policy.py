"""Replay buffers of Diffusion Policy come in episode by episode; a store cannot run code."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cog.datasets.importers.diffusion_policy import DiffusionPolicyOptions
from tests.importers.conftest import read_all
from tests.importers.stores import buffer, files_of, write_folder, write_zip
from tests.importers.test_pickled import Names

pytest.importorskip("zarr")
MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def columns(lengths, seed=0, beyond=0, kind="f4"):
    """Rows as of pushing a T: actions in pixels, pictures, a state; `beyond` rows after the last episode."""
    rng, rows = np.random.default_rng(seed), sum(lengths) + beyond
    return {
        "action": rng.uniform(0, 512, (rows, 2)).astype("f4"),
        "img": rng.integers(0, 256, (rows, 6, 6, 3)).astype(kind),
        "state": rng.uniform(0, 512, (rows, 5)).astype("f4"),
        "keypoint": rng.normal(size=(rows, 9, 2)).astype("f4"),
        "n_contacts": rng.integers(0, 3, (rows, 1)).astype("f4"),
    }


def save(place, files, form):
    if form == "folder":
        return write_folder(place / "a.zarr", files)
    return write_zip(place / "a.zarr.zip", files, "a.zarr/" if form == "nested" else "")


@MANY
@given(
    lengths=st.lists(st.integers(0, 5), min_size=1, max_size=5).filter(any),
    rows=st.integers(1, 7),
    packed=st.booleans(),
    beyond=st.integers(0, 3),
    kind=st.sampled_from(["u1", "f4", "f8", "i4"]),
    form=st.sampled_from(["folder", "zip", "nested"]),
)
def test_every_row_belongs_to_its_episode(tmp_path_factory, lengths, rows, packed, beyond, kind, form):
    given = columns(lengths, sum(lengths), beyond, kind)
    files = buffer(given, np.cumsum(lengths), rows, packed)
    source = save(tmp_path_factory.mktemp("made"), files, form)
    found, notes = read_all(DiffusionPolicyOptions(image="img", proprio=("state", "n_contacts")), source)
    assert len(found) == len(lengths)
    for number, mine in enumerate(found):
        part = slice(sum(lengths[:number]), sum(lengths[: number + 1]))
        np.testing.assert_array_equal(mine.images, given["img"][part].astype(np.uint8))
        pose = np.concatenate([given["state"][part], given["n_contacts"][part]], axis=1)
        np.testing.assert_array_equal(mine.vectors, pose)
        np.testing.assert_array_equal(mine.actions, given["action"][part])
        assert (mine.closed, mine.terminated, mine.truncated) == (False, False, True)
    assert ("belong to none and were left out" in notes) == (beyond > 0)
    assert "not stored" not in notes


def test_actions_in_pixels_are_scaled_by_their_measured_bounds(bring, tmp_path):
    given = columns([4, 5])
    source = write_folder(tmp_path / "a.zarr", buffer(given, np.array([4, 9]), 4))
    options = ["--image", "img", "--proprio", "state", "--image-size", 0, "--last-frame", "repeat"]
    refused = bring("diffusion_policy", source, *options)
    assert refused.code == 1 and "--action-bounds measured" in refused.said
    found = bring("diffusion_policy", source, *options, "--action-bounds", "measured")
    low, high = given["action"].min(axis=0), given["action"].max(axis=0)
    unit = (given["action"].astype(np.float64) - low) / (high.astype(np.float64) - low) * 2 - 1
    mine = np.concatenate([one.actions for one in found.episodes])
    np.testing.assert_allclose(mine, unit, atol=1e-6)
    np.testing.assert_array_equal(found.episodes[1].images[:-1], given["img"][4:].astype(np.uint8))
    assert "whole numbers 0 to 255 of float32 were stored as uint8" in found.said


def test_chunks_that_are_not_stored_are_said(tmp_path):
    files = buffer(columns([4, 5]), np.array([4, 9]), 2)
    del files["data/action/1.0"], files["data/img/0.0.0.0"], files["data/img/3.0.0.0"]
    source = write_folder(tmp_path / "a.zarr", files)
    _, notes = read_all(DiffusionPolicyOptions(image="img", proprio=("state",)), source)
    assert "1 chunks of data/action are not stored" in notes and "2 chunks of data/img" in notes


CHOICE = ["--image", "img", "--proprio", "state", "--action-bounds", "measured"]


def about(name, values, **changes):
    return files_of(name, values, 4, **changes)[f"{name}/.zarray"]


ACTION = columns([4, 5])["action"]


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (files_of("meta/episode_ends", np.array([9, 4]), 2), "must not fall, found 4 after 9"),
        (files_of("meta/episode_ends", np.array([4.0, 9.0]), 2), "must be the row after every episode"),
        (
            files_of("meta/episode_ends", np.array([4, 12]), 2),
            "must have the 12 rows of the episodes, found 9",
        ),
        ({"meta/episode_ends/.zarray": None}, "must hold the array meta/episode_ends"),
        ({"data/action/.zarray": None}, "there is no array 'action' of actions"),
        ({"data/action/.zarray": b"{"}, "cannot be read"),
        ({"data/action/.zarray": b"[]"}, "must be a JSON object"),
        ({"data/action/.zarray": about("data/action", ACTION, dtype="|O")}, "must be plain numbers"),
        (
            {"data/action/.zarray": about("data/action", ACTION, compressor={"id": "imagecodecs_jpegxl"})},
            "is compressed with imagecodecs_jpegxl, which is not read",
        ),
        ({"data/action/0.0": b"short"}, "field 'data/action': cannot be read"),
        (files_of("data/img", np.full((9, 6, 6, 3), 1.5, "f4"), 4), "or whole numbers to 255"),
    ],
)
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_what_is_no_such_store_is_refused_by_field_and_rule(bring, tmp_path, files, named, form):
    made = buffer(columns([4, 5]), np.array([4, 9]), 4) | files
    source = save(tmp_path, {name: data for name, data in made.items() if data is not None}, form)
    found = bring("diffusion_policy", source, *CHOICE)
    assert found.code in (1, 2) and named in found.said, found.said
    assert not found.out.exists()


@pytest.mark.parametrize("place", ["filters", "compressor"])
@pytest.mark.parametrize("form", ["folder", "zip"])
def test_a_codec_that_unpickles_is_refused_and_nothing_runs(bring, tmp_path, place, form):
    codec = {"id": "pickle", "protocol": 4}
    files = buffer(columns([4, 5]), np.array([4, 9]), 9)
    changes = {place: [codec] if place == "filters" else codec}
    files["data/action/.zarray"] = files_of("data/action", ACTION, 9, **changes)["data/action/.zarray"]
    files["data/action/0.0"] = pickle.dumps(Names((tmp_path / "ran").write_text, "yes"))
    found = bring("diffusion_policy", save(tmp_path, files, form), *CHOICE)
    assert found.code == 1 and "is compressed with pickle, which is not read" in found.said
    assert not (tmp_path / "ran").exists()


def test_consolidated_metadata_cannot_hide_a_codec(bring, tmp_path):
    files = buffer(columns([4, 5]), np.array([4, 9]), 9)
    told = {name: json.loads(data) for name, data in files.items() if name.split("/")[-1].startswith(".z")}
    told["data/action/.zarray"]["filters"] = [{"id": "pickle", "protocol": 4}]
    text = json.dumps({"zarr_consolidated_format": 1, "metadata": told})
    files[".zmetadata"] = text.encode()
    source = write_folder(tmp_path / "a.zarr", files)
    found = bring("diffusion_policy", source, *CHOICE, "--last-frame", "drop")
    assert len(found.episodes) == 2  # the arrays' own metadata are what is read, here and by the package


def test_a_link_out_of_the_store_is_refused(bring, tmp_path):
    source = write_folder(tmp_path / "a.zarr", buffer(columns([4, 5]), np.array([4, 9]), 9))
    (tmp_path / "elsewhere").write_bytes((source / "data/action/0.0").read_bytes())
    (source / "data/action/0.0").unlink()
    (source / "data/action/0.0").symlink_to(tmp_path / "elsewhere")
    found = bring("diffusion_policy", source, *CHOICE)
    assert found.code == 1 and "must not be a link to elsewhere" in found.said


def test_without_the_package_the_extra_is_named(bring, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "zarr", None)
    source = write_folder(tmp_path / "a.zarr", buffer(columns([4]), np.array([4]), 9))
    found = bring("diffusion_policy", source, *CHOICE)
    assert found.code == 1 and "of the extra 'zarr'" in found.said


@pytest.mark.parametrize("kept", [20, 60, -1, 5, 0])
@pytest.mark.parametrize("version", [2, 3])
def test_a_chunk_that_is_cut_off_is_refused_whatever_its_compression(version, kept, tmp_path, bring):
    import zarr

    if zarr.__version__.startswith("2.") and version == 3:
        pytest.skip("zarr 2 writes no format 3")
    given = columns([4, 5], kind="u1")
    own = {} if zarr.__version__.startswith("2.") else {"zarr_format": version}
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", **own)
    group["meta/episode_ends"] = np.array([4, 9])
    for name, values in given.items():
        codec = zarr.codecs.BloscCodec() if version == 3 else "auto"
        group.create_array(f"data/{name}", data=values, compressors=codec)
    options = ["--image", "img", "--proprio", "state", "--action-bounds", "measured", "--image-size", 0]
    assert bring("diffusion_policy", tmp_path / "a.zarr", *options).code == 0
    folder = tmp_path / "a.zarr/data/img"
    [chunk] = [file for file in folder.rglob("*") if file.is_file() and "z" not in file.name]
    chunk.write_bytes(chunk.read_bytes()[:kept])
    found = bring("diffusion_policy", tmp_path / "a.zarr", *options)
    assert found.code == 1 and "data/img" in found.said, found.said
