"""YAML to structs: the place, the problem and the nearest name."""

from __future__ import annotations

from typing import Annotated

import msgspec
import pytest

from augsuite.config import build, parse_yaml, read_yaml, to_plain
from augsuite.errors import ConfigError


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    depth: int = 1


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    max_ratio: Annotated[float, msgspec.Meta(ge=1)] = 4.0
    size: tuple[int, int] = (1, 2)
    inner: Inner = msgspec.field(default_factory=Inner)
    by_name: dict[str, int] = {}


def test_values_become_typed():
    built = build(Outer, {"max_ratio": 2, "size": [3, 4], "inner": {"depth": 5}}, "here")
    assert built == Outer(2.0, (3, 4), Inner(5))
    assert to_plain(built) == {"max_ratio": 2.0, "size": (3, 4), "inner": {"depth": 5}, "by_name": {}}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"max_ration": 2}, r"^a\.yaml: unknown parameter 'max_ration'\. Did you mean 'max_ratio'\?$"),
        ({"max_ratio": 0.5}, r"^a\.yaml: max_ratio: expected float >= 1\.0\.$"),
        ({"max_ratio": "much"}, r"^a\.yaml: max_ratio: expected float, got str\.$"),
        ({"size": [1]}, r"^a\.yaml: size: expected array of length 2, got 1\.$"),
        ({"inner": {"dept": 1}}, r"^a\.yaml: inner: .*unknown field dept"),
        ({"by_name": {3: 1}}, r"^a\.yaml: by_name: expected str, got int\.$"),
        ([1], r"^a\.yaml: expected names and values, got list\.$"),
    ],
)
def test_errors_say_where_and_what(values, said):
    with pytest.raises(ConfigError, match=said):
        build(Outer, values, "a.yaml", "parameter")


def test_broken_yaml_says_line_and_column(tmp_path):
    with pytest.raises(ConfigError, match=r"here:2:\d+: not valid YAML"):
        parse_yaml("a: 1\nb: ]", "here")
    with pytest.raises(ConfigError, match="no such file"):
        read_yaml(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    with pytest.raises(ConfigError, match=r"latin\.yaml: cannot be read"):
        read_yaml(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1e-3", 0.001),
        ("[{lr: -2E+4}]", [{"lr": -20000.0}]),
        ("1.5e-3", 0.0015),
        ("'1e-3'", "1e-3"),
        ("1e-3x", "1e-3x"),
        ("12e4", "12e4"),  # may be a name, such as the beginning of a hash
    ],
)
def test_numbers_with_an_exponent_need_no_point(text, expected):
    found = parse_yaml(text, "here")
    assert found == expected
    assert type(found) is type(expected)
