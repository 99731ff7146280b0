"""A message as bytes (RFC 5322, MIME), read as the fields of a mail. What it cannot carry is refused, with the reason.

The envelope says who gets it. The headers say in which role, and with which name; nobody gets it because of a header.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import Message
from typing import Any, cast

from .address import AddressError, Mailbox, control_character, parse_address, parse_mailbox, split_mailboxes
from .errors import FieldFault, InvalidMail

DEPTH = 30  # parts within parts
LONGEST_HEADER = 20_000  # characters
BOUNDARIES = 100  # of parts; the parser looks for each of them at each line
# Headers that are read here, that mailsvc or a provider writes itself, or that are about the way up to here.
_OWN = frozenset(
    {"from", "to", "cc", "bcc", "subject", "reply-to", "date", "message-id", "mime-version", "received", "return-path"}
    | {"delivered-to", "sender", "x-mailsvc-tags", "x-mailsvc-idempotency-key"}
)
_OWN_PREFIXES = ("content-", "resent-", "arc-", "dkim-")
_BOUNDARY = re.compile(rb"boundary[*0-9]{0,9}[ \t]{0,9}=", re.IGNORECASE)
_SEALED = frozenset({"multipart/signed", "multipart/encrypted", "application/pkcs7-mime", "application/x-pkcs7-mime"})


@dataclass(frozen=True, slots=True)
class Letter:
    """The mails that a message stands for, as fields, and the key by which a repeated one is known."""

    mails: Sequence[dict[str, Any]]
    idempotency_key: str | None = None


@dataclass(slots=True)
class _Content:
    text: str | None = None
    html: str | None = None
    files: list[dict[str, Any]] = field(default_factory=list)


def read(raw: bytes, recipients: Sequence[str]) -> Letter:
    """Read a message for these addresses of its envelope. Raises InvalidMail."""
    if len(_BOUNDARY.findall(raw)) > BOUNDARIES:
        raise _invalid("message", f"has more than {BOUNDARIES} parts of parts")
    try:
        return _letter(message_from_bytes(raw), recipients)
    except InvalidMail:
        raise
    except Exception as error:  # the standard library's parser meets hostile headers with errors of any kind
        raise _invalid("message", f"cannot be read: {type(error).__name__}") from error


def _letter(message: Message, recipients: Sequence[str]) -> Letter:
    senders = _boxes(message, "from")
    if len(senders) != 1 or len(split_mailboxes(_raw(message, "from"))) != 1:
        raise _invalid("From", "must be there, with one address")
    content = _Content()
    _gather(message, content, 0)
    mail: dict[str, Any] = {
        "from": str(senders[0]),
        "subject": _words(message, "subject"),
        "reply_to": [str(box) for box in _boxes(message, "reply-to")],
        "headers": _headers(message),
        "tags": [tag.strip() for tag in _words(message, "x-mailsvc-tags").split(",") if tag.strip()],
        "attachments": content.files,
        "html": content.html,
        "text": content.text or (None if content.html else "\n"),  # a mail may be nothing but files
    }
    given = {name: value for name, value in mail.items() if value}
    return Letter([given | people for people in _people(message, recipients)], _key(message))


def _people(message: Message, recipients: Sequence[str]) -> list[dict[str, Any]]:
    """To, Cc and Bcc for the envelope's recipients.

    Those whom no header names get a mail each if there is nobody else: they must not see each other.
    """
    left = {address.lower(): address for address in recipients}
    found: dict[str, list[str]] = {}
    for role in ("to", "cc"):
        boxes = [box for box in _boxes(message, role) if left.pop(box.address.lower(), None)]
        if boxes:
            found[role] = [str(box) for box in boxes]
    if "to" not in found and "cc" in found:
        found["to"] = found.pop("cc")
    if "to" not in found:
        return [{"to": [address]} for address in left.values()]
    return [found | ({"bcc": list(left.values())} if left else {})]


def _boxes(message: Message, name: str) -> list[Mailbox]:
    """The addresses in a header, as far as they are any; a group counts for those in it.

    The standard library's reader of addresses takes minutes for hostile ones.
    """
    if len(message.get_all(name, [])) > 1:
        raise _invalid(name.title(), "is there more than once")
    found = []
    for part in split_mailboxes(_raw(message, name)):
        text = re.sub(r"^[^\"<>@:]{0,200}:|;$", "", part).strip()
        with suppress(AddressError):
            bare = text.startswith("<") and text.endswith(">")
            box = Mailbox(parse_address(text[1:-1].strip())) if bare else parse_mailbox(text)
            found.append(Mailbox(box.address, _decoded(box.name)))
    return found


def _headers(message: Message) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, _ in message.raw_items():
        lower = name.lower()
        if lower in _OWN or lower.startswith(_OWN_PREFIXES):
            continue
        if lower in {each.lower() for each in found}:
            raise _invalid(name, "is there more than once")
        found[name] = _words(message, lower)
    return found


def _key(message: Message) -> str | None:
    key = _words(message, "x-mailsvc-idempotency-key").strip()
    if key and not re.fullmatch(r"[ -~]{1,256}", key):
        raise _invalid("X-Mailsvc-Idempotency-Key", "must be 1 to 256 printable ASCII characters")
    return key or None


def _words(message: Message, name: str) -> str:
    """A header's text in one line; empty if it is not there."""
    return _decoded(_raw(message, name)).strip()


def _raw(message: Message, name: str) -> str:
    """A header as it was written, in one line. Bytes that are no ASCII are read as UTF-8."""
    value = next((each for each_name, each in message.raw_items() if each_name.lower() == name), "")
    if len(value) > LONGEST_HEADER:
        raise _invalid(name, f"is longer than {LONGEST_HEADER} characters")
    text = re.sub(r"\r?\n(?=[ \t])", "", value)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _decoded(text: str) -> str:
    """A text with its encoded words (RFC 2047) read; as it is where they are none."""
    if "=?" not in text:
        return text
    try:
        return str(make_header(decode_header(text)))
    except (LookupError, ValueError, HeaderParseError):
        return text


def _gather(part: Message, content: _Content, depth: int) -> None:
    """Take the first text and the first HTML as the body, and all else as files."""
    kind = part.get_content_type()
    if kind in _SEALED:
        raise _invalid("Content-Type", f"{kind} cannot be carried as it is, and would be broken")
    if depth > DEPTH:
        raise _invalid("message", f"has parts within parts, more than {DEPTH} deep")
    if kind.startswith("multipart/"):
        for each in _parts(part):
            _gather(each, content, depth + 1)
        return
    bare = part.get_content_disposition() != "attachment" and part.get_filename() is None
    if kind == "text/plain" and bare and content.text is None:
        content.text = _text(part)
    elif kind == "text/html" and bare and content.html is None:
        content.html = _text(part)
    else:
        content.files.append(_file(part, kind, len(content.files) + 1))


def _parts(part: Message) -> Iterator[Message]:
    payload = part.get_payload()
    if not isinstance(payload, list):
        raise _invalid("message", "says it has several parts, and has none")
    yield from (cast("Message", each) for each in payload)


def _text(part: Message) -> str:
    raw = cast("bytes", part.get_payload(decode=True)) or b""
    charset = part.get_content_charset("utf-8")
    try:
        text = raw.decode("utf-8" if charset in ("us-ascii", "ascii") else charset, "replace")
    except LookupError:
        text = raw.decode("utf-8", "replace")
    return text.replace("\r\n", "\n")


def _file(part: Message, kind: str, n: int) -> dict[str, Any]:
    """One file. It is inline where it has a Content-ID and does not say that it is an attachment."""
    inner = part.get_payload()
    if isinstance(inner, list):  # a message in the message
        raw, name = b"".join(each.as_bytes() for each in cast("list[Message]", inner)), f"message-{n}.eml"
        kind = "message/rfc822"
    else:
        raw, name = cast("bytes", part.get_payload(decode=True)) or b"", f"part-{n}"
    given = re.split(r"[/\\]", _filename(part))[-1].strip()
    found = {"filename": given or name, "content": raw, "content_type": kind}
    content_id = _words(part, "content-id").strip().removeprefix("<").removesuffix(">")
    if content_id and part.get_content_disposition() != "attachment":
        found["content_id"] = content_id
    return found


def _filename(part: Message) -> str:
    """The name of a file, in one of the two ways to write it (RFC 2231, RFC 2047)."""
    text = part.get_filename("")
    return _decoded(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))


def _invalid(name: str, words: str) -> InvalidMail:
    shown = "".join("?" if control_character(each) else each for each in name[:80])
    return InvalidMail([FieldFault(shown, "invalid", words)])
