"""`model.pt`: the weights and what is needed to use them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch
from torch import nn

from augsuite.augment import Feed
from augsuite.training.settings import Settings


def save_model(path: Path, trainer: str, config: Settings, network: nn.Module, feed: Feed) -> None:
    """Write what `augsuite.protocols.Train` says of `model.pt`, whole or not at all.

    Args:
        path: the file.
        trainer: its name.
        config: its settings.
        network: whose weights are kept.
        feed: what it was trained on; gives categories, mean and standard deviation.
    """
    partial = path.with_name(f".{path.name}.partial")
    content = {
        "trainer": trainer,
        "config": msgspec.to_builtins(config),
        "categories": feed.data.categories.names.tolist(),
        "mean": list(feed.mean),
        "std": list(feed.std),
        "state": {name: value.detach().cpu() for name, value in network.state_dict().items()},
    }
    torch.save(content, partial)
    partial.replace(path)
