"""One training of TinySSD in the style of torchvision's `references/detection`: what `bench/study.py` compares a study's run with.

    python bench/plain_ssd.py TRAIN.json VAL.json IMAGES ARM SEED EPOCHS

prints one line of JSON: the metrics, and CPU seconds by part. Nothing here is ours; it is what somebody at home in the references would
write to train the same network on a CPU:

- as the references have it: `CocoDetection` wrapped for transforms v2, which opens each JPEG by Pillow each time; a `DataLoader` with the
  default collation of lists; torchvision's `SSD` with its loop over images for matching, loss and non-maximum suppression; the loss
  looked at after each step; evaluation in float32 by pycocotools after each epoch, image by image as it comes.
- better than the references, where a competent user would be: images are resized as bytes, with antialiasing, right after the geometric
  transforms, and only then become float (the references make the whole image float, normalise it and resize it without antialiasing,
  which costs more and finds less); validation in batches (theirs: one image); fused AdamW.
- as the study has it, so that both train alike: network, anchors, initialisation, bf16, channels last, AdamW without decay of biases and
  batch norm, linear warm-up over one epoch, then cosine, batch size, number of epochs.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from pycocotools.cocoeval import COCOeval
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import CocoDetection, wrap_dataset_for_transforms_v2
from torchvision.models.detection.ssd import SSD
from torchvision.transforms import v2

SIDE, BATCH, LR, DECAY, WIDTH = 128, 8, 4e-3, 5e-4, 128
SIZES = ((0.07, 0.12, 0.18), (0.25, 0.35), (0.45, 0.55), (0.65, 0.75), (0.85, 0.95))
RATIOS = (1.0, 2.0, 0.5)

ARMS: dict[str, list[v2.Transform]] = {
    "none": [],
    "hflip": [v2.RandomHorizontalFlip(0.5)],
    "hflip+vflip": [v2.RandomHorizontalFlip(0.5), v2.RandomVerticalFlip(0.5)],
    "iou_crop": [v2.RandomIoUCrop(), v2.SanitizeBoundingBoxes()],
}
COCO_NAMES = ("AP", "AP50", "AP75")


def preset(steps: list[v2.Transform]) -> v2.Compose:
    """From an opened JPEG to what the model takes."""
    return v2.Compose(
        [
            v2.PILToTensor(),
            *steps,
            v2.Resize((SIDE, SIDE), antialias=True),
            v2.ToDtype(torch.float32, scale=True),
            v2.ToPureTensor(),
        ]
    )


def loader(file: str, images: str, steps: list[v2.Transform], *, shuffle: bool) -> DataLoader[Any]:
    with contextlib.redirect_stdout(io.StringIO()):
        plain = CocoDetection(images, file, transforms=preset(steps))
    data = wrap_dataset_for_transforms_v2(plain, target_keys=("image_id", "boxes", "labels"))
    size = BATCH if shuffle else 4 * BATCH
    return DataLoader(data, size, shuffle=shuffle, collate_fn=lambda batch: tuple(zip(*batch, strict=True)))


# The network


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def block(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.MaxPool2d(2), convolution(inputs, outputs), convolution(outputs, outputs))


class Backbone(nn.Module):
    """TinySSD with a finest map of stride 4."""

    def __init__(self) -> None:
        super().__init__()
        stem = nn.Sequential(convolution(3, WIDTH // 8, stride=2), convolution(WIDTH // 8, WIDTH // 4))
        self.stages = nn.ModuleList(
            [
                nn.Sequential(stem, block(WIDTH // 4, WIDTH // 2)),
                block(WIDTH // 2, WIDTH),
                block(WIDTH, WIDTH),
                block(WIDTH, WIDTH),
                nn.AdaptiveMaxPool2d(1),
            ]
        )

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        """`(B, 3, H, W)` to the feature maps, finest first."""
        maps = OrderedDict()
        for name, stage in enumerate(self.stages):
            images = stage(images)
            maps[str(name)] = images
        return maps


class Head(nn.Module):
    """As `SSDHead`, whose initialisation the network of the study does not share."""

    def __init__(self, channels: list[int], counts: list[int], classes: int) -> None:
        super().__init__()
        pairs = list(zip(channels, counts, strict=True))
        self.classes = nn.ModuleList(nn.Conv2d(c, n * classes, 3, padding=1) for c, n in pairs)
        self.boxes = nn.ModuleList(nn.Conv2d(c, n * 4, 3, padding=1) for c, n in pairs)
        self.columns = classes

    def forward(self, maps: list[Tensor]) -> dict[str, Tensor]:
        """`(B, A, classes)` logits and `(B, A, 4)` offsets."""

        def rows(heads: nn.ModuleList, columns: int) -> Tensor:
            found = [head(each).permute(0, 2, 3, 1) for head, each in zip(heads, maps, strict=True)]
            return torch.cat([each.reshape(len(each), -1, columns) for each in found], dim=1)

        return {"cls_logits": rows(self.classes, self.columns), "bbox_regression": rows(self.boxes, 4)}


class Anchors(nn.Module):
    """The anchors of the study, in pixels, once for each size of input."""

    def __init__(self) -> None:
        super().__init__()
        self.made: Tensor | None = None

    def forward(self, images: Any, maps: list[Tensor]) -> list[Tensor]:
        """`(A, 4)` XYXY for each image."""
        if self.made is None:
            self.made = torch.cat([self.of_scale(each, sizes) for each, sizes in zip(maps, SIZES, strict=True)])
        return [self.made] * len(images.tensors)

    @staticmethod
    def of_scale(each: Tensor, sizes: tuple[float, ...]) -> Tensor:
        """Those of one feature map."""
        shapes = [(size, size) for size in sizes]
        shapes += [(sizes[0] * ratio**0.5, sizes[0] / ratio**0.5) for ratio in RATIOS[1:]]
        half = torch.tensor(shapes) / 2
        height, width = each.shape[2:]
        y, x = torch.meshgrid((torch.arange(height) + 0.5) / height, (torch.arange(width) + 0.5) / width, indexing="ij")
        centers = torch.stack([x, y], dim=2)[:, :, None]
        return torch.cat([centers - half, centers + half], dim=3).view(-1, 4) * SIDE


def network(classes: int) -> SSD:
    counts = [len(sizes) + len(RATIOS) - 1 for sizes in SIZES]
    head = Head([WIDTH // 2, WIDTH, WIDTH, WIDTH, WIDTH], counts, classes)
    model = SSD(Backbone(), Anchors(), (SIDE, SIDE), classes, head=head, detections_per_img=100)
    return model.to(memory_format=torch.channels_last)


# Training


def groups(model: nn.Module) -> list[dict[str, Any]]:
    parts = list(model.parameters())
    return [
        {"params": [part for part in parts if part.ndim > 1], "weight_decay": DECAY},
        {"params": [part for part in parts if part.ndim <= 1], "weight_decay": 0.0},
    ]


def schedule(optimizer: torch.optim.Optimizer, epoch_steps: int, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    def factor(step: int) -> float:
        if step < epoch_steps:
            return (step + 1) / epoch_steps
        return 0.5 * (1 + math.cos(math.pi * (step - epoch_steps) / max(1, steps - epoch_steps)))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


class Clock:
    """CPU seconds by part."""

    def __init__(self) -> None:
        self.spent = {"start": time.process_time(), "data": 0.0, "steps": 0.0, "evaluation": 0.0}
        self.last = time.process_time()

    def charge(self, part: str) -> None:
        """What was spent since the last call."""
        now = time.process_time()
        self.spent[part] += now - self.last
        self.last = now

    def over(self, batches: DataLoader[Any], part: str) -> Iterator[Any]:
        """Pass batches on, and charge the making of each."""
        for batch in batches:
            self.charge(part)
            yield batch


@torch.inference_mode()
def evaluate(model: SSD, batches: DataLoader[Any], coco: Any) -> dict[str, float]:
    model.eval()
    results: list[dict[str, Any]] = []
    for images, targets in batches:
        for target, found in zip(targets, model(list(images)), strict=True):
            image = coco.imgs[target["image_id"]]
            boxes = found["boxes"] * torch.tensor([image["width"], image["height"]] * 2) / SIDE
            boxes[:, 2:] -= boxes[:, :2]
            results += [
                {"image_id": image["id"], "category_id": label, "bbox": box, "score": score}
                for label, box, score in zip(
                    found["labels"].tolist(), boxes.tolist(), found["scores"].tolist(), strict=True
                )
            ]
    with contextlib.redirect_stdout(io.StringIO()):
        judge = COCOeval(coco, coco.loadRes(results), "bbox") if results else None
        if judge is None:
            return dict.fromkeys(COCO_NAMES, 0.0)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return {name: 100 * float(value) for name, value in zip(COCO_NAMES, judge.stats[:3], strict=True)}


def main(train_file: str, val_file: str, images: str, arm: str, seed: int, epochs: int) -> None:
    clock = Clock()
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    train = loader(train_file, images, ARMS[arm], shuffle=True)
    val = loader(val_file, images, [], shuffle=False)
    coco = val.dataset.coco
    model = network(1 + len(coco.cats))
    optimizer = torch.optim.AdamW(groups(model), lr=LR, fused=True)
    scheduler = schedule(optimizer, len(train), epochs * len(train))
    clock.charge("start")
    seen, last, metrics = 0, 0.0, {}
    for _ in range(epochs):
        model.train()
        for pictures, targets in clock.over(train, "data"):
            with torch.autocast("cpu", torch.bfloat16):
                losses = model(list(pictures), [dict(target) for target in targets])
                loss = sum(losses.values())
            if not math.isfinite(loss.item()):
                sys.exit(f"the loss is {loss.item()}")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
            seen += len(pictures)
            clock.charge("steps")
        before = clock.spent["evaluation"]
        metrics = evaluate(model, val, coco)
        clock.charge("evaluation")
        last = clock.spent["evaluation"] - before
    parameters = sum(part.numel() for part in model.parameters())
    facts = {"images": seen, "parameters": parameters, "cpu": {**clock.spent, "last_evaluation": last}}
    print(json.dumps({"metrics": metrics, **facts}))


if __name__ == "__main__":
    train_json, val_json, folder, name = sys.argv[1:5]
    main(train_json, val_json, folder, name, int(sys.argv[5]), int(sys.argv[6]))
