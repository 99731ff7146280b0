"""The fields of requests about callbacks: what they may hold, and how a callback and its deliveries are shown."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..address import control_character
from ..callback import PATTERNS, Backlog, Callback, Replay, State, Told
from ..errors import FieldFault, InvalidMail
from ..guard import LONGEST
from ..instant import WORDS, parse_instant
from .base import Handler, rfc3339
from .body import fields
from .problem import invalid
from .session import FIELD

DESCRIPTION = 200  # characters
OVERLAP, LONGEST_OVERLAP = 86_400, 7 * 86_400  # seconds
Read = Callable[[object], Any]


def given(handler: Handler, known: Mapping[str, Read], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a request's body, read; no body is no fields. Raises Problem, and InvalidMail with every fault."""
    headers = handler.request.headers
    kind, coding = headers.get("Content-Type"), headers.get("Content-Encoding")
    found = fields(kind, coding, handler.body) if handler.body else {}
    found.pop(FIELD, None)
    faults = [FieldFault(str(name)[:100], "unknown_field", "is not a field here") for name in found.keys() - known]
    faults += [FieldFault(name, "missing", "is needed") for name in required if found.get(name) is None]
    values: dict[str, Any] = {}
    for name in (name for name in known if found.get(name) is not None):
        try:
            values[name] = known[name](found[name])
        except ValueError as error:
            faults.append(FieldFault(name, "invalid", str(error)))
    if faults:
        raise InvalidMail(faults)
    return values


def url(value: object) -> str:
    """Text; whether it may be used, the guard knows."""
    if not isinstance(value, str) or len(value) > LONGEST:
        raise ValueError(f"must be a URL of at most {LONGEST} characters")
    return value


def events(value: object) -> list[str]:
    """Some of the patterns, each once; from a form, a text with commas."""
    parts = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    if not isinstance(parts, list) or not parts or any(part not in PATTERNS for part in parts):
        raise ValueError(f"must be an array of some of: {', '.join(PATTERNS)}")
    return list(dict.fromkeys(parts))


def description(value: object) -> str:
    """One line."""
    if not isinstance(value, str) or len(value) > DESCRIPTION or control_character(value):
        raise ValueError(f"must be one line of at most {DESCRIPTION} characters")
    return value.strip()


def enabled(value: object) -> bool:
    """A boolean; from a form, a word."""
    known = {"true": True, "1": True, "false": False, "0": False}
    if isinstance(value, str) and value.lower() in known:
        return known[value.lower()]
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def overlap(value: object) -> int:
    """Seconds."""
    number = int(value) if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value, re.ASCII) else value
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= LONGEST_OVERLAP:
        raise ValueError(f"must be a whole number of seconds from 0 to {LONGEST_OVERLAP}")
    return number


def name(value: object) -> str:
    """The id of a delivery."""
    if not isinstance(value, str) or not re.fullmatch(r"msg_[0-9a-f]{32}", value):
        raise ValueError("must be the id of a delivery, such as msg_0123456789abcdef0123456789abcdef")
    return value


def moment(value: object) -> float:
    """An RFC 3339 time as Unix seconds."""
    if not isinstance(value, str):
        raise ValueError(WORDS)
    return parse_instant(value)


def state(value: object) -> State:
    """One of those that can be told again, or looked for."""
    if value not in list(State):
        raise ValueError(f"must be one of: {', '.join(State)}")
    return State(str(value))


SETTINGS: Mapping[str, Read] = {"url": url, "events": events, "description": description}
REPLAY: Mapping[str, Read] = {"id": name, "since": moment, "until": moment, "status": state}


def wanted(found: Mapping[str, Any], now: float) -> Replay:
    """What is to be told again. Raises InvalidMail."""
    if "id" in found:
        if len(found) > 1:
            raise invalid("id", "conflict", "stands alone: one delivery, or those of a time")
        return Replay(found["id"])
    if "since" not in found:
        raise invalid("since", "missing", "is needed, or `id` for one delivery")
    until = found.get("until", now)
    if until <= found["since"]:
        raise invalid("until", "invalid", "must be later than `since`")
    if found.get("status") is State.WAITING:
        raise invalid("status", "invalid", "must be delivered or failed: what waits is told anyway")
    return Replay(None, found["since"], until, found.get("status"))


def view(callback: Callback, backlog: Backlog | None, last: Told | None) -> dict[str, Any]:
    """A callback as the API shows it; never its secrets."""
    return {
        "id": callback.id,
        "url": callback.url,
        "events": list(callback.events),
        "description": callback.description,
        "enabled": callback.disabled_at is None,
        "disabled_at": rfc3339(callback.disabled_at),
        "disabled_reason": callback.disabled_why and callback.disabled_why.value,
        "failing_since": rfc3339(callback.failing_since),
        "created_at": rfc3339(callback.created_at),
        "secrets": [{"expires_at": rfc3339(secret.until)} for secret in callback.secrets],
        "waiting": backlog.number if backlog else 0,
        "last_delivery": last and delivery(last),
    }


def delivery(told: Told) -> dict[str, Any]:
    """A notice as the API shows it."""
    notice = told.notice
    return {
        "id": notice.id,
        "type": notice.type,
        "mail": notice.mail,
        "at": rfc3339(notice.at),
        "status": notice.state.value,
        "due_at": rfc3339(notice.due_at),
        "attempts": [
            {
                "n": done.n,
                "at": rfc3339(done.at),
                "seconds": round(done.took, 3),
                "http_status": done.http_status,
                "error": done.error,
            }
            for done in told.tries
        ],
    }
