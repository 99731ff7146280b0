"""Any mail server that takes mail by SMTP submission (RFC 6409), named by one URL.

`smtps` is TLS from the first byte; `smtp` is STARTTLS, required, except on the loopback interface, where it is plain.
Tags and metadata stay here: a mail server has no place for them but the mail itself, where everybody would read them.
"""

from __future__ import annotations

import ipaddress
import re
from base64 import b64encode
from urllib.parse import SplitResult, unquote, urlsplit

from ..ability import Ability
from ..mime import build
from ..model import Message, Outcome
from ..wire import Answer, Request, SmtpReply, SmtpRequest, one_line
from .base import RATE_PAUSE, Provider, Result, Settings

_PORTS = {"smtp": 587, "smtps": 465}
_SHAPE = "must look like smtp://user:password@host:port, with / ? # @ in user and password as %2F %3F %23 %40"

_QUEUED_AS = re.compile(r"queued as ([\w.<>@-]+)|^(?:2\.\d\.\d )?Ok:? ([\w.-]{12,})", re.IGNORECASE)
_ENHANCED = re.compile(r"\s*([245]\.\d{1,3}\.\d{1,3})\b")
# Words of servers for a quota of mails that is used up, not of a mailbox: SendGrid, Amazon SES, Google.
_USED_UP = re.compile(r"credits exceeded|(daily|message|sending)[\w ]* (quota|limit)", re.IGNORECASE)
_SERVER_FULL = ("4.3.1", "4.3.2")  # full, or not taking mail at the moment
_UNVERIFIED = re.compile(r"address is not verified", re.IGNORECASE)  # Amazon SES says it after DATA
_NO_RELAY = re.compile(r"relay", re.IGNORECASE)


class Smtp(Provider):
    """A mail server. It has no reports; what it takes is accepted, and what bounces comes back as mail."""

    name = "smtp"
    rank = 100
    env = ("SMTP_URL",)
    example = {"SMTP_URL": "smtp://user:password@smtp.example.com:587"}  # noqa: RUF012 - a ClassVar of the base
    ability = Ability()  # what a server takes, it alone knows; how large a mail may be, it says itself

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
        """One transaction for all recipients; those of `bcc` stand in the envelope alone."""
        return SmtpRequest(
            host=self._host,
            port=self._port,
            security=self._security,
            username=self._username,
            password=self._password,
            sender=message.sender.address,
            recipients=tuple(dict.fromkeys(mailbox.address for mailbox in message.everybody)),
            data=build(message),
        )

    def judge(self, answer: Answer, message: Message) -> Result:
        """The stage says whom the refusal is about, the code whether it is for good."""
        assert isinstance(answer, SmtpReply)  # noqa: S101 - for the type checker; an SmtpRequest gets no other answer
        if answer.stage == "done":
            return _accepted(answer)
        outcome = _outcome(answer)
        soft = outcome is Outcome.RATE_LIMITED and answer.stage == "rcpt" and not _is_about_server(answer)
        wait = RATE_PAUSE if outcome is Outcome.RATE_LIMITED and not soft else None
        words = f"{_AT[answer.stage]}: {_words(answer.code, answer.text)}"
        return Result(outcome, words, retry_after=wait, soft=soft)


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


def _is_about_server(reply: SmtpReply) -> bool:
    """Whether it is the server that has to be left alone, and not a recipient: greylisted, or with a full mailbox."""
    return any(code == 421 or _enhanced(text) in _SERVER_FULL for code, text in reply.refused.values())


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
