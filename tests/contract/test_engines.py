"""Every engine keeps the contract that any engine keeps, and the kit finds those that do not."""

import sys

import pytest

from augsuite import hookimpl, registry
from augsuite.engines.local import run as run_local
from augsuite.spec import EngineSpec, Ref
from augsuite.testing.engines import check_engine
from augsuite.testing.transforms import ContractError

HERE = {"inline", "local"}  # ray: in tests/ray_cluster/test_engine.py, beside others that use its cluster


@pytest.mark.parametrize("name", sorted(HERE))
def test_engine(name, tmp_path):
    check_engine(name, tmp_path)


def test_every_bundled_engine_is_checked():
    assert set(registry.default().engines()) == HERE | {"ray"}


def with_fault(fault):
    """The engine of this machine, spoiled."""

    def run(work, items, workers=None, resources=registry, *, ordered=False, retries=0, told=None):
        given = {} if resources is registry else {"resources": resources}
        if fault == "eager":
            items = list(items)
        if fault == "crowded":
            workers = 4
        ordered = ordered and fault != "unordered"
        told = None if fault == "silent" else told
        answers = run_local(work, items, workers, ordered=ordered, retries=retries, told=told, **given)
        for item, answer in answers:
            if fault == "loses" and item == ("double", 3):
                continue
            if fault == "raises" and isinstance(answer, Exception):
                raise answer
            yield item, answer

    return run


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("loses", "does not yield each item once"),
        ("crowded", "items at once where workers is 1"),
        ("unordered", "items come in another order"),
        ("eager", "items before it has yielded"),
        ("silent", "must tell of each item that is tried again"),
    ],
)
def test_the_kit_finds_a_fault(fault, said, tmp_path, monkeypatch):
    class Faulty:
        @hookimpl
        def augsuite_engines(self):
            yield EngineSpec("faulty", "spoiled", Ref("faulty_engine:run"))

    module = type(sys)("faulty_engine")
    module.run = with_fault(fault)
    monkeypatch.setitem(sys.modules, "faulty_engine", module)
    own = registry.Registry()
    own.register(Faulty(), "faulty")
    monkeypatch.setattr(registry, "default", lambda: own)
    with pytest.raises(ContractError, match=said):
        check_engine("faulty", tmp_path)
