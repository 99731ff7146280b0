"""The command line. The only place that reads the environment."""

from __future__ import annotations

import gc
import os
import sys
from contextlib import ExitStack
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from . import __version__, logs
from .command import Defaulting, asks_server
from .config import Config
from .errors import ConfigError, MailsvcError, OwnedByAnother, StorageBroken, Unavailable
from .rehearsal import prepared

if TYPE_CHECKING:
    from .remote import Remote

FAILED, UNTRUSTED, TRY_LATER, BAD_CONFIG = 1, 74, 75, 78


class _Commands(Defaulting):
    """The commands; the module of a lazy one is imported when it is called."""

    default = "serve"
    lazy = {  # noqa: RUF012 - click's classes are not dataclasses
        "backup": ("mailsvc.cli_ops", "backup"),
        "callbacks": ("mailsvc.cli_callbacks", "callbacks"),
        "config": ("mailsvc.cli_ops", "config"),
        "crashtest": ("mailsvc.crashtest.cli", "crashtest"),
        "doctor": ("mailsvc.cli_ops", "doctor"),
        "keys": ("mailsvc.cli_keys", "keys"),
        "mails": ("mailsvc.cli_mails", "mails"),
        "migrate": ("mailsvc.cli_ops", "migrate"),
        "send": ("mailsvc.cli_send", "send"),
        "simulate": ("mailsvc.simulate.cli", "simulate"),
        "suppressions": ("mailsvc.cli_suppressions", "suppressions"),
        "tail": ("mailsvc.cli_mails", "tail"),
        "templates": ("mailsvc.cli_templates", "templates"),
    }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *self.lazy])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.lazy:
            module, name = self.lazy[cmd_name]
            command: click.Command = getattr(import_module(module), name)
            return command
        return super().get_command(ctx, cmd_name)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mailsvc")
def cli() -> None:
    """A transactional e-mail gateway: several providers, a durable queue, scored failover, one process.

    \b
    Examples:
      mailsvc                                     serve on http://127.0.0.1:8080, in sandbox
      mailsvc send ann@example.com -s Hi -c '**Hello**' --wait
      mailsvc send ann@example.com --provider ses   try one provider, without a server
      mailsvc tail                                watch what happens
      mailsvc serve --demo                        rehearse an outage on the page, with nothing sent
      mailsvc simulate classic                    what the score rule buys
      mailsvc crashtest                           what a kill -9 may cost, on your own disk

    Exit codes: 0 ok, 1 failed, 2 usage, 74 the storage can no longer be trusted, 75 try later, 78 bad configuration.
    """


@cli.command()
@click.option("--demo", is_flag=True, help="Rehearse failover: three pretended providers with knobs on the page.")
@click.option("--smtp", type=click.IntRange(0, 65535), metavar="PORT", help="Take mail by SMTP, too; see MAILSVC_SMTP.")
def serve(demo: bool, smtp: int | None) -> None:
    """Serve the API and the page until SIGTERM or SIGINT. Everything is set by environment variables.

    A rehearsal (--demo) sends nothing and keeps its mails in a database of its own, which is gone at the end.

    \b
    Examples:
      mailsvc serve
      mailsvc serve --demo
      mailsvc serve --smtp 2525
      PORT=9000 mailsvc serve
      MAILSVC_FROM=me@example.com SENDGRID_API_KEY=… mailsvc serve
    """
    from .supervisor import run

    environ = dict(os.environ) | ({"MAILSVC_SMTP": str(smtp)} if smtp is not None else {})
    with ExitStack() as stack:
        if demo:
            folder = stack.enter_context(TemporaryDirectory(prefix="mailsvc-demo-"))
            config = prepared(Config.from_environ({**environ, "DATABASE_URL": f"sqlite:///{folder}/demo.db"}))
        else:
            config = Config.from_environ(environ)
        logs.configure(config.log_level, named=config.shared)
        gc.freeze()  # what is imported by now stays: no use in looking at it again and again
        sys.exit(run(config))


@cli.group(cls=Defaulting)
def providers() -> None:
    """How the providers of a running server stand; pause and resume one.

    \b
    Examples:
      mailsvc providers                           the same as: mailsvc providers list
      mailsvc providers pause sendgrid
      mailsvc providers resume sendgrid
    """


@providers.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")
@asks_server
def list_providers(remote: Remote, as_json: bool) -> int:
    """Score, state and why.

    \b
    Example:
      mailsvc providers list --url https://mail.example.com
    """
    return remote.providers(as_json)


@providers.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")
@asks_server
def pause(remote: Remote, name: str, as_json: bool) -> int:
    """Ask this provider nothing until it is resumed; survives a restart.

    \b
    Example:
      mailsvc providers pause sendgrid
    """
    return remote.set_provider(name, "pause", as_json)


@providers.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")
@asks_server
def resume(remote: Remote, name: str, as_json: bool) -> int:
    """Ask a paused provider again, and a benched one at once.

    \b
    Example:
      mailsvc providers resume sendgrid
    """
    return remote.set_provider(name, "resume", as_json)


@providers.command()
@click.option("--json", "as_json", is_flag=True, help="Print the table as JSON.")
def hooks(as_json: bool) -> None:
    """Where each configured provider is to send its reports, and which variable makes them count.

    Looks at the environment alone: no server is asked.

    \b
    Example:
      MAILSVC_PUBLIC_URL=https://mail.example.com mailsvc providers hooks
    """
    from .webhooks import table

    click.echo(table(Config.from_environ(os.environ), as_json=as_json))


@cli.command()
@click.argument("address")
@click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")
@asks_server
def erase(remote: Remote, address: str, as_json: bool) -> int:
    """Erase a recipient: the bodies and subjects of mails to ADDRESS are gone, and so is the address. Counts stay.

    Mails that are not final yet are left as they are; the exit code is 1 while there are any.

    \b
    Example:
      mailsvc erase ann@example.com
    """
    return remote.erase(address, as_json)


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
    except Unavailable as error:
        sys.exit(_say(error, TRY_LATER))
    except MailsvcError as error:
        sys.exit(_say(error, FAILED))
    except KeyboardInterrupt:
        sys.exit(130)


def _say(error: Exception, code: int) -> int:
    click.echo(str(error), err=True)
    return code
