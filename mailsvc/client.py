"""`mailsvc send`: one mail through a running server, and what became of it as a person reads it."""

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from typing import Any

import click

OK, FAILED = 0, 1
TIMEOUT = 70.0  # seconds; the server answers a waiting request after 60 at the latest
BAD = ("failed", "rejected", "bounced", "expired", "canceled", "suppressed")


def send(
    to: tuple[str, ...],
    subject: str,
    content: str | None,
    sender: str | None,
    url: str,
    key: str | None,
    idempotency_key: str | None,
    wait: bool,
    as_json: bool,
) -> int:
    """Send it, print what happened, return the exit code."""
    mail: dict[str, Any] = {"to": list(to), "subject": subject, "content": content or sys.stdin.read()}
    if sender:
        mail["from"] = sender
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if key:
        headers["Authorization"] = f"Bearer {key}"
    asked = headers | ({"Idempotency-Key": idempotency_key} if idempotency_key else {})
    base = url.rstrip("/")
    status, answer = _call("POST", f"{base}/email", asked, mail)
    if status == 202 and wait:
        status, answer = _call("GET", f"{base}/email/{answer['id']}?wait=settled&timeout=60", headers)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif status >= 400 or status == 0:
        click.echo(_problem(answer), err=True)
    else:
        click.echo(_timeline(answer) if wait else f"{answer['status']}  {answer['id']}")
    return FAILED if status >= 400 or status == 0 or answer.get("status") in BAD else OK


def _call(method: str, url: str, headers: dict[str, str], body: Any = None) -> tuple[int, dict[str, Any]]:
    """Status and JSON of the answer; status 0 when there is none."""
    if not url.startswith(("http://", "https://")):
        raise click.BadParameter("must start with http:// or https://", param_hint="--url")
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - checked above
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:  # noqa: S310 - checked above
            return response.status, _object(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _object(error.read())
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", error)
        return 0, {"detail": f"No answer from {url}: {reason}. Is the server running? Start it with: mailsvc serve"}


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {"detail": "The answer is not from mailsvc: is the URL right?"}
    return value if isinstance(value, dict) else {"detail": "The answer is not from mailsvc: is the URL right?"}


def _problem(answer: dict[str, Any]) -> str:
    lines = [str(answer.get("detail", "failed"))]
    lines += [f"  {fault['field']}: {fault['message']}" for fault in answer.get("errors", [])]
    return "\n".join(lines)


def _timeline(mail: dict[str, Any]) -> str:
    lines = [f"{mail['created_at']}  accepted   {mail['id']}"]
    for attempt in mail["attempts"]:
        said = f": {attempt['detail']}" if attempt["detail"] else ""
        outcome = attempt["outcome"] or "running"
        lines.append(f"{attempt['started_at']}  attempt {attempt['n']}  {attempt['provider']} {outcome}{said}")
    lines.append(f"{mail['updated_at']}  {mail['status']}" + (f"       {mail['error']}" if mail["error"] else ""))
    if mail["status"] == "queued" and mail["due_at"]:
        lines.append(f"{mail['due_at']}  next try")
    return "\n".join(lines)
