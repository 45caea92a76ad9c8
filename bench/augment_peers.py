"""The pipelines of others that `bench/augment.py` measures: from the bytes of a JPEG file to one sample.

Each factory returns a function of a `Case` (path, boxes, labels) that gives an image of the wanted size and its boxes.
Nothing here is tuned against the peers: OpenCV decodes for albumentations (its documentation's way), Pillow for torchvision (the
default of references/detection), one thread each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import albumentations as A  # noqa: N812  # as its documentation imports it
import cv2
import numpy as np
import PIL.Image
import torch
from albumentations.core.bbox_utils import denormalize_bboxes, normalize_bboxes
from torchvision import tv_tensors
from torchvision.transforms import v2

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
FILL = (124, 116, 104)


@dataclass(frozen=True)
class Case:
    """One image with its boxes.

    Attributes:
        path: the file.
        boxes: `(N, 4)` float64 XYXY in pixels, inside the image.
        labels: `(N,)` int64.
        pixels: `(H, W, 3)` uint8 RGB where it was decoded before; None to read the file.
    """

    path: Path
    boxes: np.ndarray
    labels: np.ndarray
    pixels: np.ndarray | None = None


Pipeline = Callable[[Case], Any]


def read_opencv(case: Case) -> np.ndarray:
    """Pixels by OpenCV."""
    if case.pixels is not None:
        return case.pixels
    return cv2.cvtColor(cv2.imread(str(case.path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


class Expand(A.DualTransform):
    """SSD's zooming out, which albumentations lacks, written as its documentation says a transform is."""

    _targets = (A.core.type_definitions.Targets.IMAGE, A.core.type_definitions.Targets.BBOXES)

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw a ratio and a place."""
        del data
        height, width = params["shape"][:2]
        ratio = self.random_generator.uniform(1, 4)
        size = int(height * ratio), int(width * ratio)
        top, left = (
            int(self.random_generator.integers(0, large - small + 1))
            for large, small in zip(size, (height, width), strict=True)
        )
        return {"place": (left, top, *size)}

    def apply(self, img: np.ndarray, place: tuple[int, ...], **params: Any) -> np.ndarray:
        """Paste."""
        del params
        left, top, height, width = place
        canvas = np.empty((height, width, 3), np.uint8)
        canvas[:] = FILL
        canvas[top : top + img.shape[0], left : left + img.shape[1]] = img
        return canvas

    def apply_to_bboxes(self, bboxes: np.ndarray, place: tuple[int, ...], **params: Any) -> np.ndarray:
        """Shift."""
        left, top, height, width = place
        moved = denormalize_bboxes(bboxes, params["shape"][:2])
        moved[:, :4] += (left, top, left, top)
        return normalize_bboxes(moved, (height, width))


class MinIouCrop(A.DualTransform):
    """SSD's crop, which albumentations lacks as well: the trials in one numpy operation."""

    _targets = (A.core.type_definitions.Targets.IMAGE, A.core.type_definitions.Targets.BBOXES)
    floors = (None, 0.1, 0.3, 0.5, 0.7, 0.9, 0.0)

    @property
    def targets_as_params(self) -> list[str]:
        """It looks at the boxes."""
        return ["bboxes"]

    def get_params_dependent_on_data(self, params: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
        """Draw an option and the first of 50 parts that satisfies it."""
        height, width = params["shape"][:2]
        whole = {"part": (0, 0, width, height)}
        rng = self.random_generator
        floor = self.floors[rng.integers(len(self.floors))]
        if floor is None or not len(data["bboxes"]):
            return whole
        boxes = denormalize_bboxes(data["bboxes"], (height, width))[:, :4]
        widths, heights = (rng.uniform(0.3, 1, 50) * side for side in (width, height))
        left, top = rng.random(50) * (width - widths), rng.random(50) * (height - heights)
        parts = np.stack([left, top, left + widths, top + heights], axis=1).astype(int)
        low = np.maximum(parts[:, None, :2], boxes[None, :, :2])
        high = np.minimum(parts[:, None, 2:], boxes[None, :, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=2)
        areas = [np.prod(group[:, 2:] - group[:, :2], axis=1) for group in (parts, boxes)]
        overlap = shared / (areas[0][:, None] + areas[1][None] - shared)
        middles = (boxes[:, :2] + boxes[:, 2:]) / 2
        held = ((middles > parts[:, None, :2]) & (middles < parts[:, None, 2:])).all(axis=2).any(axis=1)
        shape = (widths / heights > 0.5) & (widths / heights < 2)
        good = np.flatnonzero(held & shape & (overlap.max(axis=1) >= floor))
        return {"part": tuple(parts[good[0]])} if len(good) else whole

    def apply(self, img: np.ndarray, part: tuple[int, ...], **params: Any) -> np.ndarray:
        """Slice."""
        del params
        left, top, right, bottom = part
        return img[top:bottom, left:right]

    def apply_to_bboxes(self, bboxes: np.ndarray, part: tuple[int, ...], **params: Any) -> np.ndarray:
        """Shift."""
        left, top, right, bottom = part
        moved = denormalize_bboxes(bboxes, params["shape"][:2])
        moved[:, :4] -= (left, top, left, top)
        return normalize_bboxes(moved, (bottom - top, right - left))


def _jitter() -> list[A.BasicTransform]:
    """Brightness, contrast, saturation, hue, each with its coin; its hue has OpenCV's 8 bits, which costs less than an exact one."""
    still = {"brightness": (1, 1), "contrast": (1, 1), "saturation": (1, 1), "hue": (0, 0)}
    ranges = {"brightness": (0.875, 1.125), "contrast": (0.5, 1.5), "saturation": (0.5, 1.5), "hue": (-0.05, 0.05)}
    return [A.ColorJitter(**{**still, name: value}, p=0.5) for name, value in ranges.items()]


def albumentations_ssd(size: int, *, own: bool = False, tensor: bool = False) -> Pipeline:
    """SSD by albumentations.

    Args:
        size: of the result.
        own: only what it brings along: zooming out by its Affine, which keeps the number of pixels and so is cheaper and blurs what
            is cropped afterwards, and a crop that holds all boxes. Otherwise what SSD does, by two transforms of ours.
        tensor: a normalised float32 tensor.
    """
    shrink = A.Affine(scale=(0.25, 1), translate_percent=(-0.3, 0.3), keep_ratio=True, fill=FILL, p=0.5)
    steps = [
        *_jitter(),
        *((shrink, A.BBoxSafeRandomCrop(p=1)) if own else (Expand(p=0.5), MinIouCrop(p=1))),
        A.HorizontalFlip(p=0.5),
        A.Resize(size, size),
    ]
    if tensor:
        steps += [A.Normalize(MEAN, STD), A.ToTensorV2()]
    compose = A.Compose(
        steps, bbox_params=A.BboxParams("pascal_voc", label_fields=["labels"], clip=True, min_visibility=0.1), seed=0
    )
    return lambda case: compose(image=read_opencv(case), bboxes=case.boxes, labels=case.labels)["image"]


def albumentations_classify(size: int, *, tensor: bool = False) -> Pipeline:
    """RandomResizedCrop, flip, colour."""
    steps = [
        A.RandomResizedCrop((size, size)),
        A.HorizontalFlip(p=0.5),
        A.ColorJitter(brightness=(0.6, 1.4), contrast=(0.6, 1.4), saturation=(0.6, 1.4), hue=(-0.05, 0.05), p=1),
    ]
    if tensor:
        steps += [A.Normalize(MEAN, STD), A.ToTensorV2()]
    compose = A.Compose(steps, seed=0)
    return lambda case: compose(image=read_opencv(case))["image"]


def albumentations_mosaic(cases: list[Case], size: int) -> Pipeline:
    """A 2 x 2 mosaic of whole images, as ours are; the three partners are read and handed over for each call, as its documentation does."""
    compose = A.Compose(
        [
            A.Mosaic(
                grid_yx=(2, 2),
                target_size=(size, size),
                cell_shape=(size // 2, size // 2),
                fit_mode="contain",
                fill=114,
                p=1,
            )
        ],
        bbox_params=A.BboxParams("pascal_voc", label_fields=["labels"], clip=True, min_visibility=0.1),
        seed=0,
    )
    rng = np.random.default_rng(0)

    def run(case: Case) -> Any:
        others = [cases[row] for row in rng.integers(len(cases), size=3)]
        metadata = [{"image": read_opencv(o), "bboxes": o.boxes, "labels": o.labels} for o in others]
        return compose(image=read_opencv(case), bboxes=case.boxes, labels=case.labels, mosaic_metadata=metadata)[
            "image"
        ]

    return run


def albumentations_boxes(width: int, height: int) -> Callable[[np.ndarray, np.ndarray], Any]:
    """Four geometric steps of which only the boxes are wanted: on an image of one byte for each pixel, the least it takes."""
    compose = A.Compose(
        [
            A.HorizontalFlip(p=1),
            A.Affine(scale=(0.9, 1.1), translate_percent=(-0.1, 0.1), p=1),
            A.RandomCrop(height // 2, width // 2, p=1),
            A.Resize(300, 300, p=1),
        ],
        bbox_params=A.BboxParams("pascal_voc", label_fields=["labels"], clip=True, min_visibility=0.1),
        seed=0,
    )
    image = np.zeros((height, width), np.uint8)
    return lambda boxes, labels: compose(image=image, bboxes=boxes, labels=labels)["bboxes"]


def _read_torch(case: Case) -> tuple[Any, dict[str, Any]]:
    if case.pixels is not None:
        image: Any = PIL.Image.fromarray(case.pixels)
    else:
        with PIL.Image.open(case.path) as opened:
            image = opened.convert("RGB")
    boxes = tv_tensors.BoundingBoxes(
        torch.as_tensor(case.boxes, dtype=torch.float32), format="XYXY", canvas_size=(image.height, image.width)
    )
    return image, {"boxes": boxes, "labels": torch.as_tensor(case.labels)}


def torchvision_ssd(size: int, *, tensor: bool = False, backend: str = "pil") -> Pipeline:
    """The `ssd` preset of references/detection/presets.py, and the resize that its model does."""
    steps: list[Any] = [v2.ToImage()] if backend == "tensor" else []
    steps += [
        v2.RandomPhotometricDistort(),
        v2.RandomZoomOut(fill=[123.0, 117.0, 104.0]),
        v2.RandomIoUCrop(),
        v2.RandomHorizontalFlip(),
        v2.Resize((size, size)),
        v2.ToImage(),
    ]
    steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)] if tensor else [v2.ToDtype(torch.uint8)]
    steps.append(v2.SanitizeBoundingBoxes())
    compose = v2.Compose(steps)
    return lambda case: compose(*_read_torch(case))[0]


def torchvision_classify(size: int, *, tensor: bool = False) -> Pipeline:
    """RandomResizedCrop, flip, colour, on Pillow images as references/classification does."""
    steps: list[Any] = [
        v2.RandomResizedCrop((size, size), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(0.4, 0.4, 0.4, 0.05),
        v2.PILToTensor(),
    ]
    if tensor:
        steps += [v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    compose = v2.Compose(steps)
    return lambda case: compose(_read_torch(case)[0])
