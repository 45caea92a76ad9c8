"""`augsuite explain`: what a policy comes to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import click

from augsuite import registry
from augsuite.augment.explain import Explanation, Stand
from augsuite.augment.explain import explain as find_out
from augsuite.augment.policies import policy as find_policy
from augsuite.augment.preview import pick
from augsuite.commands.console import json_option, print_json, print_table
from augsuite.commands.reading import Reading, reading_options
from augsuite.config import to_plain
from augsuite.dataset.archives import at
from augsuite.errors import ConfigError

_IMAGES = 50  # of a dataset


@click.command()
@click.argument("policy")
@click.argument("dataset", required=False, type=click.Path(path_type=Path))
@click.option("--size", default="640x480", show_default=True, help="Of the image, where no dataset is given.")
@click.option("--to", "target", metavar="SIZE", help="What a trainer brings results to, such as 300x300.")
@click.option("--draws", type=click.IntRange(1, 100_000), default=200, show_default=True, help="How many to look at.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of the random numbers.")
@reading_options
@json_option
def explain(
    policy: str,
    dataset: Path | None,
    size: str,
    target: str | None,
    draws: int,
    seed: int,
    reading: Reading,
    as_json: bool,
) -> None:
    """Say what POLICY comes to: what fuses into what, how often each step happens, how small images are decoded.

    It is drawn for images of DATASET, or for a blank image with four boxes; no pixel is touched.
    """
    steps = find_policy(policy)
    if target is not None:
        steps = steps.resized(*_size("--to", target))
    if dataset is None:
        stand = Stand(*_size("--size", size))
        found = find_out(steps, [stand.original(row) for row in range(len(stand))], stand, draws=draws, seed=seed)
    else:
        data = reading(dataset)
        samples = [data.sample(row) for row in pick(data, _IMAGES, seed)]
        found = find_out(steps, samples, data, draws=draws, seed=seed)
    if as_json:
        print_json(to_plain(found))
        return
    _print(found, "blank images of " + size if dataset is None else str(at(dataset)))


def _size(option: str, text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or not (0 < int(match[1]) <= 32_000 and 0 < int(match[2]) <= 32_000):
        raise ConfigError(f"{option} {text!r}: write width and height in pixels, such as 640x480.")
    return int(match[1]), int(match[2])


def _print(found: Explanation, what: str) -> None:
    bundled = registry.default().policies().get(found.policy)
    click.echo(f"{found.policy}{f': {bundled.source}' if bundled and bundled.source else ''}")
    if found.steps:
        click.echo()
        rows = [
            [one.id, f"{one.p:g}", "-" if one.kind == "batch" else f"{one.drawn_frac:.1%}", one.becomes, one.source]
            for one in found.steps
        ]
        print_table(["step", "p", "drawn", "becomes", "source"], rows, right=frozenset({1, 2}))
    click.echo()
    click.echo("drawn first, for each step from (seed, epoch, image row, step id); then, once:")
    for line in found.passes:
        click.echo(f"  {line}")
    draws = found.draws
    click.echo(f"\nof {draws.count:,} draws for {what}:")
    click.echo(f"  decoded at      {_shares(draws.decode)}")
    click.echo(f"  geometry        {_shares(draws.pixels)}")
    click.echo(f"  values          {draws.value_ops:.2f} operations in {draws.value_passes:.2f} passes, on average")
    if draws.boxes_kept_frac is not None:
        click.echo(f"  own boxes kept  {draws.boxes_kept_frac:.1%}")
    more = draws.count - sum(draws.sizes.values())
    click.echo(f"  results         {_shares(draws.sizes)}{f', and {more:,} of other sizes' if more else ''}")


def _shares(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in counts.items())
