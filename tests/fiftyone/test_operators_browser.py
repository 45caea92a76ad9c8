"""An operator in a real browser: found, its form filled in, run; and what it made is in the grid."""

from __future__ import annotations

import base64
import io

import numpy as np
import PIL.Image
from browserkit import PATIENCE_MS
from operatorkit import new_samples, picture


def test_a_step_chosen_in_the_form_is_shown_and_its_samples_appear(fo, dataset, looking, tmp_path):
    # White at the left, so that a mirrored image is known by its right.
    paths = [picture(tmp_path / f"{name}.png", (80, 60), (0, 0, 0), [(0, 0, 40, 60, (255, 255, 255))]) for name in "ab"]
    box = fo.Detection(label="half", bounding_box=[0, 0, 0.5, 1])
    dataset.add_samples([fo.Sample(path, boxes=fo.Detections(detections=[box])) for path in paths])
    page = looking.page
    looking.open(dataset)
    page.keyboard.press("Backquote")
    page.get_by_placeholder("Search").or_(page.locator("input:focus")).first.wait_for()
    page.keyboard.type("augsuite: augment")
    page.get_by_text("augsuite: augment samples").first.click()
    page.get_by_text("One step").click()
    page.get_by_text("hflip: mirrored left and right").wait_for()
    shown = page.locator('img[src^="data:image/jpeg"]').last.get_attribute("src")
    sheet = np.asarray(PIL.Image.open(io.BytesIO(base64.b64decode(shown.partition(",")[2])))).astype(int)
    # Twice 320 pixels with 8 between them: white at the far left and at the far right.
    assert (sheet[120, [80, 240, 408, 568]].mean(axis=1) > 128).tolist() == [True, False, False, True]
    looking.picture("operator-form")
    button = page.get_by_role("button", name="Augment", exact=True)
    page.wait_for_function(
        "() => [...document.querySelectorAll('button')].some(each => each.textContent === 'Augment' && !each.disabled)"
    )
    button.first.click()
    page.wait_for_function(
        '() => document.querySelectorAll(\'[data-cy="fo-grid"] [data-cy="looker"]\').length === 4', timeout=PATIENCE_MS
    )
    looking.grid()
    looking.picture("operator-after")
    made = new_samples(dataset)
    assert [sample.boxes.detections[0].bounding_box for sample in made] == [[0.5, 0, 0.5, 1]] * 2
