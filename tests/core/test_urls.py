from pathlib import Path

import pytest

from augsuite.dataset.urls import Url, url_of


@pytest.mark.parametrize(
    "text", ["s3://bucket/a/b.json", "S3://bucket/a/b.json", "s3:/bucket/a/b.json", "s3://bucket/a/b.json/"]
)
def test_a_url_typed_or_made_a_path(text):
    assert url_of(text) == url_of(Path(text)) == Url("s3", "bucket/a/b.json")
    assert str(url_of(Path(text))) == "s3://bucket/a/b.json"


@pytest.mark.parametrize("text", ["a/b", "/a/b", "C:/a/b", "C:\\a", "a:b", "", ".", "./s3:/x", "fold er:/x"])
def test_paths(text):
    assert url_of(text) is None
