"""The stages of a network: what is unfrozen together, and what learns at one rate.

A stage is what works at one resolution, as the papers of ResNet and its successors use the word. It is found in the network itself,
by the same three rules for every architecture:

1. A network is taken apart into blocks: the children of the network, where a `Sequential` (`ModuleList`, `ModuleDict`), and any part that
   holds more than half of all weights, is opened in turn.
2. A block belongs to the stage of the block that runs before it, unless its feature map has at most half as many positions as the
   stage's first: then it begins a stage. The hidden layers of a classifier see one position, and so are a stage of their own.
   A stage without weights other than those of normalisation is none: it belongs to the one before.
3. In a network that keeps one resolution throughout, such as ViT, each block is a stage.

Heads and auxiliary classifiers are no stages: they are new, and always trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from augsuite_finetune.networks import REFUSALS, auxiliary, find_heads, try_size

CANONICAL = 224
"""Stages are found at this size wherever a network takes it, so that they are the same however small one trains."""


@dataclass(frozen=True)
class Stage:
    """Neighbouring blocks of one resolution.

    Attributes:
        name: the dotted names of its first and last block.
        positions: of the feature map that its first block gives, height times width.
        paths: the dotted names of its blocks.
        parameters: its weights.
    """

    name: str
    positions: int
    paths: list[str] = field(repr=False)
    parameters: list[nn.Parameter] = field(repr=False)


@dataclass
class Block:
    """A part of the network, and the positions of what it gave; 0 where it did not run by itself."""

    path: str
    module: nn.Module
    positions: int = 0


def find_stages(model: nn.Module, name: str, size: int) -> list[Stage]:
    """The stages of a network, from the images to the head.

    Args:
        model: with a head of any number of classes.
        name: as in the setting `model`.
        size: side of the images that the network is known to take, for those that do not take `CANONICAL`.

    Returns:
        At least one. All weights outside of the heads are in exactly one stage; those that belong to no block, such as the class token of
        a ViT, in the first.
    """
    left_out = {
        id(part) for path in (*find_heads(model, name), *auxiliary(name)) for part in [model.get_submodule(path)]
    }
    blocks = [Block(path, module) for path, module in take_apart(model, left_out)]
    ran = run(model, blocks, size)
    groups: list[list[Block]] = []
    for block in ran:
        starts = bool(groups) and 0 < block.positions <= groups[-1][0].positions / 2 and has_weights([block])
        if starts or not groups:
            groups.append([])
        groups[-1].append(block)
    if len(groups) == 1:
        groups = [[block] for block in groups[0] if has_weights([block])]
    return gather(model, groups, blocks, left_out)


def take_apart(model: nn.Module, left_out: set[int]) -> Iterator[tuple[str, nn.Module]]:
    """Dotted names and modules of the blocks, in the order in which they were made; see rule 1."""
    half = sum(part.numel() for part in model.parameters()) / 2

    def inside(path: str, part: nn.Module) -> Iterator[tuple[str, nn.Module]]:
        for name, child in part.named_children():
            full = f"{path}.{name}" if path else name
            if id(child) in left_out:
                continue
            opened = isinstance(child, nn.Sequential | nn.ModuleList | nn.ModuleDict)
            opened = opened or sum(weight.numel() for weight in child.parameters()) > half
            opened = opened or any(id(inner) in left_out for inner in child.modules())
            if opened and any(True for _ in child.children()):
                yield from inside(full, child)
            else:
                yield full, child

    return inside("", model)


def run(model: nn.Module, blocks: list[Block], size: int) -> list[Block]:
    """Those blocks that run by themselves and have weights, in the order in which they do, with their positions filled in."""
    ran: list[Block] = []

    def note(block: Block, result: Any) -> None:
        if not block.positions and isinstance(result, Tensor):
            block.positions = positions_of(result)
            ran.append(block)

    hooks = [
        block.module.register_forward_hook(lambda _module, _given, result, block=block: note(block, result))
        for block in blocks
        if any(True for _ in block.module.parameters())
    ]
    try:
        try_size(model, CANONICAL)
    except REFUSALS:
        ran.clear()
        for block in blocks:
            block.positions = 0
        try_size(model, size)
    finally:
        for hook in hooks:
            hook.remove()
    return ran


def positions_of(features: Tensor) -> int:
    """Height times width of `(B, C, H, W)` or `(B, H, W, C)` features of square images, the length of a sequence `(B, L, C)`, or 1."""
    shape = tuple(features.shape)
    if len(shape) == 4:
        return shape[2] * shape[3] if shape[2] == shape[3] else shape[1] * shape[2]
    return shape[1] if len(shape) == 3 else 1


def has_weights(blocks: list[Block]) -> bool:
    """Whether there is more than normalisation."""
    return any(weight.ndim > 1 for block in blocks for weight in block.module.parameters())


def gather(model: nn.Module, groups: list[list[Block]], blocks: list[Block], left_out: set[int]) -> list[Stage]:
    """Stages of groups of blocks; what is in no block, or in one that did not run by itself, joins what was made before it."""
    number = {block.path: place for place, group in enumerate(groups) for block in group}
    paths: list[list[str]] = [[] for _ in groups]
    parameters: list[list[nn.Parameter]] = [[] for _ in groups]
    taken = {id(weight) for part in model.modules() if id(part) in left_out for weight in part.parameters()}
    place = 0
    for block in blocks:
        place = number.get(block.path, place)
        paths[place].append(block.path)
        for weight in block.module.parameters():
            if id(weight) not in taken:
                taken.add(id(weight))
                parameters[place].append(weight)
    parameters[0][:0] = [weight for weight in model.parameters() if id(weight) not in taken]
    return [
        Stage(
            group[0].path if len(group) == 1 else f"{group[0].path} to {group[-1].path}",
            group[0].positions,
            own,
            weights,
        )
        for group, own, weights in zip(groups, paths, parameters, strict=True)
    ]
