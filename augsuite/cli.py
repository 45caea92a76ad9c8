"""The command line: a group whose help imports no command, and whose errors are one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

import click

from augsuite import __version__, registry
from augsuite.errors import AugsuiteError, PluginError, nearest
from augsuite.spec import CommandSpec


class LazyGroup(click.Group):
    """Commands known by declaration, imported when they are run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the order declared."""
        del ctx
        return list(self._specs())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        del ctx
        spec = self._specs().get(cmd_name)
        if spec is None:
            return None
        command = registry.load(spec.command, f"augsuite {cmd_name}", "all")
        if not isinstance(command, click.Command):
            raise PluginError(f"augsuite {cmd_name}: {spec.command.target} is no click.Command.")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; an unknown one names the nearest."""
        if args and not args[0].startswith("-") and args[0] not in self._specs():
            ctx.fail(f"unknown command {args[0]!r}. {nearest(args[0], self._specs())}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the summaries without importing the commands."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, spec.summary) for name, spec in self._specs().items()])

    def _specs(self) -> Mapping[str, CommandSpec]:
        return registry.default().commands()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.version_option(__version__, prog_name="augsuite")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Prepare vision datasets, augment them, and measure what each augmentation does."""
    del debug  # read by `main`, which also sees errors that come before this runs


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; the entry point of the `augsuite` program.

    Args:
        arguments: what follows the program's name; those of this process by default.
    """
    given = sys.argv[1:] if arguments is None else arguments
    try:
        return cli.main(args=given, prog_name="augsuite")
    except AugsuiteError as error:
        if "--debug" in given:
            raise
        click.echo(f"augsuite: {error}", err=True)
        sys.exit(2)
    except OSError as error:  # such as a full disk
        if "--debug" in given:
            raise
        place = error.filename or "the output"
        click.echo(
            f"augsuite: {place}: {error.strerror or error}. Check the place, its space and permissions.", err=True
        )
        if error.filename is None:
            _drop_output()
        sys.exit(2)


def _drop_output() -> None:
    """What stdout still holds cannot be written; send it nowhere, or Python complains as it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
