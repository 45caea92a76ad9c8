"""`augsuite convert`: read a dataset in one format, write it in another, and say what was lost."""

from __future__ import annotations

import click
import msgspec

from augsuite import conversion
from augsuite.commands import console
from augsuite.commands.engine import Chosen, engine_options, tell_retried
from augsuite.commands.reading import tell


@click.command()
@click.argument("source")
@click.argument("target", type=click.Path())
@click.option("--to", "to", metavar="FORMAT", help="The format to write; `augsuite formats` lists them.")
@click.option("--from", "source_format", metavar="FORMAT", help="The format of SOURCE, where detection is not enough.")
@click.option("--option", "pairs", multiple=True, metavar="NAME=VALUE", help="An option of the reader or writer.")
@click.option(
    "--images",
    type=click.Choice(conversion.PLACINGS),
    default="copy",
    show_default=True,
    help="How image files get there.",
)
@click.option("--overwrite", is_flag=True, help="Replace the dataset at TARGET.")
@click.option("--lossless", is_flag=True, help="Write nothing if anything would be lost.")
@click.option(
    "--sidecar", is_flag=True, help="Keep what would be lost in a file beside the output; reading brings it back."
)
@click.option("--skip-invalid", is_flag=True, help="Leave out invalid rows, counted, instead of stopping at the first.")
@click.option("--allow-outside", is_flag=True, help="Let names and links lead to images outside the dataset's folder.")
@click.option("--stream", is_flag=True, help="Work in parts, in memory that does not grow with the dataset.")
@engine_options
@console.json_option
def convert(
    source: str,
    target: str,
    to: str | None,
    source_format: str | None,
    pairs: tuple[str, ...],
    images: str,
    overwrite: bool,
    lossless: bool,
    sidecar: bool,
    skip_invalid: bool,
    allow_outside: bool,
    stream: bool,
    chosen: Chosen,
    as_json: bool,
) -> None:
    """Convert a dataset from one format to another.

    SOURCE is a file or folder, or the name of a bundled dataset or of a folder in AUGSUITE_DATA. TARGET is the folder to write. Either
    may be fiftyone://NAME, a dataset of FiftyOne; then --to can be left out.
    """
    with console.shown_progress(), chosen.connected():
        done = conversion.convert(
            source,
            target,
            to,
            source_format,
            skip_invalid=skip_invalid,
            allow_outside=allow_outside,
            overwrite=overwrite,
            images=images,  # type: ignore[arg-type]  # click has checked the choice
            lossless=lossless,
            sidecar=sidecar,
            stream=stream,
            workers=chosen.workers,
            engine=chosen.engine,
            options=console.parse_options(pairs),
        )
    if as_json:
        console.print_json(msgspec.to_builtins(done, enc_hook=str))
        return
    counts = f"{done.images:,} images   {done.boxes:,} boxes"
    if done.image_labels:
        counts += f"   {done.image_labels:,} image labels"
    click.echo(
        f"{done.source_format} -> {done.target_format}   {counts}   {done.seconds:.1f} s   lost: {', '.join(done.lost) or 'nothing'}"
        + (" (kept in the sidecar)" if sidecar and done.lost else "")
    )
    tell(done.notes, done.skipped)
    tell_retried(done.retried)
