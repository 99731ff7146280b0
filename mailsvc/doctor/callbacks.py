"""The callbacks: may each URL be called, is its host to be found, does it take what it is told."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.request
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from ..callback import Glimpse, Off
from ..config import Config
from ..guard import Guard
from ..outbox.base import Inspection
from .base import Finding, fail, is_ours, ok, warn

TIMEOUT = 5.0  # seconds for a name, and for the answer of a server that runs
CROWD = 1000  # deliveries that wait although nothing fails: the application is too slow
SWITCH_ON = 'switch it on, on the page or by PATCH /callbacks/{id} {{"enabled": true}}'
_WHY = {Off.HAND: "by hand", Off.GONE: "it answered 410", Off.FAILING: "it took nothing for five days"}
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


async def check(config: Config, seen: Inspection | None, *, offline: bool) -> list[Finding]:
    """A line for each callback. Of a file that a running server owns, that server is asked."""
    if seen is None:
        return []
    known: Sequence[Glimpse] | None = seen.callbacks
    if known is None and seen.owner:
        known = await asyncio.to_thread(_from_server, config)
        if known is None:
            return [ok("callbacks", "could not be looked at from here: `mailsvc callbacks` asks the server")]
    guard = Guard(config.callback_allow)
    found = await asyncio.gather(*(judge(each, guard, offline=offline) for each in known or ()))
    return list(found)


async def judge(callback: Glimpse, guard: Guard, *, offline: bool = False) -> Finding:
    """What there is to say of one. Of its URL the host alone is shown: the rest may be a secret."""
    host = (urlsplit(callback.url).hostname or "").rstrip(".")
    name = f"{callback.id} ({host})"
    waiting = f", {callback.waiting:,} waiting" if callback.waiting else ""
    if fault := guard.fault(callback.url):
        fix = "change its URL, or name its host in MAILSVC_CALLBACK_ALLOW"
        return fail("callbacks", f"{name} may not be called: its URL {fault}{waiting}", fix)
    if callback.disabled_why is Off.HAND:
        return ok("callbacks", f"{name} is switched off by hand{waiting}")
    if callback.disabled_why:
        fix = f"mend the application, then {SWITCH_ON.format(id=callback.id)}"
        return warn("callbacks", f"{name} is switched off: {_WHY[callback.disabled_why]}{waiting}", fix)
    if not offline and (trouble := await _lost(host, guard)):
        return fail("callbacks", f"{name} cannot be called: {trouble[0]}{waiting}", trouble[1])
    if callback.failing_since is not None:
        since = datetime.fromtimestamp(callback.failing_since, UTC).strftime("%Y-%m-%d %H:%M UTC")
        fix = f"see what it answers: mailsvc callbacks log {callback.id}"
        return warn("callbacks", f"{name} has taken nothing since {since}{waiting}", fix)
    if callback.waiting >= CROWD:
        return warn("callbacks", f"{name} is too slow{waiting}", "let it answer first, and work then")
    return ok("callbacks", f"{name} may be called{waiting}")


async def _lost(host: str, guard: Guard) -> tuple[str, str] | None:
    """Why a host cannot be called, and what to do; None if it can be."""
    try:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(TIMEOUT):
            found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except TimeoutError:
        return "DNS gives no answer for its host", "has this machine a network and DNS?"
    except OSError:
        return "its host is not found", "has this machine a network and DNS? If so, is the name right?"
    addresses = [str(address[0]).partition("%")[0] for *_, address in found]
    if guard.trusts(host) or any(map(guard.allows, addresses)):
        return None
    return f"its host leads to {addresses[0]}, which is inside", "if that is meant, name it in MAILSVC_CALLBACK_ALLOW"


def _from_server(config: Config) -> list[Glimpse] | None:
    """What the server tells that runs with these settings; None if it tells nothing to this key."""
    if not is_ours(config.port):
        return None
    headers = {"Authorization": f"Bearer {config.api_key}"} if config.api_key else {}
    request = urllib.request.Request(f"http://127.0.0.1:{config.port}/callbacks", headers=headers)
    try:
        with _OPENER.open(request, timeout=TIMEOUT) as answer:
            return [_told(each) for each in json.loads(answer.read())["data"]]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def _told(each: dict[str, Any]) -> Glimpse:
    since = each["failing_since"]
    why = Off(each["disabled_reason"]) if each["disabled_reason"] else None
    return Glimpse(each["id"], each["url"], why, since and datetime.fromisoformat(since).timestamp(), each["waiting"])
