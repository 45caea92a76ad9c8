"""A study in FiftyOne, whose predictions are made by hand, so that every number on an image can be worked out."""

from __future__ import annotations

import json
import math

import PIL.Image
import pytest
from evalkit import judged
from studykit import Bench

import augsuite
from augsuite.errors import ConfigError, DataError
from augsuite_fiftyone.app_plugin.panel_charts import curves, intervals
from augsuite_fiftyone.study_looks import WORKSPACE, save_workspace
from augsuite_fiftyone.study_marks import plain_name
from augsuite_fiftyone.study_story import KEY
from augsuite_fiftyone.view_study import open_study

INLINE = ("study", "run", "study.yaml", "--engine", "inline")
ARM = "h+flip"
FIXED, BROKE, ONLY = (
    f"images this augmentation fixed ({ARM})",
    f"images it broke ({ARM})",
    "objects only this arm finds ({})",
)
# The picture k has one object of 10 x 20 at (2 + k, 5), a cat where k is even. With `h+flip` the seeds 0 and 1 miss the picture 0, the
# seed 2 the picture 1; in the picture 2 it is surer of a false alarm than of its find, so that precision is 1/2 at every recall.
FOUND = {
    "none": {seed: set(range(6)) for seed in range(3)},
    ARM: {0: set(range(1, 8)), 1: set(range(1, 8)), 2: {0, *range(2, 8)}},
}
EFFECTS = [-200 / 3, -100 / 3, -50, 0, 0, 0, 100, 100]


def predictions(content, arm, seed):
    """COCO results of one run."""
    found = []
    for row, one in enumerate(content["annotations"]):
        same = {"image_id": one["image_id"], "category_id": one["category_id"], "bbox": one["bbox"]}
        if row in FOUND[arm][seed]:
            found.append({**same, "score": 0.9})
        elif arm == "none" and row == 7:  # in the right place, under the wrong name
            found.append({**same, "category_id": 3 - one["category_id"], "score": 0.25})
        if arm == ARM and row == 2:
            found.append({**same, "bbox": [28, 30, 8, 8], "score": 0.95})
    return found


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    made = Bench(tmp_path_factory.mktemp("study"))
    text = (
        made.file.read_text()
        .replace("hflip: [", f"{ARM}: [")
        .replace("split: {train: 6, val: 2, seed: 0}", "val_dataset: pets")
    )
    made.file.write_text(text)
    assert made.invoke(*INLINE).returncode == 0
    content = json.loads((made.folder / "pets" / "annotations" / "instances.json").read_text())
    for run in made.state()["runs"]:
        path = made.store / "runs" / run["digest"] / "predictions.json"
        path.write_text(json.dumps(predictions(content, run["arm"], run["seed"])))
    return made


@pytest.fixture(scope="module")
def study(fo, bench):
    """It as `augsuite view` shows it."""
    dataset = open_study(bench.out, name="study-pets")
    yield dataset
    dataset.delete()


def files(view):
    """Names of a view's images, in its order."""
    return [path.rpartition("/")[2] for path in view.values("filepath")]


def test_the_effect_on_each_image_is_what_can_be_worked_out(study):
    assert study.values("effect_h_flip") == pytest.approx(EFFECTS)
    assert study.values("ap_none") == pytest.approx([100] * 6 + [0, 0])
    assert study.values("ap_h_flip") == pytest.approx([100 / 3, 200 / 3, 50, 100, 100, 100, 100, 100])
    assert [path.rpartition("/")[2] for path in study.sort_by("effect_h_flip").values("filepath")][:3] == [
        "0.png",
        "2.png",
        "1.png",
    ]
    assert "over the seeds of both" in study.get_field("effect_h_flip").description


def test_the_value_of_an_image_is_that_of_pycocotools_on_it_alone(bench, study):
    content = json.loads((bench.folder / "pets" / "annotations" / "instances.json").read_text())
    for row, image in enumerate(content["images"]):
        alone = content | {
            "images": [image],
            "annotations": [one for one in content["annotations"] if one["image_id"] == image["id"]],
        }
        for arm, field in (("none", "ap_none"), (ARM, "ap_h_flip")):
            judges = [
                judged(alone, [one for one in predictions(content, arm, seed) if one["image_id"] == image["id"]]).stats[
                    1
                ]
                for seed in range(3)
            ]
            assert study.values(field)[row] == pytest.approx(100 * sum(judges) / 3)


def test_boxes_are_true_or_false_positives(study):
    # Of `none` the box under the wrong name is less sure than the best F1 asks for: not shown.
    assert study.values("none.detections.eval") == [["tp"]] * 6 + [[], []]
    assert study.values("h_flip.detections.eval") == [[], ["tp"], ["fp", "tp"], *[["tp"]] * 5]
    assert study.values("h_flip.detections.confidence")[2] == [0.95, 0.9]
    assert study.values("h_flip.detections.bounding_box")[2][1] == pytest.approx([4 / 40, 5 / 40, 10 / 40, 20 / 40])
    assert study.values("h_flip.detections.eval_iou")[1] == [1.0]
    schema = study.app_config.color_scheme.fields
    assert {each["path"]: each["colorByAttribute"] for each in schema} == dict.fromkeys(
        ("ground_truth", "none", "h_flip"), "eval"
    )


def test_objects_say_who_finds_them(study):
    # Over the seeds: `h+flip` finds the picture 1 with two of three, and 0 with one.
    assert study.values("ground_truth.detections.eval") == [["some"], *[["tp"]] * 5, ["some"], ["some"]]
    assert study.values("ground_truth.detections.only_found_by") == [["none"], *[[None]] * 5, [ARM], [ARM]]
    assert study.values("ground_truth.detections.found_by")[1] == [["none", ARM]]
    assert study.values("ground_truth.detections.missed_by")[0] == [["h_flip"]]
    assert study.values("ground_truth.detections.size") == [["small"]] * 8  # 200 pixels


def test_views_show_what_an_arm_changed_in_the_order_of_the_effect(study):
    assert sorted(files(study.load_saved_view(FIXED))) == ["6.png", "7.png"]
    assert files(study.load_saved_view(BROKE)) == ["0.png", "2.png", "1.png"]
    assert sorted(files(study.load_saved_view(ONLY.format(ARM)))) == ["6.png", "7.png"]
    assert files(study.load_saved_view(ONLY.format("none"))) == ["0.png"]
    small = study.load_saved_view("small objects")
    assert small.count("ground_truth.detections") == 8
    assert sorted(files(small)[:2]) == ["6.png", "7.png"]
    assert len(study.list_saved_views()) == 5


def test_the_info_holds_all_that_the_panel_needs(bench, study):
    told = json.loads(json.dumps(study.info[KEY]))
    records = {
        (run["arm"], run["seed"]): json.loads((bench.store / "runs" / run["digest"] / "record.json").read_text())
        for run in bench.state()["runs"]
    }
    reference, arm = told["arms"]
    differences = [records[ARM, seed]["metrics"]["AP"] - records["none", seed]["metrics"]["AP"] for seed in range(3)]
    assert arm["effect"]["differences"] == differences
    assert arm["effect"]["mean"] == pytest.approx(sum(differences) / 3)
    assert (reference["effect"], reference["mark"], told["reference"]) == (None, "reference", "none")
    assert [run["AP"] for run in told["runs"]] == [
        records["none", 0]["metrics"]["AP"],
        records[ARM, 0]["metrics"]["AP"],
    ]
    assert [run["min_score"] for run in told["runs"]] == [0.9, 0.9]
    assert arm["policy"] == ["{do: hflip}"]
    assert {kind: view["images"] for kind, view in arm["views"].items()} == {"fixed": 2, "broke": 3, "only": 2}
    assert {name: len(lines["none"]) for name, lines in told["curves"].items()} == {"AP": 3, "loss": 3}
    assert told["rows"][0][:2] == [
        "none",
        f"{sum(records['none', seed]['metrics']['AP'] for seed in range(3)) / 3:.1f}",
    ]


def test_the_same_study_is_not_made_twice_and_keeps_its_tags(study, bench):
    sample = study.first()
    sample.tags.append("mine")
    sample.save()
    again = open_study(bench.out, name="study-pets")
    assert again.count_sample_tags() == {"mine": 1}


def test_every_seed_and_any_score(fo, bench, fo_name):
    dataset = open_study(bench.out, name=fo_name, seeds="all", min_score=0.0)
    fields = {name for name in dataset.get_field_schema() if "seed" in name}
    assert fields == {f"{arm}_seed{seed}" for arm in ("none", "h_flip") for seed in range(3)}
    assert dataset.values("none_seed1.detections.eval")[7] == ["fp"]
    assert dataset.values("none_seed1.detections.instead_of")[7] == ["dog"]
    assert dataset.values("none_seed1.detections.label")[7] == ["cat"]
    assert dataset.values("h_flip_seed2.detections.eval")[:2] == [["tp"], []]
    # Other runs are shown: what is there of the name is made anew, and only one is left.
    one = open_study(bench.out, name=fo_name, seeds=[2])
    assert "h_flip" in one.get_field_schema()
    assert one.values("h_flip.detections.eval")[:2] == [["tp"], []]
    assert [name for name in fo.list_datasets() if name.startswith(fo_name)] == [fo_name]


def test_a_study_in_which_somebody_has_worked_is_never_replaced(fo, bench, fo_name):
    first = open_study(bench.out, name=fo_name)
    label = first.first().ground_truth.detections[0]
    first.select_labels(ids=[label.id]).tag_labels("look")
    second = open_study(bench.out, name=fo_name, seeds="all")
    assert second.name == f"{fo_name}-2"
    assert fo.load_dataset(fo_name).count_label_tags() == {"look": 1}
    assert open_study(bench.out, name=fo_name, seeds="all").name == second.name
    assert open_study(bench.out, name=fo_name, seeds=[1]).name == second.name  # nobody misses it
    assert open_study(bench.out, name=fo_name).name == fo_name


def test_what_cannot_be_shown_is_a_clear_line(fo, bench, fo_name, tmp_path):
    fo.Dataset(fo_name)
    with pytest.raises(ConfigError, match=r"was not made of a study.*--name"):
        open_study(bench.out, name=fo_name)
    with pytest.raises(ConfigError, match="no predictions of the seed 7; there are those of 0, 1, 2"):
        open_study(bench.out, seeds=[7])
    with pytest.raises(ConfigError, match="no study there"):
        open_study(tmp_path)
    other = tmp_path / "pets"
    (bench.folder / "pets").rename(other)
    try:
        with pytest.raises(DataError, match=r"images of the study cannot be read.*--images"):
            open_study(bench.out, name="gone")
        assert open_study(bench.out, name=f"{fo_name}-moved", images=str(other)).count() == 8
        PIL.Image.new("RGB", (40, 40)).save(other / "images" / "3.png")
        with pytest.raises(DataError, match=r"not those that the study measured on.*--images"):
            open_study(bench.out, name="changed", images=str(other))
    finally:
        other.rename(bench.folder / "pets")


@pytest.mark.parametrize(
    ("arm", "field"),
    [
        ("hflip+vflip", "hflip_vflip"),
        ("rotate max_deg=40", "rotate_max_deg_40"),
        ("_id", "id"),
        ("<>", "arm"),
        ("é", "arm"),
    ],
)
def test_arms_have_names_that_fiftyone_takes(arm, field):
    assert plain_name(arm) == field


@pytest.fixture(scope="module")
def labels(tmp_path_factory):
    """A study of image labels: four cats, which `none` all knows, and four dogs, which only `hflip` knows."""
    made = Bench(tmp_path_factory.mktemp("labels"))
    for name in ("quick_plugin.py", "quick_trainer.py"):
        path = made.plugin / name
        path.write_text(path.read_text().replace('"detection"', '"classification"').replace('"AP', '"top1'))
    for row in range(8):
        path = made.folder / "animals" / ("cat" if row < 4 else "dog") / f"{row}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        PIL.Image.new("RGB", (40, 30), (20 * row, 90, 0)).save(path)
    made.file.write_text(
        made.file.read_text()
        .replace("dataset: pets", "dataset: animals\nval_dataset: animals")
        .replace("split: {train: 6, val: 2, seed: 0}\n", "")
    )
    done = made.invoke(*INLINE)
    assert done.returncode == 0, done.stderr
    names = augsuite.read(made.folder / "animals").images.names.tolist()
    for run in made.state()["runs"]:
        lines = ["image,predicted,score,cat,dog"]
        for row, name in enumerate(names):
            # `hflip` errs on the first cat, with the seed 0 alone.
            dog = run["arm"] == "hflip" and (row >= 4 or (row == 0 and run["seed"] == 0))
            lines.append(f"{name},{'dog' if dog else 'cat'},0.75,{0.25 if dog else 0.75},{0.75 if dog else 0.25}")
        (made.store / "runs" / run["digest"] / "predictions.csv").write_text("\n".join(lines) + "\n")
    return made


def test_a_study_of_image_labels(fo, labels, fo_name):
    dataset = open_study(labels.out, name=fo_name)
    assert dataset.values("none.label") == ["cat"] * 8
    assert dataset.values("none.eval") == ["correct"] * 4 + ["incorrect"] * 4
    assert dataset.values("hflip.confidence") == [0.75] * 8
    assert dataset.values("effect_hflip") == pytest.approx([-100 / 3, 0, 0, 0, 100, 100, 100, 100])
    assert dataset.values("top1_hflip") == pytest.approx([200 / 3, *[100] * 7])
    assert sorted(files(dataset.load_saved_view("images this augmentation fixed (hflip)"))) == [
        "4.png",
        "5.png",
        "6.png",
        "7.png",
    ]
    assert files(dataset.load_saved_view("images it broke (hflip)")) == ["0.png"]
    assert len(dataset.list_saved_views()) == 2  # there are no objects


def arm_of(name, mean, low, high, differences, mark="open"):
    effect = {"mean": mean, "low": low, "high": high, "seeds": [0, 1], "differences": differences}
    return {"arm": name, "effect": effect, "mark": mark, "verdict": "helps"}


def test_the_chart_of_intervals():
    (means, seeds), layout = intervals(
        [arm_of("a", 2.0, 1.0, 4.0, [1.5, 2.5], "good"), arm_of("b", -1.0, -90.0, 88.0, [0.0, -2.0])], "AP"
    )
    assert (means["x"], means["y"]) == ([2.0, -1.0], ["a", "b"])
    assert (means["error_x"]["array"], means["error_x"]["arrayminus"]) == ([2.0, 89.0], [1.0, 89.0])
    assert means["text"][0] == "a: +2.0 [1.0, 4.0], helps"
    assert list(zip(seeds["y"], seeds["x"], strict=True)) == [("a", 1.5), ("a", 2.5), ("b", 0.0), ("b", -2.0)]
    low, high = layout["xaxis"]["range"]
    assert -8 < low < -6  # a very wide interval does not push the others together: seen was -2 to 2.5
    assert 6.5 < high < 8
    alone, _ = intervals([arm_of("a", 2.0, None, None, [2.0])], "AP")
    assert alone[0]["text"] == ["a: +2.0, helps"]


def test_the_chart_of_curves():
    lines = {"none": [[[1, 4.0], [2, 2.0]], [[1, 2.0], [2, 0.0]]], "a": [[[1, 1.0], [2, 5.0]], [[2, 3.0]]]}
    traces, layout = curves(lines, "loss", "none")
    strong = {trace["name"]: (trace["x"], trace["y"]) for trace in traces if trace["showlegend"]}
    assert strong == {"none": ([1, 2], [3.0, 1.0]), "a": ([2], [4.0])}  # only the epochs that all seeds have
    assert len(traces) == 6
    assert layout["yaxis"]["title"]["text"] == "loss"
    assert all(math.isfinite(value) for trace in traces for value in trace["y"])


def test_the_panel_shows_the_study_and_a_click_on_an_arm_changes_the_view(app, study, looking):
    page = looking.page
    page.goto(app.link(study.name, workspace=WORKSPACE))
    looking.grid()
    page.locator("table tr").nth(2).wait_for()
    table = [row.split("\t") for row in page.locator("table tr").all_inner_texts()]
    told = study.info[KEY]
    shown = [heading for heading in told["headings"] if heading not in {"seeds", "ms/image"}]
    assert table[0] == [*shown, "Actions"]
    for cells, row in zip(table[1:], told["rows"], strict=True):
        values = dict(zip(told["headings"], row, strict=True))
        assert [cell.strip() for cell in cells[: len(shown)]] == [values[heading] for heading in shown]
    button = page.locator(f'tr:has-text("{ARM}") button').first.bounding_box()
    assert button["x"] + button["width"] <= page.viewport_size["width"]  # one need not scroll to it
    chart = page.locator(".js-plotly-plot").first
    area = chart.locator(".nsewdrag").bounding_box()
    assert area["width"] > 0.7 * chart.bounding_box()["width"]  # the legend takes none of it
    points = page.locator(".scatterlayer .trace .points path")
    points.first.wait_for()
    assert points.count() == 1 + 3  # the effect, and each seed's
    assert {"AP", "loss"} <= set(page.locator(".js-plotly-plot .ytitle").all_text_contents())
    looking.picture("study-panel")

    page.locator(f'tr:has-text("{ARM}") button').first.click()
    page.wait_for_url("**view=images-this-augmentation-fixed-h-flip*")
    page.wait_for_function('() => document.querySelectorAll(\'[data-cy="fo-grid"] [data-cy="looker"]\').length === 2')
    looking.grid()
    page.get_by_text("broke (3)").click()
    page.wait_for_url("**view=images-it-broke-h-flip*")
    page.wait_for_function('() => document.querySelectorAll(\'[data-cy="fo-grid"] [data-cy="looker"]\').length === 3')
    page.get_by_text("all 8 images").click()
    page.wait_for_function('() => document.querySelectorAll(\'[data-cy="fo-grid"] [data-cy="looker"]\').length === 8')
    assert looking.error() == ""


def test_the_panel_of_a_dataset_without_a_study_says_what_to_do(fo, app, bench, fo_name, looking):
    dataset = fo.Dataset(fo_name)
    dataset.add_sample(fo.Sample(str(bench.folder / "pets" / "images" / "0.png")))
    save_workspace(dataset)
    looking.page.goto(app.link(fo_name, workspace=WORKSPACE))
    looking.page.get_by_text("No study in this dataset").wait_for()
    assert "augsuite view studies/NAME" in looking.page.inner_text("body")
