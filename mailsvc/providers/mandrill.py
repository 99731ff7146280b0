"""Mandrill (Mailchimp Transactional).

https://mailchimp.com/developer/transactional/api/messages/send-new-message/
The answer holds a fate for each recipient. Errors are told apart by `name`: `code` -2 stands for two of them, and the
HTTP status of a bad key has been both 401 and 500.
"""

from __future__ import annotations

import hmac
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson

from ..ability import Ability
from ..address import Mailbox
from ..errors import HookRefused
from ..hook import Heard, Hook, at_unix, check_signature, objects, our_id, part, read_json, word, words
from ..label import OWN_ID, metadata
from ..model import Attachment, Mail, Message, Outcome, Report, ReportType
from ..wire import HttpRequest, Request, Response, describe, from_json, retry_after
from .base import Can, HttpProvider, Result

_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}

_ERRORS = {
    "Invalid_Key": Outcome.UNAUTHORIZED,
    "Unknown_Subaccount": Outcome.UNAUTHORIZED,
    "PaymentRequired": Outcome.QUOTA,
    "ValidationError": Outcome.REFUSED,
    "RequestLimitExceeded": Outcome.RATE_LIMITED,
    "ServiceUnavailable": Outcome.DOWN,
    "PoorReputation": Outcome.SUSPENDED,
    "GeneralError": Outcome.DOWN,
}
# For an error whose name is not known: what its status says. Everything else is a fault of the provider.
_STATUSES = {401: Outcome.UNAUTHORIZED, 402: Outcome.QUOTA, 403: Outcome.UNAUTHORIZED, 429: Outcome.RATE_LIMITED}

_MAX_TAG = 50  # characters
_TAKEN = frozenset({"sent", "scheduled", "queued"})
_GIVEN_UP = frozenset({"rejected", "invalid"})
# Queued for these reasons means: taken, and not going to leave until somebody pays or mends the account.
_STUCK = frozenset(
    {
        "free-trial-sends-exhausted",
        "hourly-quota-exhausted",
        "monthly-limit-reached",
        "sending-paused",
        "sending-suspended",
        "account-suspended",
    }
)
_REJECTIONS = {
    **dict.fromkeys(("hard-bounce", "soft-bounce", "spam", "unsub", "custom", "rule"), Outcome.RECIPIENT_REFUSED),
    "invalid": Outcome.RECIPIENT_REFUSED,
    "unsigned": Outcome.SENDER_REFUSED,
    "invalid-sender": Outcome.SENDER_REFUSED,
    "test-mode-limit": Outcome.QUOTA,
}
# When nobody's mail was taken, the fate of them all: the first of these that befell one of them, so that a good
# address is not given up because of a bad one beside it.
_WEIGHT = (Outcome.QUOTA, Outcome.SENDER_REFUSED, Outcome.REFUSED, Outcome.RECIPIENT_REFUSED)


class Mandrill(HttpProvider):
    """Mandrill: a 200 holds a list of fates, and a mail may be taken for some recipients and not for others."""

    name = "mandrill"
    rank = 20
    env = ("MANDRILL_API_KEY",)
    shapes = {  # noqa: RUF012 - a ClassVar of the base
        "MANDRILL_API_KEY": (r"(md-)?[\w-]{22}", "md- and 22 characters, or 22 characters if it is old")
    }
    can = Can.REPORT | Can.LOOKUP
    hook_url_signed = True
    hook_words = "the key of the webhook, shown beside it in Mandrill; needs MAILSVC_PUBLIC_URL"
    default_url = "https://mandrillapp.com"
    _API = "/api/1.0"
    ability = Ability(size=25 * 1024 * 1024, images=True)

    def request(self, message: Message) -> Request:
        """The key stands in the body. Merging is off, so that `*|…|*` and `{{…}}` in a mail stay as they are."""
        body = {
            "key": self.settings.values["MANDRILL_API_KEY"],
            "message": {
                "from_email": message.sender.address,
                "from_name": message.sender.name,
                "to": [_recipient(role, mailbox) for role, mailbox in _roles(message)],
                "subject": message.subject,
                **{kind: value for kind, value in (("text", message.text), ("html", message.html)) if value},
                "headers": _headers(message),
                "metadata": metadata(message),
                **_labels_and_files(message),
                "merge": False,
                "preserve_recipients": True,  # the default depends on the account
            },
            "async": False,
        }
        return HttpRequest(f"{self._server}/messages/send", _HEADERS, orjson.dumps(body))

    @property
    def _server(self) -> str:
        return self.url.removesuffix(self._API) + self._API  # as Mandrill's own documentation writes its base URL

    def lookup(self, mail: Mail) -> HttpRequest:
        """What it sent to the first recipient of late. https://mailchimp.com/developer/transactional/api/messages/"""
        key = self.settings.values["MANDRILL_API_KEY"]
        body = {"key": key, "query": f"full_email:{mail.to[0].address}", "limit": 20}
        return HttpRequest(f"{self._server}/messages/search", _HEADERS, orjson.dumps(body))

    def seen(self, document: Any, mail: Mail) -> str | None:
        """Told by the metadata; what was rejected is there, too."""
        for found in document if isinstance(document, list) else ():
            if isinstance(found, dict) and part(found, "metadata").get(OWN_ID) == mail.id:
                return None if found.get("state") == "rejected" else str(found.get("_id") or "")
        return None

    def accepted(self, response: Response, message: Message) -> Result:
        """A list with a fate for each recipient; an error inside of a 200 counts as that error."""
        document = from_json(response.body)
        if _is_error(document):
            return self._error(response, document)
        if not isinstance(document, list) or not document or not all(_is_fate(fate) for fate in document):
            return self.undocumented(response)
        return _sum_up(document, message)

    def refused(self, response: Response, message: Message) -> Result:
        """An error by name."""
        document = from_json(response.body)
        return self._error(response, document) if _is_error(document) else self.foreign(response)

    def failed(self, response: Response, message: Message) -> Result:
        """Also here an error by name: a bad key has been a 500."""
        document = from_json(response.body)
        return self._error(response, document) if _is_error(document) else super().failed(response, message)

    def _error(self, response: Response, error: Mapping[str, Any]) -> Result:
        unknown = Outcome.REFUSED if 400 <= response.status < 500 else Outcome.DOWN
        outcome = _ERRORS.get(error["name"], _STATUSES.get(response.status, unknown))
        detail = describe(response.status, f"{error['name']}: {error.get('message') or ''}")
        if outcome is Outcome.RATE_LIMITED:
            return self.throttled(response, detail)
        return Result(outcome, detail, retry_after=retry_after(response))

    def listen(self, hook: Hook, key: str) -> Heard:
        """A form with a list of events, signed with HMAC-SHA1 over the URL and the fields in the order of their names.

        Nothing in it tells when it was signed: what comes again is known by its event.
        """
        given = hook.header("x-mandrill-signature")
        try:
            fields = dict(parse_qsl(hook.body.decode(), keep_blank_values=True))
        except ValueError as error:
            raise HookRefused("the body is no form") from error
        signed = (hook.url or "") + "".join(name + value for name, value in sorted(fields.items()))
        check_signature(given, b64encode(hmac.digest(key.encode(), signed.encode(), "sha1")).decode())
        events = objects(read_json(fields.get("mandrill_events", "")))
        return Heard(tuple(report for report in (_report(event, hook) for event in events) if report))


def _roles(message: Message) -> list[tuple[str, Mailbox]]:
    roles = (("to", message.to), ("cc", message.cc), ("bcc", message.bcc))
    return [(role, mailbox) for role, boxes in roles for mailbox in boxes]


def _headers(message: Message) -> dict[str, str]:
    answers = ", ".join(str(mailbox) for mailbox in message.reply_to)
    return {"Message-ID": message.message_id, **({"Reply-To": answers} if answers else {}), **message.headers}


def _labels_and_files(message: Message) -> dict[str, Any]:
    """Tags of more than 50 characters are refused there, and those that begin with `_` are Mandrill's own."""
    tags = [tag for tag in message.tags if len(tag) <= _MAX_TAG and not tag.startswith("_")]
    found = {
        "tags": tags,
        "attachments": [_file(each, each.filename) for each in message.attachments if not each.content_id],
        "images": [_file(each, each.content_id) for each in message.attachments if each.content_id],
    }
    return {name: value for name, value in found.items() if value}


def _file(file: Attachment, name: str) -> dict[str, str]:
    return {"type": file.content_type, "name": name, "content": file.base64}


def _recipient(role: str, mailbox: Mailbox) -> dict[str, str]:
    recipient = {"email": mailbox.address, "type": role}
    return {**recipient, "name": mailbox.name} if mailbox.name else recipient


def _is_error(document: object) -> bool:
    return isinstance(document, dict) and document.get("status") == "error" and isinstance(document.get("name"), str)


def _is_fate(fate: object) -> bool:
    return isinstance(fate, dict) and isinstance(fate.get("email"), str) and fate.get("status") in _TAKEN | _GIVEN_UP


def _sum_up(fates: list[dict[str, Any]], message: Message) -> Result:
    """One result out of the fates of all recipients."""
    taken = [fate for fate in fates if fate["status"] in _TAKEN]
    spelling = {mailbox.address.lower(): mailbox.address for mailbox in message.everybody}
    untold = _untold(fates, spelling)
    lost = {spelling.get(fate["email"].lower(), fate["email"]): fate for fate in fates if fate["status"] in _GIVEN_UP}
    if not taken:
        if untold:
            return Result(Outcome.UNANSWERED, f"undocumented answer without a fate for {len(untold)} of the recipients")
        outcomes = {_rejection(fate) for fate in lost.values()}
        outcome = next(outcome for outcome in _WEIGHT if outcome in outcomes)
        return Result(outcome, "; ".join(_describe(fate) for fate in fates))
    return Result(
        Outcome.ACCEPTED,
        "; ".join(dict.fromkeys(_describe(fate) for fate in fates)),
        provider_message_id=next((fate["_id"] for fate in taken if isinstance(fate.get("_id"), str)), None),
        refused={address: _describe(fate) for address, fate in lost.items()},
        untold=untold,
        stuck=any(fate.get("queued_reason") in _STUCK for fate in taken if fate["status"] == "queued"),
    )


def _untold(fates: list[dict[str, Any]], spelling: Mapping[str, str]) -> tuple[str, ...]:
    """The recipients for whom there is no fate. As many fates as recipients are theirs, however they are spelled."""
    told = {fate["email"].lower() for fate in fates}
    return tuple(address for lower, address in spelling.items() if lower not in told)[: len(spelling) - len(fates)]


def _rejection(fate: dict[str, Any]) -> Outcome:
    """A rejection for an unknown reason is the mail's own: it may be tried once elsewhere."""
    known = Outcome.RECIPIENT_REFUSED if fate["status"] == "invalid" else Outcome.REFUSED
    return _REJECTIONS.get(str(fate.get("reject_reason")), known)


def _describe(fate: dict[str, Any]) -> str:
    """`rejected: hard-bounce`, without the address."""
    reason = fate.get("reject_reason") or fate.get("queued_reason")
    return f"{fate['status']}: {reason}" if reason else str(fate["status"])


# Reports. https://mailchimp.com/developer/transactional/docs/webhooks/
_TYPES = {
    "send": ReportType.SENT,
    "deferral": ReportType.DELAYED,
    "delivered": ReportType.DELIVERED,
    "hard_bounce": ReportType.BOUNCED,
    "soft_bounce": ReportType.BOUNCED,
    "reject": ReportType.REJECTED,
    "spam": ReportType.COMPLAINED,
    "open": ReportType.OPENED,
    "click": ReportType.CLICKED,
    "unsub": ReportType.UNSUBSCRIBED,
}


def _report(event: dict[str, Any], hook: Hook) -> Report | None:
    """Each recipient has a message id of its own. Metadata that is empty comes as a list."""
    name, message = str(event.get("event")), part(event, "msg")
    identifier = word(event.get("_id")) or word(message.get("_id"))
    if name not in _TYPES or identifier is None:
        return None
    return Report(
        _TYPES[name],
        at_unix(event.get("ts"), hook.now),
        Mandrill.name,
        f"{name} {identifier} {event.get('ts')} {word(event.get('url')) or ''}",
        our_id(part(message, "metadata").get("mailsvc_id")),
        identifier,
        word(message.get("email")),
        name == "hard_bounce" if _TYPES[name] is ReportType.BOUNCED else None,
        words(message.get("diag") or message.get("bounce_description") or message.get("reject")),
    )
