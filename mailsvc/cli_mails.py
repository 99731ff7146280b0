"""`mailsvc mails` and `mailsvc tail`: the mails of a running server, as they stand and as they go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import click

from .command import Defaulting, asks_server
from .decision import Decision
from .model import Status

if TYPE_CHECKING:
    from .remote import Remote

JSON = click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")
ID = click.argument("mail_id", metavar="ID")


@click.group(cls=Defaulting)
def mails() -> None:
    """The mails of a running server.

    \b
    Examples:
      mailsvc mails                               the same as: mailsvc mails list
      mailsvc mails list --status failed --to ann@example.com
      mailsvc mails show 01a20c68-206d-71fb-8bf0-69b468b56623
      mailsvc mails retry --status failed
      mailsvc mails cancel 01a20c68-206d-71fb-8bf0-69b468b56623
    """


@mails.command("list")
@click.option("--status", type=click.Choice([each.value for each in Status]), help="Only those with this status.")
@click.option("--to", metavar="ADDRESS", help="Only those to this recipient.")
@click.option("--provider", metavar="NAME", help="Only those that this provider has.")
@click.option("--tag", metavar="TAG", help="Only those with this tag.")
@click.option("--metadata", metavar="NAME=TEXT", help="Only those with this text by that name in their metadata.")
@click.option("--since", metavar="TIME", help="Only those accepted since; RFC 3339.")
@click.option("--until", metavar="TIME", help="Only those accepted before.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="So many at most.")
@click.option("--after", metavar="ID", help="Go on after this mail, as the list before says.")
@JSON
@asks_server
def list_mails(remote: Remote, as_json: bool, metadata: str | None, **asked: Any) -> int:
    """Mails, newest first.

    \b
    Examples:
      mailsvc mails list --status failed
      mailsvc mails list --to ann@example.com --limit 5 --json
      mailsvc mails list --tag welcome --metadata order=1042
    """
    if metadata is not None:
        name, sign, text = metadata.partition("=")
        if not sign:
            raise click.UsageError("--metadata is a name and a text, such as order=1042")
        asked[f"metadata[{name}]"] = text
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return remote.ask("GET", f"/email?{query}", None, as_json, _table)


@mails.command()
@ID
@JSON
@asks_server
def show(remote: Remote, mail_id: str, as_json: bool) -> int:
    """All that is known of a mail, with each attempt.

    \b
    Example:
      mailsvc mails show 01a20c68-206d-71fb-8bf0-69b468b56623
    """
    return remote.ask("GET", _path(mail_id), None, as_json, _story)


@mails.command()
@ID
@JSON
@asks_server
def cancel(remote: Remote, mail_id: str, as_json: bool) -> int:
    """Do not send a mail that waits.

    \b
    Example:
      mailsvc mails cancel 01a20c68-206d-71fb-8bf0-69b468b56623
    """
    return remote.ask("POST", f"{_path(mail_id)}/cancel", {}, as_json, _short)


@mails.command()
@click.argument("mail_id", metavar="[ID]", required=False)
@click.option("--status", help="Not one mail, but those that ended so, such as failed; newest first.")
@click.option("--to", metavar="ADDRESS", help="Of those, the ones to this recipient.")
@click.option("--provider", metavar="NAME", help="Of those, the ones that this provider had.")
@click.option("--since", metavar="TIME", help="Of those, the ones accepted since; RFC 3339.")
@click.option("--until", metavar="TIME", help="Of those, the ones accepted before.")
@click.option("--limit", type=click.IntRange(1, 500), help="So many at most; default 100.")
@click.option("--after", metavar="ID", help="Go on after this mail.")
@JSON
@asks_server
def retry(remote: Remote, mail_id: str | None, as_json: bool, **asked: Any) -> int:
    """Send a mail on its way again that has ended without arriving; or many, by --status.

    \b
    Examples:
      mailsvc mails retry 01a20c68-206d-71fb-8bf0-69b468b56623
      mailsvc mails retry --status failed --since 2027-01-02T03:00:00Z
    """
    which = {name: value for name, value in asked.items() if value is not None}
    if (mail_id is None) == ("status" not in which) or (mail_id and which):
        raise click.UsageError("give the ID of a mail, or --status for many")
    if mail_id:
        return remote.ask("POST", f"{_path(mail_id)}/retry", {}, as_json, _short)
    return remote.ask("POST", "/email/retry", which, as_json, _retried)


@mails.command()
@ID
@click.option(
    "--as",
    "decision",
    type=click.Choice([each.value for each in Decision]),
    required=True,
    help="What is to become of it.",
)
@JSON
@asks_server
def resolve(remote: Remote, mail_id: str, decision: str, as_json: bool) -> int:
    """Settle a doubt: a provider may or may not have this mail, and nothing else can tell.

    \b
    Examples:
      mailsvc mails resolve ID --as resend        send it again, at the risk that it arrives twice
      mailsvc mails resolve ID --as sent          it was sent: leave it
      mailsvc mails resolve ID --as failed        it was not sent: leave it, as failed
    """
    return remote.ask("POST", f"{_path(mail_id)}/resolve", {"as": decision}, as_json, _short)


@click.command()
@click.option("--mail", "mail_id", metavar="ID", help="Only what happens to this mail.")
@click.option("--json", "as_json", is_flag=True, help="Print each event as a line of JSON.")
@asks_server
def tail(remote: Remote, mail_id: str | None, as_json: bool) -> int:
    """What happens on a running server, as it happens, until it is interrupted. Breaks of the connection do not end it.

    Without --mail it needs a key with the scope `admin`.

    \b
    Examples:
      mailsvc tail
      mailsvc tail --mail 01a20c68-206d-71fb-8bf0-69b468b56623 --json
    """
    from .stream import follow  # noqa: PLC0415 - a command pays for its own imports only

    return follow(remote, f"/events?{urlencode({'mail': mail_id})}" if mail_id else "/events", as_json)


def _path(mail_id: str) -> str:
    return f"/email/{quote(mail_id, safe='')}"


def _short(mail: dict[str, Any]) -> str:
    return f"{mail['status']}  {mail['id']}"


def _retried(done: dict[str, Any]) -> str:
    more = f"; more: --after {done['after']}" if done["after"] else ""
    return f"{done['retried']} mails are on their way again, {done['skipped']} are not{more}"


def _table(page: dict[str, Any]) -> str:
    from .remote import table  # noqa: PLC0415 - as above

    rows = [("mail", "status", "accepted", "provider", "to", "subject")]
    for mail in page["data"]:
        to = mail["to"][0] + (f" +{len(mail['recipients']) - 1}" if len(mail["recipients"]) > 1 else "")
        rows.append((mail["id"], mail["status"], mail["created_at"], mail["provider"] or "", to, mail["subject"]))
    more = [f"More: --after {page['next']}"] if page["has_more"] else []
    return "\n".join([table(rows), *more])


def _story(mail: dict[str, Any]) -> str:
    from .remote import timeline  # noqa: PLC0415 - as above

    people = ", ".join(f"{each['address']} ({each['role']}, {each['status']})" for each in mail["recipients"])
    head = [f"from     {mail['from']}", f"to       {people}", f"subject  {mail['subject']}"]
    if origin := mail.get("template"):  # which an older server does not tell
        head.append(f"template {origin['name']}" + (f", version {origin['version']}" if origin["version"] else ""))
    if mail["tags"]:
        head.append(f"tags     {', '.join(mail['tags'])}")
    head += [f"{name}  {value}" for name, value in mail["metadata"].items()]
    events = [f"{each['at']}  {each['type']}  {each['recipient'] or ''}".rstrip() for each in mail["events"]]
    return "\n".join([*head, "", timeline(mail), *events])
