"""`mailsvc callbacks`: the callbacks of a running server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import click

from .callback import PATTERNS, State
from .command import Defaulting, asks_server

if TYPE_CHECKING:
    from .remote import Remote

OK, FAILED = 0, 1
JSON = click.option("--json", "as_json", is_flag=True, help="Print the server's answer as JSON.")


@click.group(cls=Defaulting)
def callbacks() -> None:
    """Where your application is told what becomes of mails. Needs a key with the scope `admin`.

    \b
    Examples:
      mailsvc callbacks                           the same as: mailsvc callbacks list
      mailsvc callbacks add https://example.com/hooks --event mail.bounced --event mail.failed
      mailsvc callbacks test cb_3f9a0c1d2e4b5a69
      mailsvc callbacks log cb_3f9a0c1d2e4b5a69
    """


@callbacks.command("list")
@JSON
@asks_server
def list_callbacks(remote: Remote, as_json: bool) -> int:
    """Every callback, and how it does.

    \b
    Example:
      mailsvc callbacks list --json
    """
    return remote.ask("GET", "/callbacks", None, as_json, _callbacks)


@callbacks.command()
@click.argument("address", metavar="ADDRESS")
@click.option("--event", "events", multiple=True, type=click.Choice(PATTERNS), help="Repeat for more. Default: all.")
@click.option("--description", default="", help="For people.")
@JSON
@asks_server
def add(remote: Remote, address: str, events: tuple[str, ...], description: str, as_json: bool) -> int:
    """Tell the application at ADDRESS, an https URL, what becomes of mails. Prints its id and its signing secret.

    The secret is shown this once.

    \b
    Example:
      mailsvc callbacks add https://example.com/hooks --event mail.bounced --event mail.failed
    """
    body = {"url": address, "events": list(events) or ["*"], "description": description}
    return remote.ask("POST", "/callbacks", body, as_json, lambda made: f"{made['id']}  {made['secret']}")


@callbacks.command()
@click.argument("callback_id", metavar="ID")
@JSON
@asks_server
def remove(remote: Remote, callback_id: str, as_json: bool) -> int:
    """Tell this callback nothing more.

    \b
    Example:
      mailsvc callbacks remove cb_3f9a0c1d2e4b5a69
    """
    return remote.ask("DELETE", _path(callback_id), None, as_json, lambda gone: f"{gone['id']} is removed")


@callbacks.command()
@click.argument("callback_id", metavar="ID")
@JSON
@asks_server
def test(remote: Remote, callback_id: str, as_json: bool) -> int:
    """Tell this callback something of no mail; the exit code is 1 if it did not take it.

    \b
    Example:
      mailsvc callbacks test cb_3f9a0c1d2e4b5a69
    """
    status: list[str] = []

    def words(delivery: dict[str, Any]) -> str:
        status.append(delivery["status"])
        return _delivery(delivery)

    code = remote.ask("POST", f"{_path(callback_id)}/test", {}, as_json, words)
    return FAILED if code or status != [State.DELIVERED] else OK


@callbacks.command()
@click.argument("callback_id", metavar="ID")
@click.option("--delivery", help="One delivery, by its id.")
@click.option("--since", help="Those of what happened from this time on, such as 2026-01-02T03:04:05Z.")
@click.option("--until", help="And before this time. Default: now.")
@click.option("--status", type=click.Choice([State.DELIVERED.value, State.FAILED.value]), help="Of those, only these.")
@JSON
@asks_server
def replay(remote: Remote, callback_id: str, as_json: bool, **wanted: str | None) -> int:
    """Tell this callback again what it was told before, under the same ids.

    \b
    Examples:
      mailsvc callbacks replay cb_3f9a0c1d2e4b5a69 --delivery msg_0123456789abcdef0123456789abcdef
      mailsvc callbacks replay cb_3f9a0c1d2e4b5a69 --since 2026-01-02T03:00:00Z --status failed
    """
    body = {name.replace("delivery", "id"): value for name, value in wanted.items() if value}
    path = f"{_path(callback_id)}/replay"
    return remote.ask("POST", path, body, as_json, lambda done: f"{done['replayed']} deliveries are told again")


@callbacks.command()
@click.argument("callback_id", metavar="ID")
@click.option("--overlap", type=click.IntRange(0), help="Seconds that the old secret goes on to sign. Default: a day.")
@JSON
@asks_server
def rotate(remote: Remote, callback_id: str, overlap: int | None, as_json: bool) -> int:
    """Give this callback a new signing secret, and print it, this once.

    \b
    Example:
      mailsvc callbacks rotate cb_3f9a0c1d2e4b5a69 --overlap 3600
    """
    body = {} if overlap is None else {"overlap": overlap}
    return remote.ask("POST", f"{_path(callback_id)}/rotate", body, as_json, lambda made: str(made["secret"]))


@callbacks.command()
@click.argument("callback_id", metavar="ID")
@click.option("--status", type=click.Choice([*State]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many.")
@JSON
@asks_server
def log(remote: Remote, callback_id: str, status: str | None, limit: int, as_json: bool) -> int:
    """What this callback was told, newest first, with every try.

    \b
    Example:
      mailsvc callbacks log cb_3f9a0c1d2e4b5a69 --status failed
    """
    query = urlencode({"limit": limit} | ({"status": status} if status else {}))
    path = f"{_path(callback_id)}/deliveries?{query}"
    return remote.ask("GET", path, None, as_json, lambda found: "\n".join(map(_delivery, found["data"])))


def _path(callback_id: str) -> str:
    return f"/callbacks/{quote(callback_id, safe='')}"


def _callbacks(answer: dict[str, Any]) -> str:
    return "\n".join(map(_callback, answer["data"])) or "There is no callback yet. Make one: mailsvc callbacks add URL"


def _callback(each: dict[str, Any]) -> str:
    state = "on" if each["enabled"] else f"off ({each['disabled_reason']})"
    failing = f", failing since {each['failing_since']}" if each["failing_since"] else ""
    told = f", {each['waiting']} waiting" if each["waiting"] else ""
    return f"{each['id']}  {state}{failing}{told}  {','.join(each['events'])}  {each['url']}"


def _delivery(each: dict[str, Any]) -> str:
    last = each["attempts"][-1] if each["attempts"] else None
    said = f": {last['error']}" if last and last["error"] else ""
    again = f", next try {each['due_at']}" if each["due_at"] else ""
    tries = f"{len(each['attempts'])} tries"
    return f"{each['at']}  {each['id']}  {each['type']}  {each['mail'] or '-'}  {each['status']}, {tries}{said}{again}"
