"""A message as bytes (RFC 5322, MIME), the same for the same message: what is random elsewhere comes from its id.

The parts with text are built by the standard library; headers are not, because its header classes read an encoded word
such as `=?utf-8?q?=0A?=` in a value and send on what it stands for.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from base64 import b64encode
from collections.abc import Iterable
from datetime import UTC, datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from urllib.parse import quote

from .address import Mailbox
from .model import Attachment, Message

_POLICY = SMTP.clone(cte_type="7bit")  # a server need not know 8BITMIME
_LONGEST_LINE = 998  # octets without the line break (RFC 5322)
_BASE64_LINE = 57  # bytes that become 76 characters
_PARAMETER = 60  # characters of a file's name in one piece
# What may hold other parts must not be encoded (RFC 2046), and would be taken apart by readers.
_COMPOSITE = ("message/", "multipart/")


def build(message: Message) -> bytes:
    """The message, without Bcc, ASCII with CRLF.

    The HTML and what it shows are `multipart/related`, beside the text as `multipart/alternative`; other files are with
    them in `multipart/mixed`. A file that is a message or a multipart itself goes as bytes of no known type.
    """
    shown = [each for each in message.attachments if each.content_id and message.html]
    files = [each for each in message.attachments if each not in shown]
    html = [_with_files("related", message.id, _text_part(message.html, "html"), shown)] if message.html else []
    text = [_text_part(message.text, "plain")] if message.text or not html else []
    body = _multipart("alternative", message.id, [*text, *html]) if len(text + html) > 1 else (text + html)[0]
    headers = "".join(f"{line}\r\n" for line in _headers(message))
    return f"{headers}MIME-Version: 1.0\r\n".encode() + _with_files("mixed", message.id, body, files)


def header(name: str, text: str) -> str:
    """A one-line text as it may stand in a header. What looks like an encoded word is encoded, to be read as it is."""
    fits = len(name) + 2 + len(text) <= _LONGEST_LINE
    if text.isascii() and "=?" not in text and text == text.strip() and fits:
        return text
    return Header(text, "utf-8", header_name=name).encode(linesep="\r\n")


def mailbox(name: str, box: Mailbox) -> str:
    """A mailbox as it may stand in this header."""
    if box.name.isascii() and "=?" not in box.name:
        return str(box)
    return f"{header(name, box.name)} <{box.address}>"


def _headers(message: Message) -> Iterable[str]:
    """The lines of the header, but for those that say what the body is."""
    yield f"From: {mailbox('From', message.sender)}"
    for name, boxes in (("To", message.to), ("Cc", message.cc), ("Reply-To", message.reply_to)):
        if boxes:
            yield f"{name}: " + ",\r\n ".join(mailbox(name, box) for box in boxes)
    yield f"Subject: {header('Subject', message.subject)}"
    yield f"Date: {format_datetime(_created_at(message.id))}"
    yield f"Message-ID: {message.message_id}"
    for name, text in message.headers.items():
        yield f"{name}: {header(name, text)}"


def _text_part(text: str | None, subtype: str) -> bytes:
    part = EmailMessage(policy=_POLICY)
    part.set_content(text or "", subtype=subtype)
    del part["MIME-Version"]
    return part.as_bytes()


def _with_files(kind: str, identifier: str, body: bytes, files: list[Attachment]) -> bytes:
    return _multipart(kind, identifier, [body, *(_file_part(each) for each in files)]) if files else body


def _multipart(kind: str, identifier: str, parts: list[bytes]) -> bytes:
    """The parts as one, each with its own headers. Nobody who writes a mail knows its id, and so the boundary, yet."""
    boundary = "=_" + hashlib.sha256(f"{kind} {identifier}".encode()).hexdigest()[:32]
    head = f'Content-Type: multipart/{kind};\r\n boundary="{boundary}"\r\n\r\n'.encode()
    between = f"--{boundary}\r\n".encode()
    return head + b"".join(between + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()


def _file_part(file: Attachment) -> bytes:
    kind = "application/octet-stream" if file.content_type.lower().startswith(_COMPOSITE) else file.content_type
    lines = [
        f"Content-Type: {kind}",
        "Content-Transfer-Encoding: base64",
        f"Content-Disposition: {'inline' if file.content_id else 'attachment'}{_filename(file.filename)}",
        *([f"Content-ID: <{file.content_id}>"] if file.content_id else []),
    ]
    content = file.content
    encoded = (b64encode(content[n : n + _BASE64_LINE]) for n in range(0, len(content), _BASE64_LINE))
    return "\r\n".join([*lines, "", ""]).encode() + b"\r\n".join(encoded) + b"\r\n"


def _filename(name: str) -> str:
    """The parameter `filename`, as RFC 2231 has it for a long name and for one beyond ASCII."""
    if name.isascii() and len(name) <= _PARAMETER and "=?" not in name and not re.search(r'["\\%]', name):
        return f';\r\n filename="{name}"'
    pieces = [""]
    for character in name:
        encoded = quote(character, safe="!#$&+-.^_`|~")
        if len(pieces[-1]) + len(encoded) > _PARAMETER:
            pieces.append("")  # between two characters, because some readers decode each piece by itself
        pieces[-1] += encoded
    pieces[0] = f"utf-8''{pieces[0]}"
    if len(pieces) == 1:
        return f";\r\n filename*={pieces[0]}"
    return "".join(f";\r\n filename*{n}*={piece}" for n, piece in enumerate(pieces))


def _created_at(identifier: str) -> datetime:
    """When the mail was accepted: its id is a UUIDv7, which begins with the time in milliseconds."""
    return datetime.fromtimestamp((uuid.UUID(identifier).int >> 80) / 1000, UTC)
