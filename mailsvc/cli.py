"""The command line. The only place that reads the environment."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from contextlib import ExitStack
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any

import click

from . import __version__, logs
from .config import Config
from .errors import ConfigError, MailsvcError, OwnedByAnother, StorageBroken
from .rehearsal import prepared

FAILED, UNTRUSTED, TRY_LATER, BAD_CONFIG = 1, 74, 75, 78


class _Commands(click.Group):
    """`serve` is the default; a command's module is imported when it is called."""

    lazy = {"simulate": ("mailsvc.simulate.cli", "simulate")}  # noqa: RUF012 - click's classes are not dataclasses

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *self.lazy])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.lazy:
            module, name = self.lazy[cmd_name]
            command: click.Command = getattr(import_module(module), name)
            return command
        return super().get_command(ctx, cmd_name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args:
            args = ["serve"]
        return super().parse_args(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mailsvc")
def cli() -> None:
    """A transactional e-mail gateway: several providers, a durable queue, scored failover, one process.

    \b
    Examples:
      mailsvc                                     serve on http://127.0.0.1:8080, in sandbox
      mailsvc send ann@example.com -s Hi -c '**Hello**' --wait
      mailsvc serve --demo                        rehearse an outage on the page, with nothing sent
      mailsvc simulate classic                    what the score rule buys

    Exit codes: 0 ok, 1 failed, 2 usage, 74 the storage can no longer be trusted, 75 try later, 78 bad configuration.
    """


@cli.command()
@click.option("--demo", is_flag=True, help="Rehearse failover: three pretended providers with knobs on the page.")
def serve(demo: bool) -> None:
    """Serve the API and the page until SIGTERM or SIGINT. Everything is set by environment variables.

    A rehearsal (--demo) sends nothing and keeps its mails in a database of its own, which is gone at the end.

    \b
    Examples:
      mailsvc serve
      mailsvc serve --demo
      PORT=9000 mailsvc serve
      MAILSVC_FROM=me@example.com SENDGRID_API_KEY=… mailsvc serve
    """
    from .serve import serve as run

    with ExitStack() as stack:
        if demo:
            folder = stack.enter_context(TemporaryDirectory(prefix="mailsvc-demo-"))
            config = prepared(Config.from_environ({**os.environ, "DATABASE_URL": f"sqlite:///{folder}/demo.db"}))
        else:
            config = Config.from_environ(os.environ)
        logs.configure(config.log_level)
        gc.freeze()  # what is imported by now stays: no use in looking at it again and again
        sys.exit(asyncio.run(run(config)))


@cli.command()
@click.argument("to", nargs=-1, required=True)
@click.option("-s", "--subject", required=True, help="One line.")
@click.option("-c", "--content", help="Markdown; without it, the standard input is read.")
@click.option("--from", "sender", help="The sender; default: what the server is configured with.")
@click.option("--url", envvar="MAILSVC_URL", default="http://127.0.0.1:8080", show_default=True, help="The server.")
@click.option("--key", envvar="MAILSVC_API_KEY", help="The API key; better given by MAILSVC_API_KEY.")
@click.option("--idempotency-key", help="Makes it safe to repeat the command.")
@click.option("--wait", is_flag=True, help="Wait until the mail has left the queue and print what happened.")
@click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")
def send(**options: Any) -> None:
    """Send a mail through a running server.

    \b
    Examples:
      mailsvc send ann@example.com -s Hello -c '**It works.**' --wait
      echo '# Report' | mailsvc send ann@example.com bob@example.com -s Report
    """
    from .client import send as run

    sys.exit(run(**options))


def main() -> None:
    """The entry point: errors that people can mend are said in words, without a traceback."""
    try:
        cli.main(prog_name="mailsvc", windows_expand_args=False)
    except ConfigError as error:
        sys.exit(_say(error, BAD_CONFIG))
    except OwnedByAnother as error:
        sys.exit(_say(error, TRY_LATER))
    except StorageBroken as error:
        sys.exit(_say(error, UNTRUSTED))
    except MailsvcError as error:
        sys.exit(_say(error, FAILED))
    except KeyboardInterrupt:
        sys.exit(130)


def _say(error: Exception, code: int) -> int:
    click.echo(str(error), err=True)
    return code
