import pytest

from augsuite import registry
from augsuite.testing.transforms import check_transform


@pytest.mark.parametrize("name", list(registry.default().transforms()))
def test_transform(name):
    check_transform(name)
