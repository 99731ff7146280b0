"""`mailsvc keys`: the API keys of a running server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .access import Scope
from .command import Defaulting, asks_server

if TYPE_CHECKING:
    from .remote import Remote

SCOPES = click.Choice([scope.value for scope in Scope])


@click.group(cls=Defaulting)
def keys() -> None:
    """The API keys of a running server: list them, make one, revoke one. Needs a key with the scope `admin`.

    \b
    Examples:
      mailsvc keys                                the same as: mailsvc keys list
      mailsvc keys create shop --domain shop.example.com --rate 600
      mailsvc keys revoke mk_3f9a0c1d2e4b
    """


@keys.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")
@asks_server
def list_keys(remote: Remote, as_json: bool) -> int:
    """Every key that was ever made, and what it allows.

    \b
    Example:
      mailsvc keys list --json
    """
    return remote.keys(as_json)


@keys.command()
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, type=SCOPES, help="Default: send and read. Repeat.")
@click.option("--domain", "domains", multiple=True, help="May send from this domain alone. Repeat for more.")
@click.option("--rate", type=click.IntRange(min=1), help="Mails a minute that it may send.")
@click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")
@asks_server
def create(
    remote: Remote, name: str, scopes: tuple[str, ...], domains: tuple[str, ...], rate: int | None, as_json: bool
) -> int:
    """Make a key for NAME, and print it. It is shown this once: the server keeps a digest of it alone.

    \b
    Examples:
      mailsvc keys create shop
      mailsvc keys create signup --scope send --domain example.com --rate 60
    """
    rules = {"scopes": list(scopes), "domains": list(domains), "rate": rate}
    return remote.create_key({"name": name} | {rule: value for rule, value in rules.items() if value}, as_json)


@keys.command()
@click.argument("key_id", metavar="ID")
@asks_server
def revoke(remote: Remote, key_id: str) -> int:
    """From now on this key opens nothing. ID is how it begins, as the list shows it.

    \b
    Example:
      mailsvc keys revoke mk_3f9a0c1d2e4b
    """
    return remote.revoke_key(key_id)
