"""Server-sent events of a running server as lines of text, for a person who watches or a program that reads."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from http.client import HTTPException
from typing import Any

import click

from .remote import FAILED, Remote

PAUSE = 2.0  # seconds before it is tried again after a break


def follow(remote: Remote, path: str, as_json: bool) -> int:
    """Print what happens until interrupted, after a break what was missed; FAILED when the server refuses to tell."""
    started, last = False, ""
    while True:
        refusal = ""
        try:
            with remote.lines(path, {"Last-Event-ID": last} if last else {}) as (refusal, lines):
                if not refusal:
                    started = True
                    for number, kind, data in events(lines):
                        last = number
                        click.echo(json.dumps({"event": kind} | data) if as_json else told(kind, data))
        except BrokenPipeError:
            raise  # who reads has seen enough
        except (OSError, HTTPException) as error:
            refusal = "" if started else str(error)
        if refusal:
            click.echo(refusal, err=True)
            return FAILED
        time.sleep(PAUSE)


def events(lines: Iterable[str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The id, the kind and the data of each event, out of the lines of a stream. Comments are left out."""
    last, kind, data = "", "message", ""
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "id":
            last = value
        elif name == "event":
            kind = value
        elif name == "data":
            data += value
        elif not line:
            if data:
                yield last, kind, json.loads(data)
            kind, data = "message", ""


def told(kind: str, data: dict[str, Any]) -> str:
    """One event in one line."""
    at = datetime.now(UTC).strftime("%H:%M:%S")
    if kind == "mail":
        return f"{at}  {data['id']}  {data.get('status', '')}"
    if kind == "attempt":
        return f"{at}  {data['id']}  attempt {data['n']}: {data['provider']} {data['outcome'] or 'is asked'}"
    if kind == "provider":
        return f"{at}  {data['name']}  {data['state']}  {data.get('reason', '')}".rstrip()
    if kind == "missed":
        return f"{at}  too much has happened meanwhile: what was before {data['before']} is not told"
    return f"{at}  {kind}  {json.dumps(data)}"
