"""`augsuite view` in a real browser."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import PIL.Image
import psutil
import pytest
from browserkit import MODAL, extent, greenish, reddish

import augsuite
from augsuite.dataset import Annotations, Categories, Dataset, Images
from augsuite_fiftyone.view_dataset import view_dataset
from augsuite_fiftyone.view_policy import remove, view_policy

GREEN = "#00ff00"


@pytest.fixture(scope="module")
def grey(tmp_path_factory):
    """One grey image of 200 x 100 with two boxes."""
    root = tmp_path_factory.mktemp("grey")
    PIL.Image.new("RGB", (200, 100), (120, 120, 120)).save(root / "grey.png")
    return Dataset(
        Images.of(["grey.png"], [(200, 100)], files=["grey.png"]),
        Categories.of(["thing"]),
        Annotations.of([0, 0], [0, 0], [[20, 20, 80, 60], [90, 30, 130, 70]]),
        root,
    )


def painted(fo, dataset, field="ground_truth"):
    """The dataset with its boxes in green."""
    colours = dataset.app_config.color_scheme or fo.ColorScheme(fields=[])
    colours.color_by = "value"
    colours.color_pool = [GREEN]
    dataset.app_config.color_scheme = colours
    dataset.save()
    return dataset


def test_the_grid_shows_boxes_where_they_are(fo, grey, looking):
    dataset = painted(fo, view_dataset(grey, "grey"))
    looking.open(dataset)
    tile = looking.tiles.first
    looking.picture("grid")
    # Left of the first box, top of the first, right and bottom of the second, of 200 x 100.
    assert extent(looking.pixels(tile), greenish) == pytest.approx((0.1, 0.2, 0.65, 0.7), abs=0.02)
    assert looking.error() == ""
    assert {urlsplit(address).hostname for address in looking.foreign} <= {"fonts.googleapis.com", "fonts.gstatic.com"}


def test_a_policy_opens_as_groups_with_their_slices_and_what_is_dropped(fo, grey, looking):
    steps = {
        "policy": "cut",
        "min_visible_frac": 0.6,
        "steps": [{"do": "center_crop", "size": [100, 100]}, {"do": "hflip"}],
    }
    dataset = painted(fo, view_policy(grey, augsuite.policy(steps), "grey-cut"))
    try:
        looking.open(dataset)
        tile = looking.pixels(looking.tiles.first)
        looking.picture("policy-grid")
        # Cut to 50..150 and mirrored: the second box, 90..130, is at 20..60; the first, of which half is seen, is dropped, and
        # would be at 70..130 of 100.
        assert extent(tile, greenish) == pytest.approx((0.2, 0.3, 0.6, 0.7), abs=0.03)
        left, top, _, bottom = extent(tile, reddish)
        assert (left, top, bottom) == pytest.approx((0.7, 0.2, 0.6), abs=0.03)
        looking.choose_slice("original")
        assert extent(looking.pixels(looking.tiles.first), greenish) == pytest.approx((0.1, 0.2, 0.65, 0.7), abs=0.03)
        looking.choose_slice("policy")
        looking.open_modal()
        carousel = looking.page.locator(f'{MODAL} [data-cy="group-carousel"] [data-cy="looker"]')
        carousel.nth(3).wait_for()
        looking.picture("policy-group")
        names = []
        for number in range(4):
            carousel.nth(number).hover()
            names.append(carousel.nth(number).locator('[data-cy="thumbnail-title"]').inner_text())
        assert names == ["original", "1 center_crop", "2 hflip", "policy"]
        carousel.nth(2).click()
        looking.page.locator(f'{MODAL} [data-cy="panel-tab-fo-sample-modal-plugin"]', has_text="2 hflip").wait_for()
        # Mirrored alone: 20..80 and 90..130 of 200 are at 120..180 and 70..110.
        assert extent(looking.pixels(carousel.nth(2)), greenish) == pytest.approx((0.35, 0.2, 0.9, 0.7), abs=0.04)
        assert looking.error() == ""
    finally:
        remove(dataset)


def test_nothing_listens_beyond_this_machine(app):
    """Neither the App nor MongoDB listens on, or is connected to, another address than the loopback's."""
    own = psutil.Process(os.getpid())
    mine = {own, psutil.Process(app.pid), *own.children(recursive=True)}
    mine |= {process for process in psutil.process_iter() if _is_ours(process)}
    listening = set()
    for process in mine:
        try:
            connections = process.net_connections("inet")
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        for connection in connections:
            assert connection.laddr.ip in {"127.0.0.1", "::1"}, (process, connection)
            assert not connection.raddr or connection.raddr.ip in {"127.0.0.1", "::1"}, (process, connection)
            if connection.status == psutil.CONN_LISTEN:
                listening.add(process.name())
    assert "mongod" in listening
    assert any(name.startswith("python") for name in listening)


def _is_ours(process):
    """Whether a process is the MongoDB of the tests, or looks after it."""
    from augsuite_fiftyone.database import home

    try:
        return any(str(home()) in part for part in process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False
