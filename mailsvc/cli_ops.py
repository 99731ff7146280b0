"""`mailsvc doctor`, `config`, `backup` and `migrate`: what operators do beside a running server, or without one."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import click

from . import logs
from .config import Config, effective

DESTINATION = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option("--offline", is_flag=True, help="Connect to no provider, and look no name up.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(offline: bool, as_json: bool) -> None:
    """Look at settings, database, disk, clock, callbacks, certificate and providers; say what to mend; change nothing.

    Connects to each provider's host, and hands nothing over: whether it takes the key, only a mail tells.

    \b
    Examples:
      mailsvc doctor
      mailsvc doctor --offline --json

    Exit codes: 0 nothing fails, 1 something does, 78 mailsvc would not start.
    """
    from . import doctor as practice  # noqa: PLC0415 - a command pays for its own imports only

    logs.configure("error")
    found = asyncio.run(practice.examine(os.environ, offline=offline))
    click.echo(practice.report(found, as_json=as_json))
    sys.exit(practice.exit_code(found))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the settings as JSON.")
def config(as_json: bool) -> None:
    """Every setting that counts here and now: its value, and whether it was set. Secrets are shown as ***.

    What is set and counts for nothing is said as a note, on the standard error.

    \b
    Examples:
      mailsvc config
      mailsvc config --json
    """
    rows = effective(os.environ)
    for note in Config.from_environ(os.environ).notes:
        click.echo(f"note: {note}", err=True)
    if as_json:
        click.echo(json.dumps([dict(zip(("name", "value", "origin"), row, strict=True)) for row in rows], indent=2))
        return
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for name, value, origin in rows:
        click.echo(f"{name:{widths[0]}}  {value:{widths[1]}}  {origin}")


@click.command()
@click.argument("file", type=DESTINATION)
@click.option(
    "--url", envvar="MAILSVC_URL", help="The server; default: the one that owns the database of DATABASE_URL."
)
@click.option("--key", envvar="MAILSVC_API_KEY", help="A key with the scope admin; better given by MAILSVC_API_KEY.")
def backup(file: Path, url: str | None, key: str | None) -> None:
    """Copy the SQLite database into a new FILE, while mailsvc serves or while it does not.

    The copy is of one moment, and whole: it is checked before FILE gets its name. Nothing is ever overwritten.
    On PostgreSQL, use pg_dump.

    \b
    Examples:
      mailsvc backup "/backups/mailsvc-$(date +%F).db"
      mailsvc backup today.db --url https://mail.example.com
    """
    from .backup import from_here, from_server  # noqa: PLC0415 - as above

    if url:
        from_server(url, key, file)
    else:
        asyncio.run(from_here(Config.from_environ(os.environ), key, file))
    click.echo(f"{file}: {file.stat().st_size:,} bytes, checked")


@click.command()
def migrate() -> None:
    """Bring the database's schema up to date and end. Every start does the same; this one only says when.

    \b
    Example:
      DATABASE_URL=postgres://… mailsvc migrate

    Exit codes: 0 up to date, 75 another process owns the SQLite file, 78 the database cannot be used.
    """
    from .outbox import inspect, open_outbox  # noqa: PLC0415 - as above

    async def run() -> str:
        config = Config.from_environ(os.environ)
        logs.configure(config.log_level)
        before = await inspect(config.database_url)
        await (await open_outbox(config.database_url, lock_wait=config.lock_wait)).close()
        after = await inspect(config.database_url)
        was = f", was {before.schema}" if before.schema != after.schema else ""
        return f"{after.place}: schema {after.schema}{was}"

    click.echo(asyncio.run(run()))
