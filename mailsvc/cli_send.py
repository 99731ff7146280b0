"""`mailsvc send`: a mail through a running server, or through one provider alone."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from base64 import b64encode
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from . import logs
from .command import asks_server, takes_variables, variables
from .model import Status

if TYPE_CHECKING:
    from .remote import Remote

_FILE = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)
_SUBJECT, _CONTENT = "A test mail of mailsvc", "**It works.** This mail was sent to try a provider."


@click.command()
@click.argument("to", nargs=-1)
@click.option("--to", "more", multiple=True, help="The same as the argument.")
@click.option("-s", "--subject", help="One line.")
@click.option("-c", "--content", help="Markdown; without it, --text and --html, the standard input is read.")
@click.option("--text", help="Plain text, instead of --content.")
@click.option("--html", help="HTML, instead of --content.")
@click.option("--template", help="A template of the server, instead of a subject and a body.")
@click.option("--template-version", type=click.IntRange(1), metavar="N", help="This version. Default: the newest.")
@takes_variables
@click.option("--attach", type=_FILE, multiple=True, help="A file to attach; may be repeated.")
@click.option("--from", "sender", help="The sender; default: what the server is configured with.")
@click.option("--provider", help="Send now and through this provider alone, with the settings of this environment.")
@click.option("--idempotency-key", help="Makes it safe to repeat the command; not with --provider.")
@click.option("--dry-run", is_flag=True, help="Send nothing; print what would be done, and by whom.")
@click.option("--wait", is_flag=True, help="Wait until the mail has left the queue and print what happened.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@asks_server
def send(
    remote: Remote,
    to: tuple[str, ...],
    more: tuple[str, ...],
    subject: str | None,
    content: str | None,
    text: str | None,
    html: str | None,
    template: str | None,
    template_version: int | None,
    pairs: tuple[str, ...],
    file: IO[str] | None,
    attach: tuple[Path, ...],
    sender: str | None,
    provider: str | None,
    idempotency_key: str | None,
    dry_run: bool,
    wait: bool,
    as_json: bool,
) -> int:
    """Send a mail through a running server; or, with --provider, through one provider without any server.

    With --provider nothing is queued, repeated or kept: the mail is sent at once, and what the provider says is told
    in words, with what to do. That is how to try a key, a region, a sender.

    \b
    Examples:
      mailsvc send ann@example.com -s Hello -c '**It works.**' --wait
      mailsvc send ann@example.com --template welcome --var name=Ann
      echo '# Report' | mailsvc send ann@example.com bob@example.com -s Report --attach report.pdf
      mailsvc send ann@example.com -s Hello --html '<p>Hi</p>' --dry-run
      mailsvc send me@example.com --provider postmark

    Exit codes: 0 accepted, 1 not, 2 usage, 75 still on its way, 78 bad configuration.
    """
    if dry_run and (provider or wait):
        raise click.UsageError("--dry-run sends nothing: leave --wait and --provider out")
    people = [*to, *more]
    if not people:
        raise click.UsageError("who is it for? mailsvc send ann@example.com …")
    if not (subject or provider or template):
        raise click.UsageError("the subject is missing: --subject, or --template")
    _check_template(template, provider, belongings=bool(template_version or pairs or file))
    if not (content or text or html or template):
        content = _CONTENT if provider else sys.stdin.read()
    given = {"content": content, "text": text, "html": html, "from": sender}
    given |= {"subject": subject or (None if template else _SUBJECT)}
    mail: dict[str, Any] = {"to": people} | {name: value for name, value in given.items() if value}
    if template:
        pinned = {"version": template_version} if template_version else {}
        mail["template"] = {"name": template, "variables": variables(pairs, file), **pinned}
    if attach:
        mail["attachments"] = [_file(path) for path in attach]
    if provider:
        return _try(provider, mail, as_json)
    if dry_run:
        return _plan(remote, mail, as_json)
    return remote.send(mail, idempotency_key, wait, as_json)


def _check_template(template: str | None, provider: str | None, *, belongings: bool) -> None:
    """Raise UsageError where the options of a template make no sense; `belongings` are those that only it has."""
    if belongings and not template:
        raise click.UsageError("--template-version, --var and --variables go with --template")
    if template and provider:
        raise click.UsageError("--template is for a server, which knows the template; not with --provider")


def _plan(remote: Remote, mail: dict[str, Any], as_json: bool) -> int:
    nobody: list[bool] = []

    def words(plan: dict[str, Any]) -> str:
        nobody.append(plan["status"] == Status.SUPPRESSED)
        return planned(plan)

    code = remote.ask("POST", "/email", {**mail, "dry_run": True}, as_json, words)
    return 1 if code or any(nobody) else 0


def planned(plan: dict[str, Any]) -> str:
    """What would be done, as a person reads it: the mail, who would be asked in which order, what to think about."""
    from .remote import table  # noqa: PLC0415 - a command pays for its own imports only

    rows = [("provider", "score", "state", "takes up to", "why")]
    for row in plan["providers"]:
        limit = f"{row['size_limit']:,} bytes" if row["size_limit"] else "any size"
        rows.append((row["provider"], f"{row['score']:.1f}", row["state"], limit, row.get("reason") or ""))
    lines = [
        f"would be {plan['status']}, due {plan['due_at']}; nothing was stored or sent",
        f"from {plan['from']} to {', '.join(plan['to'])}: {plan['subject']}",
        f"{plan['size']:,} bytes",
        table(rows),
        *(f"left out: {each['address']} is on the suppression list ({each['reason']})" for each in plan["suppressed"]),
        *(f"warning: {words}" for words in plan["warnings"]),
    ]
    return "\n".join(lines)


def _try(provider: str, mail: dict[str, Any], as_json: bool) -> int:
    from . import trial  # noqa: PLC0415 - a command pays for its own imports only

    logs.configure("error")
    done = asyncio.run(trial.run(os.environ, provider, mail))
    click.echo(json.dumps(done.document(), indent=2) if as_json else done.words())
    return 0 if done.well else 1


def _file(path: Path) -> dict[str, str]:
    return {"filename": path.name, "content": b64encode(path.read_bytes()).decode()}
