"""How good predictions are: average precision for boxes; top-1, top-5 and calibration for image labels; and where they err."""

from __future__ import annotations

from augsuite.evaluation.coco import COCO_NAMES, Evaluator, evaluate_detections
from augsuite.evaluation.detections import Detections, write_results
from augsuite.evaluation.labels import Calibration, calibration, evaluate_labels, label_confusion, per_image_labels
from augsuite.evaluation.mistakes import Mistakes, best_threshold, confusion, image_precision, mistakes, per_image
from augsuite.evaluation.predictions import LabelScores, read_labels, read_results, write_labels
from augsuite.evaluation.voc import evaluate_voc

__all__ = [
    "COCO_NAMES",
    "Calibration",
    "Detections",
    "Evaluator",
    "LabelScores",
    "Mistakes",
    "best_threshold",
    "calibration",
    "confusion",
    "evaluate_detections",
    "evaluate_labels",
    "evaluate_voc",
    "image_precision",
    "label_confusion",
    "mistakes",
    "per_image",
    "per_image_labels",
    "read_labels",
    "read_results",
    "write_labels",
    "write_results",
]
