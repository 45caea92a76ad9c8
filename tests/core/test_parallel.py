"""Pieces of work on an engine: in order, tried again where their process died, and with the error of the first that raised."""

from __future__ import annotations

import pytest

from augsuite.dataset import Annotations, Categories, Dataset, Images, parallel
from augsuite.dataset.files import with_sizes
from augsuite.engines import WorkerDiedError
from augsuite.engines.choice import at_work
from augsuite.engines.inline import run as run_inline
from augsuite.engines.local import run as run_local
from augsuite.errors import ConfigError, DataError
from augsuite.testing.engines import Worker


def test_a_piece_whose_process_died_is_done_again_and_told(tmp_path):
    retried = []
    with parallel.using(2, run_local, retried=retried):
        found = list(parallel.mapped(Worker(tmp_path), [("double", 1), ("die", "once"), ("double", 2)]))
    assert found == [2, "once", 4]
    assert [each.what for each in retried] == ["augsuite.testing.engines.Worker, piece 2"]
    assert "SIGKILL" in retried[0].error


def test_one_that_dies_again_and_again_is_an_error(tmp_path):
    retried = []
    with parallel.using(1, run_local, retried=retried), pytest.raises(WorkerDiedError, match="SIGKILL"):
        list(parallel.mapped(Worker(tmp_path), [("die", "always")]))
    assert len(retried) == parallel.RETRIES


def test_the_first_error_in_order_is_raised_as_it_was(tmp_path):
    items = [("wait", 0.3), ("ours", "first"), ("foreign", "second")]
    with parallel.using(2, run_local), pytest.raises(DataError) as caught:
        list(parallel.mapped(Worker(tmp_path), items))
    assert str(caught.value) == "first"


def test_without_an_engine_it_is_this_process(tmp_path):
    with at_work("local"):
        assert not parallel.is_shared()
        assert list(parallel.mapped(str, iter([1, 2]))) == ["1", "2"]
    with at_work("local", 2):
        assert parallel.is_shared()
        with at_work("inline"):
            assert list(parallel.mapped(Worker(tmp_path), [("double", 3)])) == [6]
    with pytest.raises(ConfigError, match="Did you mean 'local'"), at_work("locl"):
        pass


def test_headers_of_images_are_read_by_the_engine(tmp_path, image_file, monkeypatch):
    monkeypatch.setattr("augsuite.dataset.files._HEADERS", 2)
    names = [f"{row}.png" for row in range(5)]
    sizes = [(10 + row, 20 - row) for row in range(5)]
    for name, size in zip(names, sizes, strict=True):
        image_file(tmp_path / name, size)
    data = Dataset(
        Images.of(names, [[0, 0]] * 4 + [[7, 7]], files=names),
        Categories.of([]),
        Annotations.of([], [], []),
        root=tmp_path,
    )
    taken = []

    def engine(work, items, *arguments, **more):
        taken.extend(items := list(items))
        return run_inline(work, items, *arguments, **more)

    with parallel.using(1, engine):
        found = with_sizes(data)
    assert found.images.sizes.tolist() == [[10, 20], [11, 19], [12, 18], [13, 17], [7, 7]]
    assert [len(paths) for _, paths in taken] == [2, 2]
