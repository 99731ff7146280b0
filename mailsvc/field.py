"""The fields of a mail one by one: what may stand in each. Each fault is told with a stable code."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, JsonValue
from pydantic_core import PydanticCustomError

from .address import AddressError, Mailbox, control_character, parse_mailbox, parse_name
from .instant import parse_instant

MAX_RECIPIENTS = 50
MAX_NAME = 255
MAX_SUBJECT = 998  # a header line of RFC 5322
MAX_CONTENT = 1024 * 1024  # characters of markdown
MAX_TEXT = 5 * 1024 * 1024  # characters of HTML, and of text
MAX_HEADERS, MAX_HEADER = 50, 995
MAX_TAGS, MAX_TAG = 10, 128
MAX_METADATA, MAX_METADATA_VALUE = 50, 500
MAX_ATTACHMENTS = 50
# What mailsvc or the provider writes itself, or what would change who gets the mail and how it is read.
RESERVED_HEADERS = frozenset(
    {"from", "to", "cc", "bcc", "sender", "reply-to", "subject", "date", "message-id", "mime-version", "received"}
    | {"return-path", "delivered-to", "idempotencykey"}
)
RESERVED_PREFIXES = (
    *("content-", "dkim-", "arc-", "resent-", "resend-", "x-sg-", "x-mailgun-", "x-pm-", "x-mailin-", "x-sib-"),
    *("x-mc-", "x-ses-", "x-msys-", "x-smtpapi"),  # orders to Mandrill, SES, SparkPost and SendGrid by SMTP
)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,76}")
_METADATA_KEY = re.compile(r"[A-Za-z0-9_.-]{1,40}")


def _mailbox(value: object) -> Mailbox:
    if not isinstance(value, str):
        raise PydanticCustomError("type_error", "must be a string such as ann@example.com")
    try:
        return parse_mailbox(value)
    except AddressError as error:
        raise PydanticCustomError(error.code, "{reason}", {"reason": str(error)}) from error


def read_mailboxes(value: object) -> object:
    """A single address is a list of one."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise PydanticCustomError("type_error", "must be an address or an array of addresses")
    if not value:
        raise PydanticCustomError("too_few", "must hold at least one address")
    if len(value) > MAX_RECIPIENTS:
        raise PydanticCustomError("too_many", "must hold at most 50 addresses")
    return tuple(value)


def read_headers(value: object) -> object:
    """Names unlike each other in any case; values of one line."""
    named = _map(value, MAX_HEADERS, MAX_HEADER)
    seen: set[str] = set()
    for name in named:
        lower = name.lower()
        if not _HEADER_NAME.fullmatch(name):
            raise PydanticCustomError("invalid", "has a name that no header can have: {name}", {"name": name[:80]})
        if lower in RESERVED_HEADERS or lower.startswith(RESERVED_PREFIXES):
            raise PydanticCustomError("reserved", "must not set {name}", {"name": name})
        if lower in seen:
            raise PydanticCustomError("repeated", "sets {name} more than once", {"name": name})
        seen.add(lower)
    return named


def read_metadata(value: object) -> object:
    """Texts of one line by short names."""
    named = _map(value, MAX_METADATA, MAX_METADATA_VALUE)
    for name in named:
        if not _METADATA_KEY.fullmatch(name):
            words = "has a key that is not 1 to 40 letters, digits or _ . -: {name}"
            raise PydanticCustomError("invalid", words, {"name": name[:80]})
        if name.lower().startswith("mailsvc_"):
            raise PydanticCustomError("reserved", "must not set {name}", {"name": name})
    return named


def _map(value: object, most: int, longest: int) -> dict[str, str]:
    """Texts of one line by name."""
    if not isinstance(value, dict) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise PydanticCustomError("type_error", "must be an object with a string for each name")
    if len(value) > most:
        raise PydanticCustomError("too_many", "must hold at most {most}", {"most": most})
    for name, text in value.items():
        if control := control_character(name + text):
            raise PydanticCustomError(
                "control_character", "contains the control character {control}", {"control": control}
            )
        if len(text) > longest:
            words = "has a value of more than {longest} characters: {name}"
            raise PydanticCustomError("too_long", words, {"longest": longest, "name": name[:80]})
    return value


def read_tags(value: object) -> object:
    """A single tag is a list of one; each counts once."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise PydanticCustomError("type_error", "must be an array of strings")
    if len(value) > MAX_TAGS:
        raise PydanticCustomError("too_many", "must hold at most {most}", {"most": MAX_TAGS})
    return tuple(dict.fromkeys(value)) if all(isinstance(tag, str) for tag in value) else tuple(value)


def read_files(value: object) -> object:
    """Objects, of which each is checked by itself."""
    if not isinstance(value, list):
        raise PydanticCustomError("type_error", "must be an array of objects")
    if len(value) > MAX_ATTACHMENTS:
        raise PydanticCustomError("too_many", "must hold at most {most}", {"most": MAX_ATTACHMENTS})
    return tuple(value)


def read_name(value: object) -> object:
    """A display name, trimmed and composed."""
    if not isinstance(value, str):
        return value
    try:
        return parse_name(value)
    except AddressError as error:
        raise PydanticCustomError(error.code, "{reason}", {"reason": str(error)}) from error


def _line(value: object) -> object:
    if isinstance(value, str) and (control := control_character(value)):
        raise PydanticCustomError("control_character", "contains the control character {control}", {"control": control})
    return value


def _body(value: object) -> object:
    if isinstance(value, str) and "\x00" in value:
        raise PydanticCustomError("control_character", "contains the control character U+0000")
    return value


def read_instant(value: object) -> object:
    """An RFC 3339 time as Unix seconds."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise PydanticCustomError("type_error", "must be a string such as 2027-01-02T03:04:05Z")
    try:
        return parse_instant(value)
    except ValueError as error:
        raise PydanticCustomError("invalid_time", "{reason}", {"reason": str(error)}) from error


def read_yes_or_no(value: object) -> object:
    """Forms know texts alone."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


TIME = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}
_ADDRESS_SCHEMA: dict[str, JsonValue] = {"type": "string", "examples": ["ann@example.com", "Ann Lee <ann@example.com>"]}
Address = Annotated[Mailbox, BeforeValidator(_mailbox, json_schema_input_type=str)]
Line = Annotated[str, BeforeValidator(_line)]
Body = Annotated[str, BeforeValidator(_body)]
ONE_OR_MORE: dict[str, JsonValue] = {
    "anyOf": [_ADDRESS_SCHEMA, {"type": "array", "items": _ADDRESS_SCHEMA, "minItems": 1, "maxItems": MAX_RECIPIENTS}]
}


def _none_or_more(schema: dict[str, Any]) -> None:
    """Nobody is what is left out, not an empty array."""
    schema.update(ONE_OR_MORE)
    schema.pop("default")


# Nobody, or some addresses.
Addresses = Annotated[
    tuple[Address, ...],
    BeforeValidator(read_mailboxes, json_schema_input_type=str | list[str]),
    Field(default=(), json_schema_extra=_none_or_more),
]
