"""Any mail server that takes mail by SMTP submission (RFC 6409), named by one URL.

`smtps` is TLS from the first byte; `smtp` is STARTTLS, required, except on the loopback interface, where it is plain.
The message is built by the standard library; its unstructured and address headers are not, because its header classes
read an encoded word such as `=?utf-8?q?=0A?=` in a value and send on what it stands for.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import uuid
from base64 import b64encode
from datetime import UTC, datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import format_datetime
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit

from ..address import Mailbox
from ..model import Message, Outcome
from .base import RATE_PAUSE, Answer, Provider, Request, Result, Settings, SmtpReply, SmtpRequest, one_line

_PORTS = {"smtp": 587, "smtps": 465}
_POLICY = SMTP.clone(cte_type="7bit")  # a server need not know 8BITMIME
_SHAPE = "must look like smtp://user:password@host:port, with / ? # @ in user and password as %2F %3F %23 %40"
_LONGEST_LINE = 900  # characters of a header value; 998 octets is the limit of a line

_QUEUED_AS = re.compile(r"queued as ([\w.<>@-]+)|^(?:2\.\d\.\d )?Ok:? ([\w.-]{12,})", re.IGNORECASE)
_ENHANCED = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})\b")
# Words of servers for a quota of mails that is used up, not of a mailbox: SendGrid, Amazon SES, Google.
_USED_UP = re.compile(r"credits exceeded|(daily|message|sending)[\w ]* (quota|limit)", re.IGNORECASE)
_UNVERIFIED = re.compile(r"address is not verified", re.IGNORECASE)  # Amazon SES says it after DATA
_NO_RELAY = re.compile(r"relay", re.IGNORECASE)


class Smtp(Provider):
    """A mail server. It has no reports; what it takes is accepted, and what bounces comes back as mail."""

    name = "smtp"
    rank = 100
    env = ("SMTP_URL",)
    example = {"SMTP_URL": "smtp://user:password@smtp.example.com:587"}  # noqa: RUF012 - a ClassVar of the base

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        parts = urlsplit(settings.values["SMTP_URL"])
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._username = None if parts.username is None else unquote(parts.username)
        self._password = None if parts.password is None else unquote(parts.password)
        self._encoded_password = parts.password or ""
        self._security = "tls" if parts.scheme == "smtps" else "plain" if _is_loopback(self._host) else "starttls"

    @classmethod
    def faults(cls, settings: Settings) -> list[str]:
        """Also whether SMTP_URL is smtp[s]://user:password@host:port."""
        fault = _url_fault(settings.values["SMTP_URL"])
        return super().faults(settings) + ([f"SMTP_URL {fault}"] if fault else [])

    def secrets(self) -> tuple[str, ...]:
        """The password as it stands in the URL, as it is, and as it goes over the wire."""
        username, password = self._username or "", self._password or ""
        words = (f"\0{username}\0{password}", password)
        wire = tuple(b64encode(word.encode()).decode() for word in words if word.strip("\0"))
        return (*super().secrets(), self._encoded_password, password, *wire)

    def request(self, message: Message) -> Request:
        """One transaction for all recipients."""
        return SmtpRequest(
            host=self._host,
            port=self._port,
            security=self._security,
            username=self._username,
            password=self._password,
            sender=message.sender.address,
            recipients=tuple(dict.fromkeys(mailbox.address for mailbox in message.to)),
            data=_build(message),
        )

    def judge(self, answer: Answer, message: Message) -> Result:
        """The stage says whom the refusal is about, the code whether it is for good."""
        assert isinstance(answer, SmtpReply)  # noqa: S101 - for the type checker; an SmtpRequest gets no other answer
        if answer.stage == "done":
            return _accepted(answer)
        outcome = _outcome(answer)
        wait = RATE_PAUSE if outcome is Outcome.RATE_LIMITED else None
        return Result(outcome, f"{_AT[answer.stage]}: {_words(answer.code, answer.text)}", retry_after=wait)


_AT = {
    "connect": "refused the connection",
    "starttls": "refused STARTTLS",
    "auth": "refused the login",
    "mail": "refused the sender",
    "rcpt": "refused the recipient",
    "data": "refused the message",
}


def _accepted(reply: SmtpReply) -> Result:
    queued = _QUEUED_AS.search(one_line(reply.text))
    return Result(
        Outcome.ACCEPTED,
        _words(reply.code, reply.text),
        provider_message_id=(queued[1] or queued[2]) if queued else None,
        refused={address: _words(code, text) for address, (code, text) in reply.refused.items()},
    )


def _outcome(reply: SmtpReply) -> Outcome:
    code, text = reply.code, reply.text
    if code is None:
        return Outcome.UNAUTHORIZED  # what is required is not offered: a matter of settings
    temporary = code < 500
    if reply.stage == "connect" or (reply.stage == "starttls" and temporary):
        return Outcome.DOWN
    if reply.stage == "rcpt":
        return _recipient_outcome(reply)
    if _USED_UP.search(text):
        return Outcome.QUOTA
    if temporary:
        return Outcome.RATE_LIMITED
    if reply.stage in ("starttls", "auth") or code in (530, 535, 538):
        return Outcome.UNAUTHORIZED
    if reply.stage == "data":
        return Outcome.SENDER_REFUSED if _UNVERIFIED.search(text) else Outcome.REFUSED
    too_large = code == 552 or _enhanced(text) == "5.3.4"
    return Outcome.REFUSED if too_large else Outcome.SENDER_REFUSED


def _recipient_outcome(reply: SmtpReply) -> Outcome:
    """All recipients were refused. One that may be taken later keeps the mail alive."""
    replies = list(reply.refused.values()) or [(reply.code or 0, reply.text)]
    if any(code < 500 for code, _ in replies):
        return Outcome.RATE_LIMITED
    code, text = replies[0]
    enhanced = _enhanced(text)
    if code == 530 or (_NO_RELAY.search(text) and not enhanced.startswith("5.1.")):
        return Outcome.UNAUTHORIZED
    if enhanced.startswith("5.7.") or enhanced == "5.3.4":
        return Outcome.REFUSED  # policy or size: about this mail or this server, not about the address
    return Outcome.RECIPIENT_REFUSED


def _enhanced(text: str) -> str:
    """The enhanced status code (RFC 3463) at the beginning of a reply's text; empty if there is none."""
    found = _ENHANCED.match(text)
    return found[1] if found else ""


def _words(code: int | None, text: str) -> str:
    return one_line(text if code is None else f"{code} {text}")


def _url_fault(url: str) -> str | None:
    """What is wrong with it, without showing it."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return _SHAPE
    if parts.scheme not in _PORTS:
        return "must begin with smtp:// (STARTTLS) or smtps:// (TLS)"
    if not parts.hostname or port == 0 or parts.path not in ("", "/") or parts.query or parts.fragment:
        return _SHAPE
    return _login_fault(parts)


def _login_fault(parts: SplitResult) -> str | None:
    if bool(parts.username) != bool(parts.password):
        return "needs both a user and a password, or neither"
    try:
        login = unquote(f"{parts.username}{parts.password}", errors="strict")
    except UnicodeDecodeError:
        return "has a %-sequence in user or password that is not UTF-8"
    return "has a control character in user or password" if re.search(r"[\x00-\x1f\x7f]", login) else None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Line(str):
    """A header value that is encoded already. The policy stores it as it is and has it fold itself."""

    __slots__ = ("name",)
    name: str

    def __new__(cls, name: str, value: str) -> Self:
        line = super().__new__(cls, value)
        line.name = name
        return line

    def fold(self, *, policy: Policy) -> str:
        return f"{self.name}: {self}{policy.linesep}"


def _build(message: Message) -> bytes:
    """The message as bytes, the same for the same message: date, boundary and Message-ID come from the mail's id."""
    mail = EmailMessage(policy=_POLICY)
    for name, value in (
        ("From", _mailbox("From", message.sender)),
        ("To", ",\r\n ".join(_mailbox("To", mailbox) for mailbox in message.to)),
        ("Subject", _text("Subject", message.subject)),
        ("Date", format_datetime(_created_at(message.id))),
        ("Message-ID", message.message_id),
    ):
        mail[name] = _Line(name, value)
    if message.text:
        mail.set_content(message.text)
        if message.html:
            mail.add_alternative(message.html, subtype="html")
            mail.set_boundary("=_" + hashlib.sha256(message.id.encode()).hexdigest()[:32])
    else:
        mail.set_content(message.html or "", subtype="html")
    return mail.as_bytes()


def _created_at(identifier: str) -> datetime:
    """When the mail was accepted: its id is a UUIDv7, which begins with the time in milliseconds."""
    return datetime.fromtimestamp((uuid.UUID(identifier).int >> 80) / 1000, UTC)


def _text(header: str, text: str) -> str:
    """A one-line text as it may stand in a header. What looks like an encoded word is encoded, to be read as it is."""
    if text.isascii() and "=?" not in text and text == text.strip() and len(text) <= _LONGEST_LINE:
        return text
    return Header(text, "utf-8", header_name=header).encode(linesep="\r\n")


def _mailbox(header: str, mailbox: Mailbox) -> str:
    if mailbox.name.isascii() and "=?" not in mailbox.name:
        return str(mailbox)
    return f"{_text(header, mailbox.name)} <{mailbox.address}>"
