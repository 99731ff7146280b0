"""SparkPost.

https://developers.sparkpost.com/api/transmissions/
A 200 can hold errors: what counts is how many recipients were taken. Unknown fields are ignored in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from ..ability import Ability
from ..address import Mailbox
from ..hook import Heard, Hook, at_unix, check_secret, objects, our_id, part, secret_fault, word, words
from ..label import metadata
from ..model import Attachment, Message, Outcome, Report, ReportType
from ..wire import HttpRequest, Response, describe, from_json, retry_after
from .base import Can, HttpProvider, Result, Settings

_PAUSE = 5.0  # seconds; no header is documented, and 1 to 5 s are recommended
_MAX_METADATA = 10 * 1024  # bytes; what is beyond them is left out
_MAX_CAMPAIGN = 64  # bytes
_BARRED = frozenset({"list-unsubscribe", "list-unsubscribe-post"})  # ignored in silence
_UNVERIFIED = "7001"
_OVER_THE_LIMIT = frozenset({"2101", "2102", "2103", "2104"})
_STATUSES = {
    401: Outcome.UNAUTHORIZED,
    403: Outcome.UNAUTHORIZED,
    404: Outcome.DOWN,
    405: Outcome.DOWN,
    420: Outcome.QUOTA,
    429: Outcome.RATE_LIMITED,
}


class SparkPost(HttpProvider):
    """SparkPost: 200 with the id of a transmission, which may have left recipients out without saying which."""

    name = "sparkpost"
    rank = 70
    env = ("SPARKPOST_API_KEY",)
    shapes = {"SPARKPOST_API_KEY": (r"[0-9a-f]{40}", "40 hexadecimal digits")}  # noqa: RUF012 - see the base
    can = Can.REPORT
    hook_words = "a password of your own; SparkPost signs nothing"
    default_url = "https://api.sparkpost.com"
    ability = Ability(size=20 * 1024 * 1024, images=True, barred=_BARRED)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._headers = {
            "Authorization": settings.values["SPARKPOST_API_KEY"],
            "Content-Type": "application/json",
            "Accept": "application/json",
        }

    def request(self, message: Message) -> HttpRequest:
        """One transmission, in which all recipients see each other. `transactional` mail ignores unsubscriptions."""
        literal = _Literals()
        to = literal.say("to", _line(message.to))
        sender = {"email": message.sender.address}
        if message.sender.name:
            sender["name"] = literal.say("sender", message.sender.name)
        body: dict[str, Any] = {
            "options": {"transactional": True, "perform_substitutions": False},
            "recipients": [{"address": {"email": mailbox.address, "header_to": to}} for mailbox in message.everybody],
            "content": {
                "from": sender,
                "subject": literal.say("subject", message.subject),
                **{kind: value for kind, value in (("text", message.text), ("html", message.html)) if value},
                **({"reply_to": literal.say("reply_to", _line(message.reply_to))} if message.reply_to else {}),
                "headers": {
                    "Message-ID": message.message_id,
                    **({"Cc": literal.say("cc", _line(message.cc))} if message.cc else {}),
                    **{
                        name: literal.say(f"header_{n}", value)
                        for n, (name, value) in enumerate(message.headers.items())
                    },
                },
                **_files(message),
            },
            **_campaign(message.tags),
            "metadata": metadata(message, size=_MAX_METADATA),
            **({"substitution_data": literal.values} if literal.values else {}),
        }
        return HttpRequest(f"{self.url}/api/v1/transmissions", self._headers, orjson.dumps(body))

    def accepted(self, response: Response, message: Message) -> Result:
        """Counts of recipients; errors without them count as those errors."""
        document = from_json(response.body)
        results = document.get("results") if isinstance(document, dict) else None
        errors = _errors(document)
        if isinstance(results, dict) and response.status == 200:
            taken, lost = results.get("total_accepted_recipients"), results.get("total_rejected_recipients")
            if isinstance(taken, int) and isinstance(lost, int):
                return self._sum_up(response, results, taken, lost, errors)
        if errors and results is None:
            return self._error(response, errors)
        return self.undocumented(response)

    def refused(self, response: Response, message: Message) -> Result:
        """A list of errors, some with a code."""
        errors = _errors(from_json(response.body))
        return self._error(response, errors) if errors else self.foreign(response)

    def _sum_up(
        self, response: Response, results: Mapping[str, Any], taken: int, lost: int, errors: list[Mapping[str, Any]]
    ) -> Result:
        told = _describe([*errors, *_list(results.get("rcpt_to_errors"))])
        if taken <= 0:
            outcome = Outcome.RECIPIENT_REFUSED if lost > 0 else Outcome.UNANSWERED
            return Result(outcome, describe(response.status, f"no recipient was taken; {told}"))
        identifier = results.get("id")
        words = f"{lost} of {taken + lost} recipients left out; {told}" if lost > 0 else told
        identifier = str(identifier) if isinstance(identifier, str | int) else None
        return Result(Outcome.ACCEPTED, describe(response.status, words), provider_message_id=identifier)

    def _error(self, response: Response, errors: list[Mapping[str, Any]]) -> Result:
        codes = {str(error.get("code")) for error in errors}
        words, status = _describe(errors), response.status
        outcome = _STATUSES.get(status, Outcome.REFUSED)
        if _UNVERIFIED in codes:
            outcome = Outcome.SENDER_REFUSED
        elif codes & _OVER_THE_LIMIT:
            outcome = Outcome.QUOTA
        elif status == 403 and "suspended" in words.lower():
            outcome = Outcome.SUSPENDED
        detail, wait = describe(status, words), retry_after(response)
        if outcome is Outcome.UNAUTHORIZED:
            detail += f"; an account in the EU needs {self.url_setting}=https://api.eu.sparkpost.com"
        if outcome is Outcome.DOWN:
            detail += f"; check {self.url_setting}"
        if outcome is Outcome.RATE_LIMITED and wait is None:
            wait = _PAUSE
        return Result(outcome, detail, retry_after=wait)

    @classmethod
    def hook_fault(cls, key: str) -> str | None:
        """Also whether it is too short: a person has made it up."""
        return secret_fault(cls.name, key) or super().hook_fault(key)

    def listen(self, hook: Hook, key: str) -> Heard:
        """A batch of events, with the key as password. One without any is a ping."""
        check_secret(hook, key)
        events = (event for each in objects(hook.json()) for event in part(each, "msys").values())
        return Heard(tuple(report for report in (_report(event, hook) for event in events) if report))


def _headers(message: Message, literal: _Literals) -> dict[str, str]:
    """To, and only it, is made by SparkPost; Cc is what all see of who gets a copy."""
    copies = {"Cc": literal.say("cc", _line(message.cc))} if message.cc else {}
    named = enumerate(message.headers.items(), 1)
    others = {name: literal.say(f"header_{n}", value) for n, (name, value) in named}
    return {"Message-ID": message.message_id, **copies, **others}


def _line(boxes: tuple[Mailbox, ...]) -> str:
    return ", ".join(str(mailbox) for mailbox in boxes)


def _campaign(tags: tuple[str, ...]) -> dict[str, str]:
    """The first tag that is short enough: SparkPost has one place for all of them."""
    short = [tag for tag in tags if len(tag.encode()) <= _MAX_CAMPAIGN]
    return {"campaign_id": short[0]} if short else {}


def _files(message: Message) -> dict[str, Any]:
    found = {
        "attachments": [_file(each, each.filename) for each in message.attachments if not each.content_id],
        "inline_images": [_file(each, each.content_id) for each in message.attachments if each.content_id],
    }
    return {name: files for name, files in found.items() if files}


def _file(file: Attachment, name: str) -> dict[str, str]:
    return {"name": name, "type": file.content_type, "data": file.base64}


class _Literals:
    """Texts for headers, in which `{{…}}` is evaluated even when substitutions are off.

    A text with braces is handed over as the value of a variable, since values are not evaluated in turn.
    """

    def __init__(self) -> None:
        self.values: dict[str, str] = {}

    def say(self, name: str, text: str) -> str:
        """The text, or the variable that stands for it."""
        if "{{" not in text and "}}" not in text:
            return text
        self.values[f"mailsvc_{name}"] = text
        return "{{{mailsvc_" + name + "}}}"


def _errors(document: object) -> list[Mapping[str, Any]]:
    """The errors of an answer; empty if it has none, or none of SparkPost's."""
    return _list(document.get("errors")) if isinstance(document, dict) else []


def _list(errors: object) -> list[Mapping[str, Any]]:
    found = errors if isinstance(errors, list) else []
    return [error for error in found if isinstance(error, dict) and isinstance(error.get("message"), str)]


def _describe(errors: list[Mapping[str, Any]]) -> str:
    """`7001: message: description; …`"""
    names = ("code", "message", "description")
    return "; ".join(": ".join(str(error[name]) for name in names if error.get(name)) for error in errors)


# Reports. https://developers.sparkpost.com/api/webhooks/
_TYPES = {
    "injection": ReportType.SENT,
    "delay": ReportType.DELAYED,
    "delivery": ReportType.DELIVERED,
    **dict.fromkeys(("bounce", "out_of_band"), ReportType.BOUNCED),
    **dict.fromkeys(("policy_rejection", "generation_failure", "generation_rejection"), ReportType.REJECTED),
    "spam_complaint": ReportType.COMPLAINED,
    **dict.fromkeys(("open", "initial_open"), ReportType.OPENED),
    "click": ReportType.CLICKED,
    **dict.fromkeys(("list_unsubscribe", "link_unsubscribe"), ReportType.UNSUBSCRIBED),
}
_HARD = frozenset({"10", "30", "90"})
_SOFT = frozenset({"20", "21", "22", "23", "24", "40", "70", "50", "51", "52", "53", "54"})  # from 50 on: blocked
_AUTOMATIC = "60"  # an answer by somebody who has the mail


def _report(event: Any, hook: Hook) -> Report | None:
    kind, identifier = _TYPES.get(str(part(event).get("type"))), word(part(event).get("event_id"))
    if kind is None or identifier is None:
        return None
    cause = str(event.get("bounce_class"))
    if kind is ReportType.BOUNCED and cause == _AUTOMATIC:
        kind = ReportType.SENT
    known = kind is ReportType.BOUNCED and cause in _HARD | _SOFT
    return Report(
        kind,
        at_unix(event.get("timestamp"), hook.now),
        SparkPost.name,
        identifier,
        our_id(part(event, "rcpt_meta").get("mailsvc_id")),
        word(event.get("transmission_id")),
        word(event.get("rcpt_to")),
        cause in _HARD if known else None,
        words(event.get("raw_reason") or event.get("reason")),
    )
