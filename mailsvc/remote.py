"""What the command line asks a running server, and the answers as a person reads them."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from shutil import copyfileobj
from typing import Any, BinaryIO
from urllib.parse import quote

import click

from .setting import http_url

OK, FAILED, TRY_LATER = 0, 1, 75
PIECE = 1 << 20  # bytes read at a time
TIMEOUT = 70.0  # seconds; the server answers a waiting request after 60 at the latest
WAITING = ("scheduled", "queued", "sending")
BAD = ("failed", "rejected", "bounced", "expired", "canceled", "suppressed")


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would turn a POST into a GET, and hand the key to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_Stay)


class Remote:
    """A running server at `url`, and the key to it."""

    def __init__(self, url: str, key: str | None) -> None:
        try:
            http_url(url)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--url") from None
        if key and not (key.isascii() and key.isprintable()):
            raise click.BadParameter("must be printable ASCII", param_hint="--key")
        self.url = url.rstrip("/")
        self._headers = {"Accept": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})

    def send(self, mail: dict[str, Any], idempotency_key: str | None, wait: bool, as_json: bool) -> int:
        """Send a mail, print what happened, return the exit code."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        status, answer = self._call("POST", "/email", mail, headers)
        if status == 202 and wait:
            status, answer = self._call("GET", f"/email/{answer['id']}?wait=settled&timeout=60")
        if _failed(status, answer, as_json):
            return FAILED
        short = f"{answer['status']}  {answer['id']}"
        click.echo(json.dumps(answer, indent=2) if as_json else timeline(answer) if wait else short)
        if wait and answer["status"] in WAITING:
            return TRY_LATER
        return FAILED if answer["status"] in BAD else OK

    def providers(self, as_json: bool) -> int:
        """Print how each provider stands."""
        status, answer = self._call("GET", "/providers")
        if _failed(status, answer, as_json):
            return FAILED
        click.echo(json.dumps(answer, indent=2) if as_json else _provider_table(answer))
        return OK

    def set_provider(self, name: str, action: str, as_json: bool) -> int:
        """`pause` or `resume` a provider."""
        path = f"/providers/{quote(name, safe='')}/{action}"
        return self.ask("POST", path, None, as_json, lambda now: f"{now['name']} is {now['state']}")

    def ask(self, method: str, path: str, body: Any, as_json: bool, words: Callable[[Any], str]) -> int:
        """Print what the server answers, in words for people."""
        status, answer = self._call(method, path, body)
        if _failed(status, answer, as_json):
            return FAILED
        told = words(answer)
        click.echo(json.dumps(answer, indent=2) if as_json else told)
        return OK

    def keys(self, as_json: bool) -> int:
        """Print the API keys."""
        status, answer = self._call("GET", "/keys")
        if _failed(status, answer, as_json):
            return FAILED
        click.echo(json.dumps(answer, indent=2) if as_json else _key_table(answer["data"]))
        return OK

    def create_key(self, rules: dict[str, Any], as_json: bool) -> int:
        """Make an API key and print it."""
        status, answer = self._call("POST", "/keys", rules)
        if _failed(status, answer, as_json):
            return FAILED
        if not as_json:
            click.echo("Keep it well: it is not shown again.", err=True)
        click.echo(json.dumps(answer, indent=2) if as_json else answer["key"])
        return OK

    def revoke_key(self, key_id: str) -> int:
        """Revoke an API key."""
        status, answer = self._call("DELETE", f"/keys/{quote(key_id, safe='')}")
        if _failed(status, answer, as_json=False):
            return FAILED
        click.echo(f"{answer['id']} is revoked")
        return OK

    @contextmanager
    def lines(self, path: str, headers: Mapping[str, str]) -> Iterator[tuple[str, Iterable[str]]]:
        """A stream, line by line, or why there is none, in words. Raises OSError when the connection breaks."""
        request = urllib.request.Request(self.url + path, headers={**self._headers, **headers})  # noqa: S310 - checked above
        try:
            response = _OPENER.open(request, timeout=TIMEOUT)
        except urllib.error.HTTPError as error:
            with error:
                yield str(_value(error.read()).get("detail", f"{self.url} answered {error.code}")), ()
        except urllib.error.URLError as error:
            raise ConnectionError(_silence(self.url, error)) from error
        else:
            with response:
                yield "", (line.decode().rstrip("\r\n") for line in response)

    def download(self, path: str, target: Path) -> str:
        """Write an answer into a new file, all of it, for its owner's eyes alone. Returns what went wrong, in words."""
        request = urllib.request.Request(self.url + path, headers=self._headers)  # noqa: S310 - checked above
        try:
            with _OPENER.open(request, timeout=TIMEOUT) as response, _private(target) as file:
                copyfileobj(response, file, PIECE)
                length = int(response.headers.get("Content-Length", -1))
                return "" if file.tell() == length else f"Only {file.tell()} of {length} bytes came from {self.url}"
        except urllib.error.HTTPError as error:
            with error:
                return str(_value(error.read()).get("detail", f"{self.url} answered {error.code}"))
        except (urllib.error.URLError, TimeoutError, ConnectionError, HTTPException) as error:
            return _silence(self.url, error)

    def erase(self, address: str, as_json: bool) -> int:
        """Erase a recipient; FAILED while mails to them wait."""
        status, answer = self._call("POST", "/erase", {"address": address})
        if _failed(status, answer, as_json):
            return FAILED
        words = f"{answer['erased']} mails erased"
        if answer["waiting"]:
            words += f"; {answer['waiting']} are not final yet: erase again when they are"
        click.echo(json.dumps(answer, indent=2) if as_json else words)
        return FAILED if answer["waiting"] else OK

    def _call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Status and JSON of the answer; status 0 when there is none."""
        asked = self._headers | (headers or {}) | ({"Content-Type": "application/json"} if body is not None else {})
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data, asked, method=method)  # noqa: S310 - checked above
        try:
            with _OPENER.open(request, timeout=TIMEOUT) as response:
                return response.status, _value(response.read())
        except urllib.error.HTTPError as error:
            with error:
                if 300 <= error.code < 400:
                    words = f"{self.url} answered with a redirect to {error.headers.get('Location')}: use that URL"
                    return error.code, {"detail": words}
                return error.code, _value(error.read())
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            return 0, {"detail": _silence(self.url, error)}


def _private(target: Path) -> BinaryIO:
    return os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _silence(url: str, error: Exception) -> str:
    reason = getattr(error, "reason", error)
    return f"No answer from {url}: {reason}. Is the server running? Start it with: mailsvc serve"


def _value(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return {"detail": "The answer is not from mailsvc: is the URL right?", "status": "unknown"}


def _failed(status: int, answer: Any, as_json: bool) -> bool:
    """Whether there is no good answer; says so."""
    if 200 <= status < 300 and "detail" not in answer:
        return False
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    lines = [str(answer.get("detail", "failed"))]
    lines += [f"  {fault['field']}: {fault['message']}" for fault in answer.get("errors", [])]
    click.echo("\n".join(lines), err=True)
    return True


def _provider_table(providers: list[dict[str, Any]]) -> str:
    rows = [("provider", "score", "of", "state", "in flight", "sent", "failed", "why")]
    for p in providers:
        counts = (str(p["in_flight"]), str(p["sent"]), str(p["failed"]))
        why = p["reason"] or (f"last error: {p['last_error']}" if p["last_error"] else "")
        rows.append((p["name"], f"{p['score']:.1f}", f"{p['base_score']:g}", p["state"], *counts, why))
    return table(rows)


def _key_table(keys: list[dict[str, Any]]) -> str:
    rows = [("key", "name", "scopes", "sends from", "mails a minute", "made", "revoked")]
    for key in keys:
        limits = (", ".join(key["domains"]) or "anywhere", str(key["rate"] or "any"))
        times = (key["created_at"], key["revoked_at"] or "")
        rows.append((key["id"], key["name"], ", ".join(key["scopes"]), *limits, *times))
    return table(rows)


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Rows in columns; the first row is their names."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(r, widths, strict=True)).rstrip() for r in rows)


def timeline(mail: dict[str, Any]) -> str:
    """What has happened to a mail, a line for each step."""
    lines = [f"{mail['created_at']}  accepted   {mail['id']}"]
    for attempt in mail["attempts"]:
        said = f": {attempt['detail']}" if attempt["detail"] else ""
        outcome = attempt["outcome"] or "running"
        lines.append(f"{attempt['started_at']}  attempt {attempt['n']}  {attempt['provider']} {outcome}{said}")
    lines.append(f"{mail['updated_at']}  {mail['status']}" + (f"       {mail['error']}" if mail["error"] else ""))
    if mail["status"] == "queued" and mail["due_at"]:
        lines.append(f"{mail['due_at']}  next try")
    return "\n".join(lines)
