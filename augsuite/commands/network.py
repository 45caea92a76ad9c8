"""`augsuite network`: the layers of a trainer's network, with shapes and parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import click

from augsuite.commands.console import json_option, print_json
from augsuite.errors import ConfigError, MissingExtraError

_ALL = 1000  # levels: more than any network has


@click.command()
@click.argument("trainer")
@click.option("--set", "pairs", multiple=True, metavar="NAME=VALUE", help="A setting of the trainer; may be repeated.")
@click.option("--classes", type=click.IntRange(min=1), default=20, show_default=True, help="Categories.")
@click.option(
    "--depth", type=click.IntRange(min=1), default=3, show_default=True, help="How deep to look into modules."
)
@json_option
def network(trainer: str, pairs: tuple[str, ...], classes: int, depth: int, as_json: bool) -> None:
    """Print the layers of TRAINER's network: shapes, parameters, multiplications.

    It is built as a training with the same settings would, without any weights that would have to be downloaded, and run once on one
    black image.
    """
    from augsuite.commands.train import parse_settings

    table = layer_table(trainer, parse_settings(pairs), classes, depth)
    if as_json:
        print_json(table)
        return
    click.echo(told(table))


def told(table: Mapping[str, Any]) -> str:
    """What `layer_table` gives as text: a line for each layer, and one for all of them."""
    rows = [("layer", "kind", "output", "parameters", "multiply-adds")]
    rows += [
        (
            "  " * layer["depth"] + (layer["name"].rpartition(".")[2] or table["trainer"]),
            layer["kind"],
            _shape(layer["output"]),
            f"{layer['parameters']:,}",
            f"{layer['multiplications']:,}",
        )
        for layer in table["layers"]
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if place > 2 else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    frozen = table["parameters"] - table["trainable"]
    lines.append(
        f"{table['parameters']:,} parameters{f' ({frozen:,} frozen)' if frozen else ''}   "
        f"{table['multiplications'] / 1e9:.2f} G multiply-adds for one image of {_shape(table['input'][2:])}   "
        f"{table['parameter_bytes'] / 2**20:.1f} MiB of weights, {table['activation_bytes'] / 2**20:.1f} MiB of outputs"
    )
    return "\n".join(lines)


def layer_table(trainer: str, config: dict[str, Any], classes: int, depth: int) -> dict[str, Any]:
    """What torchinfo says of a trainer's network.

    Args:
        trainer: its name.
        config: settings that differ from its defaults.
        classes: how many categories.
        depth: how deep to look into modules.

    Returns:
        `input` (the shape it was run on), `parameters`, `trainable`, `multiplications` (multiply-adds of one image), `parameter_bytes`,
        `activation_bytes`, and `layers`, in the order in which the network holds them: name, kind, depth, shape of the (first) output,
        which is empty where a module is not called itself, parameters and multiplications, those within counted too.

    Raises:
        ConfigError: for an unknown trainer or setting, or a trainer that declares no network.
        MissingExtraError: if torchinfo is not installed.
    """
    from augsuite import registry
    from augsuite.study.session import settings_of

    spec = registry.find("trainer", registry.default().trainers(), trainer)
    settings = settings_of(trainer, config)
    if spec.network is None:
        raise ConfigError(f"{trainer}: the trainer declares no network to show. Those of augsuite itself do.")
    build = registry.load(spec.network, f"trainer {trainer}", spec.extra)
    try:
        import torch
        from torchinfo import summary
    except ModuleNotFoundError as error:
        raise MissingExtraError("augsuite network", "train", error.name or "torchinfo") from error
    with torch.random.fork_rng(devices=[]):
        module, (height, width) = build(settings, classes)
    said = summary(module, input_size=(1, 3, height, width), depth=_ALL, verbose=0, mode="eval", device="cpu")
    # torchinfo lists calls, in their order; a network is told as it is built, each module once.
    work: Counter[int] = Counter()
    outputs: dict[int, list[int]] = {}
    for call in said.summary_list:
        work[call.layer_id] += call.macs if call.is_leaf_layer else 0
        outputs.setdefault(call.layer_id, _sizes(call.output_size))
    layers = []
    for path, part in module.named_modules():
        below = path.count(".") + 1 if path else 0
        if below <= depth:
            layers.append(
                {
                    "name": path,
                    "kind": type(part).__name__,
                    "depth": below,
                    "output": outputs.get(id(part), []),
                    "parameters": sum(values.numel() for values in part.parameters()),
                    "multiplications": sum(work[id(inner)] for inner in part.modules()),
                }
            )
    return {
        "trainer": trainer,
        "input": [1, 3, height, width],
        "parameters": sum(values.numel() for values in module.parameters()),
        "trainable": sum(values.numel() for values in module.parameters() if values.requires_grad),
        "multiplications": work.total(),
        "parameter_bytes": said.total_param_bytes,
        "activation_bytes": said.total_output_bytes,
        "layers": layers,
    }


def _sizes(shape: Any) -> list[int]:
    """A shape as torchinfo gives it: numbers, or, for several tensors, lists of them, of which the first is taken."""
    while isinstance(shape, list | tuple) and shape and isinstance(shape[0], list | tuple):
        shape = shape[0]
    return [int(side) for side in shape]


def _shape(sides: list[int]) -> str:
    return " x ".join(map(str, sides))
