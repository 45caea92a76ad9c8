"""`augsuite fiftyone`: the plugin in the App, and the datasets in augsuite's database."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import click

from augsuite import ConfigError

_database = click.option("--database", metavar="URI", help="A MongoDB of yours; augsuite's own by default.")
_PAUSE_S = 2.0


@click.group()
def fiftyone() -> None:
    """Manage what augsuite has in FiftyOne."""


@fiftyone.command()
@click.option("--remove", is_flag=True, help="Take it out again.")
@click.option(
    "--plugins-dir", type=click.Path(path_type=Path, file_okay=False), help="By default where FiftyOne looks."
)
def install(remove: bool, plugins_dir: Path | None) -> None:
    """Offer augsuite's operators in every FiftyOne App.

    `augsuite view` offers them by itself. A FiftyOne that other programs start finds them once they are installed, if it runs in this
    Python environment.
    """
    from augsuite_fiftyone.app_plugin import install as plugin

    folder = plugins_dir or plugin.plugins_folder()
    done = plugin.remove(folder) if remove else plugin.install(folder)
    if remove:
        click.echo(f"removed: {done.path}" if done.did else f"not installed: {done.path}")
        return
    click.echo(f"{done.did or 'installed already'}: {done.path}")
    if folder.absolute() != plugin.plugins_folder().absolute():
        click.echo(f"note: FiftyOne looks there if you set {plugin.FOLDER}={folder.absolute()}", err=True)


@fiftyone.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_database
def list_datasets(as_json: bool, database: str | None) -> None:
    """List the datasets in the database."""
    from augsuite_fiftyone.database import connect

    fo = connect(database, quiet=as_json)
    rows = [_about(fo, name) for name in fo.list_datasets()]
    if as_json:
        click.echo(json.dumps(rows, indent=2))
        return
    for row in rows:
        lasting = "" if row["persistent"] else "   until its App ends"
        click.echo(f"{row['name']}   {row['samples']:,} samples   {row['media_type'] or 'empty'}{lasting}")
    if not rows:
        click.echo(
            "there are none; `augsuite view DATASET` or `augsuite convert DATASET fiftyone://NAME` makes one", err=True
        )


def _about(fo: Any, name: str) -> dict[str, Any]:
    dataset = fo.load_dataset(name)
    return {
        "name": name,
        "samples": len(dataset),
        "media_type": dataset.media_type,
        "persistent": bool(dataset.persistent),
        "created": dataset.created_at.isoformat(),
    }


@fiftyone.command()
@click.argument("name")
@click.option("--name-again", metavar="NAME", help="The name once more, instead of being asked for it.")
@_database
def delete(name: str, name_again: str | None, database: str | None) -> None:
    """Delete a dataset from the database; image files stay."""
    from augsuite.errors import nearest
    from augsuite_fiftyone.database import connect

    fo = connect(database, quiet=True)
    known = fo.list_datasets()
    if name not in known:
        raise ConfigError(f"there is no dataset {name!r}. {nearest(name, known)}")
    count = len(fo.load_dataset(name))
    if name_again is None:
        if not sys.stdin.isatty():
            raise ConfigError(f"nobody can be asked here. Say it twice: --name-again {name}")
        name_again = click.prompt(f"This deletes {count:,} samples and their labels. Type the dataset's name", err=True)
    if name_again != name:
        raise ConfigError(f"{name_again!r} is not {name!r}. Nothing was deleted.")
    fo.delete_dataset(name)
    click.echo(f"deleted: {name}, {count:,} samples")


@fiftyone.command()
@click.option("--once", is_flag=True, help="Run what waits, and end.")
@_database
def delegated(once: bool, database: str | None) -> None:
    """Run the operations that were scheduled in the App, until Ctrl-C."""
    from augsuite_fiftyone.app_plugin import install as plugin
    from augsuite_fiftyone.database import connect

    os.environ[plugin.FOLDER] = str(plugin.offered())
    connect(database)
    from fiftyone.operators.delegated import DelegatedOperationService

    service = DelegatedOperationService()
    click.echo("Ctrl-C ends it.", err=True)
    try:
        while True:
            for done in service.execute_queued_operations():
                said = (
                    (getattr(done, "error", None) or "done").strip().splitlines()[-1]
                    if done is not None
                    else "taken by another"
                )
                click.echo(said)
            if once:
                return
            time.sleep(_PAUSE_S)
    except KeyboardInterrupt:
        return
