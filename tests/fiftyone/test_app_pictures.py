"""Real data in the App, as the documentation shows it: `AUGSUITE_SCREENSHOTS=docs/images` makes its pictures again."""

from __future__ import annotations

import os

import PIL.Image
import pytest

import augsuite

_LARGEST = 400_000  # bytes of a picture in the documentation


def small(path):
    """A picture with a palette, which suits what a screen shows; its size in bytes."""
    with PIL.Image.open(path) as picture:
        colours = picture.convert("RGB").quantize(192, dither=PIL.Image.Dither.NONE)
    colours.save(path, optimize=True)
    return path.stat().st_size


def test_blood_cells_and_what_a_policy_makes_of_them(fo, real_data, looking):
    from augsuite_fiftyone.view_dataset import view_dataset
    from augsuite_fiftyone.view_policy import remove, view_policy

    data = augsuite.read(real_data / "bccd")
    looking.page.set_viewport_size({"width": 1200, "height": 720})
    looking.open(view_dataset(data, "bccd", samples=12))
    assert looking.error() == ""
    assert small(looking.picture("fiftyone-dataset")) < _LARGEST
    dataset = view_policy(data, augsuite.policy("ssd"), "bccd-ssd", samples=12)
    try:
        # The first image from which the policy drops boxes and leaves some.
        names = dataset.match({"boxes_dropped": {"$gt": 2}, "ground_truth.detections.2": {"$exists": True}}).values(
            "image"
        )
        order = dataset.values("image")
        looking.open(dataset)
        looking.open_modal(order.index(names[0]))
        cells = looking.page.locator('[data-cy="group-carousel"] [data-cy="looker"] canvas[canvas-loaded="true"]')
        cells.nth(4).wait_for()
        looking.page.mouse.move(5, 5)
        looking.page.wait_for_timeout(1000)
        assert looking.error() == ""
        assert small(looking.picture("fiftyone-policy")) < _LARGEST
    finally:
        remove(dataset)


def test_a_study_and_its_panel(fo, looking):
    folder = os.environ.get("AUGSUITE_SCREENSHOTS_STUDY")
    if not folder:
        pytest.skip("a picture of a study that AUGSUITE_SCREENSHOTS_STUDY names; its training takes minutes")
    from augsuite_fiftyone.study_looks import WORKSPACE
    from augsuite_fiftyone.view_study import open_study

    page = looking.page
    page.set_viewport_size({"width": 1440, "height": 900})
    page.goto(looking.app.link(open_study(folder).name, workspace=WORKSPACE))
    looking.grid()
    page.locator('tr:has-text("hflip+vflip") button').first.click()
    page.wait_for_url("**view=images-this-augmentation-fixed-hflip-vflip*")
    looking.grid()
    page.locator(".scatterlayer .trace .points path").first.wait_for()
    page.mouse.move(5, 5)
    page.wait_for_timeout(2000)
    assert looking.error() == ""
    assert small(looking.picture("fiftyone-study")) < _LARGEST
