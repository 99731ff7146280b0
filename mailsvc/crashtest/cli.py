"""`mailsvc crashtest`: see on your own disk what a kill may cost."""

from __future__ import annotations

import asyncio
import os
import random
import sys

import click
import orjson

from . import report
from .run import Plan, crash

NEEDED = ("PATH", "HOME", "LANG", "TMPDIR", "SYSTEMROOT")  # of this environment; no setting of mailsvc gets through
NOT_KEPT = 1


@click.command()
@click.option("--cycles", type=click.IntRange(1, 10_000), default=40, show_default=True, help="Kills.")
@click.option("--mails", type=click.IntRange(1, 1000), default=30, show_default=True, help="Mails for each of them.")
@click.option("--database", metavar="URL", help="Test on the disk of this database, in a fresh one beside it.")
@click.option("--seed", type=int, help="Repeat an earlier run's choices.")
@click.option("--forgetful", is_flag=True, help="See it fail: the provider breaks its word about idempotency keys.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def crashtest(cycles: int, mails: int, database: str | None, seed: int | None, forgetful: bool, as_json: bool) -> None:
    """Kill real processes again and again, and count what became of every mail.

    A `mailsvc serve` of its own, a provider of its own that keeps a ledger, a database that is gone at the end. Nothing
    leaves this machine, and no database that exists is touched. Exit code 1 when a promise was not kept.

    \b
    Examples:
      mailsvc crashtest
      mailsvc crashtest --cycles 200
      mailsvc crashtest --database sqlite:////var/lib/mailsvc/mailsvc.db
      mailsvc crashtest --database postgres://mailsvc:secret@db.example.com/mailsvc
    """
    seed = random.SystemRandom().randrange(1 << 31) if seed is None else seed
    environ = {name: os.environ[name] for name in NEEDED if name in os.environ}
    plan = Plan(cycles, mails, database, seed, environ, forgetful)
    result = asyncio.run(crash(plan, _show if sys.stderr.isatty() else lambda line: None))
    if sys.stderr.isatty():
        _show("")
    if as_json:
        click.echo(orjson.dumps(report.document(plan, result), option=orjson.OPT_INDENT_2))
    else:
        click.echo(report.table(plan, result))
    sys.exit(0 if result.good else NOT_KEPT)


def _show(line: str) -> None:
    """The one line of progress."""
    click.echo(f"\r\x1b[2K{line}", nl=False, err=True)
