"""Write a COCO file of the shape of instances_train2017: as many images and boxes, polygons as long, 1 % crowds as RLE.

    python bench/train2017.py OUT.json [--images 118287]

Key order, spacing, ids with gaps and the number of digits are those of the real file; the values are drawn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

IMAGES = 118_287
BOXES_PER_IMAGE = 860_001 / IMAGES
CATEGORIES = 80
CROWD_SHARE = 0.01
WITHOUT_BOXES = 1_021 / IMAGES
POINTS_MEDIAN, POINTS_SPREAD = 20.0, 0.72  # log-normal; the mean is 26 points a polygon
POINTS_MOST = 1_000
HUNDREDTHS = np.array([f"{value / 100:.2f}" for value in range(640 * 100 + 1)], dtype=object)
BLOCK = 20_000
NUMBERED = [number for number in range(1, 91) if number not in {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}]


def write(path: Path, images: int = IMAGES, seed: int = 0) -> None:
    """Write the file."""
    rng = np.random.default_rng(seed)
    ids = rng.permutation(images * 5)[:images] + 1
    sizes = rng.choice([[640, 480], [480, 640], [640, 427], [500, 375], [612, 612]], images)
    with path.open("w", encoding="ascii") as out:
        out.write(
            '{"info": {"description": "COCO-like","url": "http://cocodataset.org","version": "1.0","year": 2017,'
            '"contributor": "bench","date_created": "2017/09/01"},"licenses": [{"url": '
            '"http://creativecommons.org/licenses/by-nc-sa/2.0/","id": 1,"name": "Attribution-NonCommercial-ShareAlike License"}],'
            '"images": ['
        )
        for start in range(0, images, BLOCK):
            rows = range(start, min(start + BLOCK, images))
            out.write("," * (start > 0) + ",".join(_image(int(ids[row]), *sizes[row].tolist()) for row in rows))
        out.write('],"annotations": [')
        boxed = rng.permutation(images)[round(images * WITHOUT_BOXES) :]
        boxes = round(images * BOXES_PER_IMAGE)
        for start in range(0, boxes, BLOCK):
            count = min(BLOCK, boxes - start)
            out.write("," * (start > 0) + ",".join(_annotations(rng, start, count, ids, sizes, boxed)))
        categories = ",".join(
            f'{{"supercategory": "kind {number // 10}","id": {number},"name": "class {number}"}}' for number in NUMBERED
        )
        out.write(f'],"categories": [{categories}]}}')


def _image(number: int, width: int, height: int) -> str:
    return (
        f'{{"license": {number % 8 + 1},"file_name": "{number:012d}.jpg","coco_url": '
        f'"http://images.cocodataset.org/train2017/{number:012d}.jpg","height": {height},"width": {width},"date_captured": '
        f'"2013-11-{number % 28 + 1:02d} 11:18:{number % 60:02d}","flickr_url": '
        f'"http://farm{number % 9 + 1}.staticflickr.com/{number % 9999}/{number}_4e622c8349_z.jpg","id": {number}}}'
    )


def _annotations(
    rng: np.random.Generator, start: int, count: int, ids: np.ndarray, sizes: np.ndarray, boxed: np.ndarray
) -> list[str]:
    rows = rng.choice(boxed, count)
    corner = rng.uniform(0, 0.7, (count, 2)) * sizes[rows]
    extent = rng.uniform(0.02, 0.29, (count, 2)) * sizes[rows]
    points = np.clip(rng.lognormal(np.log(POINTS_MEDIAN), POINTS_SPREAD, count).astype(int), 4, POINTS_MOST)
    outlines, ends = _outlines(rng, corner + extent / 2, extent / 2, points)
    crowd = rng.random(count) < CROWD_SHARE
    categories = rng.choice(NUMBERED, count)
    area = (extent.prod(axis=1) * rng.uniform(0.4, 0.9, count)).tolist()
    lines = []
    for at in range(count):
        (x, y), (w, h) = corner[at], extent[at]
        if crowd[at]:
            shape = _blob(*sizes[rows[at]].tolist(), int(points[at]), at)
        else:
            shape = f"[[{','.join(outlines[ends[at] : ends[at + 1]])}]]"
        lines.append(
            f'{{"segmentation": {shape},"area": {area[at]!r},"iscrowd": {int(crowd[at])},"image_id": {ids[rows[at]]},"bbox": '
            f'[{x:.2f},{y:.2f},{w:.2f},{h:.2f}],"category_id": {categories[at]},"id": {start + at + 1 + 900_000_000_000 * int(crowd[at])}}}'
        )
    return lines


def _outlines(
    rng: np.random.Generator, centre: np.ndarray, half: np.ndarray, points: np.ndarray
) -> tuple[list[str], list[int]]:
    """Coordinates as text, one polygon after the other, and where each begins; no outline crosses itself."""
    ends = np.concatenate(([0], np.cumsum(points)))
    row = np.repeat(np.arange(len(points)), points)
    angle = 2 * np.pi * (np.arange(ends[-1]) - ends[row]) / points[row]
    radius = rng.uniform(0.7, 1, len(row))[:, None]
    xy = centre[row] + half[row] * radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return HUNDREDTHS[np.rint(xy * 100).astype(int)].ravel().tolist(), (2 * ends).tolist()


def _blob(width: int, height: int, columns: int, seed: int) -> str:
    """A crowd's mask as runs down the columns, without holes: some of each column, from the sixth pixel down."""
    runs = [height * 9 + 5]
    for step in range(min(columns, width - 10)):
        inside = 7 + (seed + step) % 90
        runs += [inside, height - inside]
    runs.append(width * height - sum(runs))
    return f'{{"counts": [{",".join(map(str, runs))}],"size": [{height},{width}]}}'


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--images", type=int, default=IMAGES)
    options = parser.parse_args()
    write(options.out, options.images)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
