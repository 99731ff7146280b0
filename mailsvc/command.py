"""What several commands share: a group with a usual command, and the options of those that ask a running server."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import wraps
from typing import IO, Any

import click

SOURCE = click.File("r", encoding="utf-8")  # a file, or - for the standard input


class Defaulting(click.Group):
    """A group that runs one of its commands when none is named."""

    default = "list"

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """The command, if none is named; options that are not the group's own are the usual command's."""
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        named = args and (not args[0].startswith("-") or args[0].partition("=")[0] in own)
        return super().parse_args(ctx, args if named else [self.default, *args])


def asks_server(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of every command that asks a running server; the command gets a `Remote` and gives an exit code."""

    @click.option("--url", envvar="MAILSVC_URL", default="http://127.0.0.1:8080", show_default=True, help="The server.")
    @click.option("--key", envvar="MAILSVC_API_KEY", help="The API key; better given by MAILSVC_API_KEY.")
    @wraps(command)
    def wrapped(url: str, key: str | None, **options: Any) -> None:
        from .remote import Remote  # noqa: PLC0415 - a command pays for its own imports only

        sys.exit(command(Remote(url, key), **options))

    return wrapped


def takes_variables(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that give variables; `variables` makes an object of them."""
    command = click.option(
        "--variables", "file", type=SOURCE, help="A file with an object of JSON; - is the standard input."
    )(command)
    return click.option("--var", "pairs", multiple=True, metavar="NAME=TEXT", help="A variable; may be repeated.")(
        command
    )


def variables(pairs: tuple[str, ...], file: IO[str] | None) -> dict[str, Any]:
    """The variables that were given. Raises UsageError."""
    found: Any = {}
    if file is not None:
        try:
            found = json.load(file)
        except ValueError as error:
            raise click.UsageError(f"--variables is not JSON: {error}") from None
        if not isinstance(found, dict):
            raise click.UsageError("--variables must be an object of JSON")
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not (name and sign):
            raise click.UsageError(f"--var must be NAME=TEXT, not {pair}")
        found[name] = text
    return dict(found)
