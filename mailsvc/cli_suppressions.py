"""`mailsvc suppressions`: whom a running server sends nothing to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import click

from .command import Defaulting, asks_server

if TYPE_CHECKING:
    from .remote import Remote

JSON = click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")


@click.group(cls=Defaulting)
def suppressions() -> None:
    """The suppression list of a running server: addresses that get no mail. Needs a key with the scope `admin`.

    \b
    Examples:
      mailsvc suppressions                        the same as: mailsvc suppressions list
      mailsvc suppressions add ann@example.com --reason 'asked to'
      mailsvc suppressions remove ann@example.com
    """


@suppressions.command("list")
@click.option("--address", help="Whether this one is on it.")
@click.option("--limit", type=click.IntRange(1, 1000), default=100, show_default=True, help="So many at most.")
@click.option("--after", metavar="ADDRESS", help="Go on after this address, the last one of the list before.")
@JSON
@asks_server
def list_suppressions(remote: Remote, as_json: bool, **asked: Any) -> int:
    """Addresses in their order, each with the reason.

    \b
    Examples:
      mailsvc suppressions list
      mailsvc suppressions list --address ann@example.com --json
    """
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return remote.ask("GET", f"/suppressions?{query}", None, as_json, _table)


@suppressions.command()
@click.argument("address")
@click.option("--reason", help="For people.")
@click.option("--expires-at", metavar="TIME", help="RFC 3339, such as 2027-01-02T03:04:05Z; default: never.")
@JSON
@asks_server
def add(remote: Remote, address: str, reason: str | None, expires_at: str | None, as_json: bool) -> int:
    """Send nothing to ADDRESS from now on.

    \b
    Example:
      mailsvc suppressions add ann@example.com --reason 'asked to'
    """
    given = {"address": address, "reason": reason, "expires_at": expires_at}
    body = {name: value for name, value in given.items() if value}
    return remote.ask("POST", "/suppressions", body, as_json, lambda made: f"{made['address']} gets no mail")


@suppressions.command()
@click.argument("address")
@JSON
@asks_server
def remove(remote: Remote, address: str, as_json: bool) -> int:
    """Send mail to ADDRESS again.

    \b
    Example:
      mailsvc suppressions remove ann@example.com
    """
    path = f"/suppressions/{quote(address, safe='')}"
    return remote.ask("DELETE", path, None, as_json, lambda gone: f"{gone['address']} gets mail again")


def _table(page: dict[str, Any]) -> str:
    from .remote import table  # noqa: PLC0415 - a command pays for its own imports only

    rows = [("address", "reason", "source", "since", "until")]
    rows += [(e["address"], e["reason"], e["source"], e["created_at"], e["expires_at"] or "") for e in page["data"]]
    more = [f"More: --after {page['data'][-1]['address']}"] if page["has_more"] else []
    return "\n".join([table(rows), *more])
