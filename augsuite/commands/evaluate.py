"""`augsuite evaluate`: how good predictions are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
import msgspec

from augsuite.commands.console import json_option, print_json, print_table, shown_progress
from augsuite.commands.reading import Reading, reading_options
from augsuite.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    from augsuite.dataset import Dataset
    from augsuite.evaluation.detections import Detections
    from augsuite.evaluation.predictions import LabelScores
    from augsuite.evaluation.report import DetectionReport, LabelReport

_STORED = ("predictions.json", "predictions.csv")  # in a run's folder
_RIGHT = frozenset(range(1, 9))
_WORST = 5


@click.command()
@click.argument("dataset", type=click.Path(path_type=Path))
@click.argument("predictions", type=click.Path(path_type=Path))
@click.option("--split", metavar="NAME", help="Judge this split of DATASET only.")
@click.option("--only-predicted", is_flag=True, help="Judge only the images of which something was predicted.")
@click.option(
    "--metric",
    type=click.Choice(["coco", "voc"]),
    default="coco",
    show_default=True,
    help="Whose average precision: COCO's, or Pascal VOC's at IoU 0.5.",
)
@click.option(
    "--score",
    type=click.FloatRange(0, 1),
    metavar="S",
    help="Least score of what the confusion matrix and the errors count; by default that of the best F1.",
)
@click.option(
    "--html", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Write a page with charts."
)
@reading_options
@json_option
def evaluate(
    dataset: Path,
    predictions: Path,
    split: str | None,
    only_predicted: bool,
    metric: Literal["coco", "voc"],
    score: float | None,
    html: Path | None,
    reading: Reading,
    as_json: bool,
) -> None:
    """Judge PREDICTIONS by the labels of DATASET.

    PREDICTIONS are COCO results (predictions.json), label scores (predictions.csv), the folder of a run that has one of them, or
    a dataset in any format whose annotations have scores.
    """
    from augsuite.evaluation.predictions import LabelScores, predicted_only
    from augsuite.evaluation.report import detection_report, label_report

    with shown_progress():
        data = _split(reading(dataset), split)
        found = _read(predictions, data)
        if only_predicted and not isinstance(found, LabelScores):
            data, found = predicted_only(data, found)
        report: DetectionReport | LabelReport
        if isinstance(found, LabelScores):
            report = label_report(data, found)
        else:
            report = detection_report(data, found, metric=metric, threshold=score)
        if html is not None:
            from augsuite.dataset.saving import save_text
            from augsuite.evaluation.page import page  # templates and pictures, which the text does not need

            save_text(page(data, found, report, predictions.resolve().name), html)
    _tell_missing(report)
    if as_json:
        print_json(msgspec.to_builtins(report))
    elif html is not None:
        click.echo(html)
    else:
        _print(report)


def _split(data: Dataset, name: str | None) -> Dataset:
    if name is None:
        return data
    kept = data.where(splits=[name]) if name in set(data.images.splits) else None
    if kept is None:
        known = sorted(set(map(str, data.images.splits)))
        raise ConfigError(f"--split {name!r}: the dataset has no such split. {nearest(name, known)}".rstrip())
    return kept


def _read(path: Path, data: Dataset) -> Detections | LabelScores:
    from augsuite.evaluation import predictions

    stored = next((path / name for name in _STORED if (path / name).is_file()), path)
    if not stored.exists():
        raise ConfigError(f"{path}: no such file or folder. Give the file of predictions.")
    if predictions.is_results(stored):
        return predictions.read_results(stored, data)
    if predictions.is_label_scores(stored):
        return predictions.read_labels(stored, data)
    said = Reading()(stored)
    if not len(said.annotations):
        raise DataError(f"{path}: holds no annotation, so nothing was predicted. Is it the right file?")
    taken = predictions.detections_of if said.annotations.is_box.any() else predictions.labels_of
    return taken(said, data, str(path))


def _tell_missing(report: DetectionReport | LabelReport) -> None:
    from augsuite.evaluation.report import LabelReport

    count = report.images_without_predictions
    if not count:
        return
    if isinstance(report, LabelReport):
        click.echo(f"note: {count:,} images without predictions are left out.", err=True)
    else:
        said = "count as images in which nothing was found; see --split and --only-predicted"
        click.echo(f"note: {count:,} images without predictions {said}.", err=True)


def _print(report: DetectionReport | LabelReport) -> None:
    from augsuite.evaluation.report import LabelReport

    print_table(["what", "%"], [[name, _number(value)] for name, value in report.metrics.items()], right=frozenset({1}))
    click.echo()
    if isinstance(report, LabelReport):
        print_table(
            ["category", "images", "top1"],
            [
                [name, f"{sum(report.confusion[report.names.index(name)]):,}", _number(value)]
                for name, value in report.categories.items()
            ],
            right=_RIGHT,
        )
        if report.worst:
            click.echo()
            print_table(
                ["surest and wrong", "is", "predicted", "score"],
                [
                    [each.image, ", ".join(each.labels), each.predicted, f"{each.score:.3f}"]
                    for each in report.worst[:_WORST]
                ],
                right=frozenset({3}),
            )
        return
    if report.voc:
        print_table(
            ["category", "objects", "AP", "AP11"],
            [[each.name, f"{each.objects:,}", _number(each.ap), _number(each.ap11)] for each in report.voc],
            right=_RIGHT,
        )
    else:
        print_table(
            ["category", "objects", "AP", "AP50", "AP75", "APs", "APm", "APl", "AR100"],
            [
                [
                    each.name,
                    f"{each.objects:,}",
                    *map(_number, (each.ap, each.ap50, each.ap75, each.small, each.medium, each.large, each.recall)),
                ]
                for each in report.categories
            ],
            right=_RIGHT,
        )
    click.echo()
    click.echo(
        f"At score {report.threshold:.3g} and IoU 0.5: precision {report.precision:.1f} %, recall {report.recall:.1f} %."
    )
    if report.worst:
        click.echo()
        print_table(
            ["worst images", "errors", "false alarms", "missed"],
            [
                [each.image, f"{each.errors:,}", f"{each.alarms:,}", f"{each.missed:,}"]
                for each in report.worst[:_WORST]
            ],
            right=_RIGHT,
        )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
