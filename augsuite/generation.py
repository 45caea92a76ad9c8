"""Makes a dataset by name, through the generator that a plugin declares."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from augsuite import registry
from augsuite.config import check_options
from augsuite.conversion import check_target
from augsuite.dataset import Dataset
from augsuite.dataset.output import fresh_folder
from augsuite.dataset.publishing import target_of
from augsuite.errors import ConfigError


def make(
    name: str,
    folder: str | os.PathLike[str],
    *,
    images: int,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
    **options: str,
) -> Dataset:
    """Make a dataset in a folder; a kill or an error leaves what was there before.

    Args:
        name: a generator, as `augsuite datasets` lists them.
        folder: where to write.
        images: how many; 1 or more.
        seed: the same seed gives the same dataset.
        overwrite: replace a dataset that is there.
        progress: called with 1 for each image made.
        options: what the generator's declaration lists.

    Returns:
        The dataset, rooted at `folder`.

    Raises:
        ConfigError: for an unknown name or option, a value that is not allowed, or a folder that exists.
    """
    spec = registry.find("dataset generator", registry.default().datasets(), name)
    check_options(name, spec.options, options)
    if images < 1 or seed < 0:
        raise ConfigError(f"{name}: expected 1 image or more and a seed of 0 or more, got {images} and {seed}.")
    target = Path(folder)
    check_target(None, target, overwrite)
    generate = registry.load(spec.make, f"dataset generator {name}", "all")
    with fresh_folder(target) as temporary:
        data = generate(temporary, images, seed, progress or _ignore, **options)
    return replace(data, root=target_of(target))


def _ignore(count: int) -> None:
    del count
