"""Two commands on one output at once: the second is refused and told who was first; nothing is replaced."""

import contextlib
import dataclasses
import errno
import fcntl
import os
from pathlib import Path

import pytest

from cog.classifier.config import ClassifierConfig
from cog.classifier.fit import classify
from cog.core.lock import LOCK
from cog.datasets.exporters.d3rlpy import D3RLPYExport
from cog.datasets.exporters.minari import MinariExport
from cog.datasets.exporters.robomimic import RobomimicExport
from cog.datasets.exporters.run import export
from cog.datasets.merge import open_merge, write_merge
from cog.datasets.relabel.view import relabel
from cog.datasets.storage.claim import claimed
from cog.datasets.storage.packed import pack_dataset
from cog.errors import CogError
from cog.evaluation.config import EvaluateConfig
from cog.evaluation.evaluate import evaluate
from cog.training.train import train
from tests.helpers.learner_data import config, noise
from tests.helpers.policies import tiny_run


@pytest.fixture
def data(make_dataset):
    """Two datasets, each with a view."""
    made = [make_dataset(name, episodes=3, seed=seed) for seed, name in enumerate(("one", "two"))]
    for dataset in made:
        relabel(dataset.path, "grasp_success", "reward")
    return [dataset.path for dataset in made]


def exported(options):
    def work(data, out, second):
        export(options, open_merge(data[second]), out)

    return work


def pack(data, out, second):
    pack_dataset(data[second], out)


def merge(data, out, second):
    write_merge(out, [str(data[0])], [str(data[1])], 0.25 + 0.5 * second)


def view(data, out, second):
    relabel(data[0], "zero" if second else "grasp_success", out.stem, terminate=False)


WORK = {
    "robomimic": (exported(RobomimicExport()), "x.h5"),
    "d3rlpy": (exported(D3RLPYExport()), "y.h5"),
    "minari": (exported(MinariExport()), "name-v0"),
    "pack": (pack, "z.zip"),
    "merge": (merge, "m.json"),
    "relabel": (view, "one/relabels/v.json"),
}


def rival_at_the_end(monkeypatch, rival):
    """Let `rival` run just before the first file or folder is given its final name."""
    begun = []

    def before(real):
        def call(*arguments, **options):
            if not begun and not Path(os.fspath(arguments[1])).name.startswith("."):
                begun.append(True)
                rival()
            return real(*arguments, **options)

        return call

    for name in ("link", "rename"):
        monkeypatch.setattr(os, name, before(getattr(os, name)))


@pytest.mark.parametrize("kind", WORK)
def test_who_begins_while_another_is_at_work_is_told_who_that_is(kind, data, tmp_path, frozen, monkeypatch):
    work, name = WORK[kind]
    refused = []

    def rival():
        with pytest.raises(CogError, match=rf"another process is writing this: process {os.getpid()} on "):
            work(data, tmp_path / name, second=True)
        refused.append(True)

    rival_at_the_end(monkeypatch, rival)
    work(data, tmp_path / name, second=False)
    assert refused == [True]
    before = frozen(tmp_path)
    with pytest.raises(CogError, match="exists already"):
        work(data, tmp_path / name, second=True)
    assert frozen(tmp_path) == before
    assert not [path for path in tmp_path.rglob(".*") if path.name != LOCK]


@pytest.mark.parametrize("kind", WORK)
def test_without_locks_the_one_who_publishes_first_stays(kind, data, tmp_path, frozen, monkeypatch):
    def no_locks(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    work, name = WORK[kind]
    kept = []

    def rival():
        work(data, tmp_path / name, second=True)
        kept.append(frozen((tmp_path / name).parent))

    rival_at_the_end(monkeypatch, rival)
    with pytest.raises(CogError, match=rf"{Path(name).name}.* exists already"):
        work(data, tmp_path / name, second=False)
    now = frozen((tmp_path / name).parent)
    assert kept[0]
    assert now == {file: data for file, data in kept[0].items() if not any(map(hidden, Path(file).parts))}


def hidden(name):
    return name.startswith(".")


def test_equal_merges_and_views_at_once_are_one_and_the_same(data, tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "No locks")))
    for work, name in (WORK["merge"], WORK["relabel"]):
        with pytest.MonkeyPatch.context() as patch:
            rival_at_the_end(patch, lambda work=work, name=name: work(data, tmp_path / name, second=False))
            work(data, tmp_path / name, second=False)
        work(data, tmp_path / name, second=False)


def test_a_second_classifier_in_a_folder_is_refused_while_the_first_is_trained(make_dataset, tmp_path):
    dataset, refused = make_dataset("data", episodes=12), []
    quick = ClassifierConfig(tmp_path / "judge", label="object_height > 0.1", updates=2, precision=0.01)

    def second(done, note):
        with pytest.raises(CogError, match=r"another process is writing into this folder: process \d+"):
            classify([dataset.path], dataclasses.replace(quick, seed=1))
        refused.append(done)

    with contextlib.suppress(CogError):  # two updates may not suffice for a threshold
        classify([dataset.path], quick, second)
    assert refused == [1, 2]


def test_a_second_evaluation_in_a_folder_is_refused_while_the_first_runs(tmp_path):
    run, refused = tiny_run(tmp_path / "run"), []
    first = EvaluateConfig(
        run,
        tmp_path / "out",
        starts=("open",),
        episodes=2,
        env="cog/DrawerGrasp-v0",
        max_episode_steps=3,
        workers=1,
        videos=0,
    )

    def second(done, note):
        with pytest.raises(CogError, match=r"another process is writing into this folder: process \d+"):
            evaluate(dataclasses.replace(first, seed=1))
        refused.append(done)

    found = evaluate(first, second)
    assert refused and [path.name for path in (tmp_path / "out").iterdir()] == ["evaluation.json"]
    assert evaluate(first).episodes == found.episodes
    with pytest.raises(CogError, match="already holds another evaluation"):
        evaluate(dataclasses.replace(first, seed=1))


def between(monkeypatch, module, work):
    """Run `work` once, just before `locked` of a module takes its lock."""
    real, begun = module.locked, []

    @contextlib.contextmanager
    def locked(*arguments, **options):
        if not begun:
            begun.append(True)
            work()
        with real(*arguments, **options):
            yield

    monkeypatch.setattr(module, "locked", locked)


def test_a_run_or_collection_that_began_and_ended_before_the_lock_was_taken_is_kept(
    tmp_path, monkeypatch, frozen
):
    import cog.datasets.storage.claim as claims
    import cog.training.train as training

    kept = []

    def other_run():
        train(config(tmp_path / "run", updates=1, seed=1), noise())
        kept.append(frozen(tmp_path / "run"))

    between(monkeypatch, training, other_run)
    with pytest.raises(CogError, match="already holds a run"):
        train(config(tmp_path / "run", updates=1), noise())
    assert frozen(tmp_path / "run") == kept[0]

    def other_collection():
        with claimed(tmp_path / "data", {"kind": "other"}, {}):
            pass
        kept.append(frozen(tmp_path / "data"))

    between(monkeypatch, claims, other_collection)
    with (
        pytest.raises(CogError, match="holds another collection"),
        claimed(tmp_path / "data", {"kind": "mine"}, {}),
    ):
        pass
    assert frozen(tmp_path / "data") == kept[1]


def test_the_command_again_says_that_its_output_is_there(data, tmp_path):
    pack_dataset(data[0], tmp_path / "a.zip")
    with pytest.raises(CogError, match="exists already; nothing was written"):
        pack_dataset(data[0], tmp_path / "a.zip")
