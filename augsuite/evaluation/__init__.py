"""How good predictions are: average precision for boxes, top-1 and top-5 for image labels."""

from __future__ import annotations

from augsuite.evaluation.coco import COCO_NAMES, Evaluator, evaluate_detections
from augsuite.evaluation.detections import Detections, write_results
from augsuite.evaluation.labels import evaluate_labels

__all__ = ["COCO_NAMES", "Detections", "Evaluator", "evaluate_detections", "evaluate_labels", "write_results"]
