"""What LeRobot needs of an export beside arrays: plain columns of one number, and quantiles as its own."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cog.datasets.exporters import statistics
from cog.datasets.exporters.lerobot import LeRobotExport
from cog.datasets.exporters.run import export
from cog.datasets.merge import open_merge
from cog.datasets.relabel.view import relabel
from cog.datasets.writer import DatasetWriter

shapes = st.tuples(st.integers(1, 40), st.integers(1, 3))
rows = arrays.arrays(np.float32, shapes, elements=st.floats(-9, 9, width=32))


def quantile(values, share):
    """The definition: the smallest value that this share of all values does not exceed."""
    return min(x for x in values if np.sum(values <= x) >= share * len(values))


@settings(max_examples=200, deadline=None)
@given(rows)
def test_a_quantile_of_an_episode_is_exact(values):
    found = statistics.of_values(values)
    for name, share in statistics.QUANTILES.items():
        wanted = [quantile(column, share) for column in values.T.astype(np.float64)]
        np.testing.assert_array_equal(found[name], wanted)


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(np.uint8, (2, 3, 4, 3)), arrays.arrays(np.uint8, (1, 3, 4, 3)))
def test_quantiles_of_episodes_are_averaged_by_their_lengths(first, second):
    joined = statistics.together(statistics.of_values(first), statistics.of_values(second))
    for name, share in statistics.QUANTILES.items():
        one, other = (
            np.array([quantile(pictures[..., channel].ravel() / 255, share) for channel in range(3)])
            for pictures in (first, second)
        )
        np.testing.assert_allclose(joined[name][:, 0, 0], (2 * one + other) / 3, atol=1e-12)
        assert joined[name].shape == (3, 1, 1)


@pytest.mark.parametrize("kind", ["image", "state"])
def test_features_of_one_number_are_plain_columns(kind, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    with DatasetWriter(tmp_path / "data", image_size=None) as writer:
        for steps in (3, 1):
            frames = {"image": np.zeros((steps + 1, 8, 8, 3), np.uint8), "state": np.ones((steps + 1, 1))}
            observed = {"images": frames["image"]} if kind == "image" else {"state": frames["state"]}
            writer.add_episode(np.linspace(-1, 1, steps)[:, None], rewards=np.ones(steps), **observed)
    relabel(tmp_path / "data", "recorded", "view", terminate=False)
    export(LeRobotExport(fps=5), open_merge(tmp_path / "data"), tmp_path / "out")
    table = parquet.read_table(tmp_path / "out/data/chunk-000/file-000.parquet")
    features = json.loads((tmp_path / "out/meta/info.json").read_text())["features"]
    pose = "observation.state" if kind == "image" else "observation.environment_state"
    for name in ("action", pose):
        assert features[name]["shape"] == [1] and str(table.schema.field(name).type) == "float"
    assert table.column("action").to_pylist() == [-1, 0, 1, -1]
    for name, one in json.loads((tmp_path / "out/meta/stats.json").read_text()).items():
        assert set(one) == {"min", "max", "mean", "std", "count", *statistics.QUANTILES}, name
