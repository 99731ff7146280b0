"""Amazon SES, its API of version 2.

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
Errors are told apart by a type, in a header or in the body. SES queues nothing: what is too fast is refused. It puts
its own Message-ID in place of ours.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import orjson

from .. import sns
from ..ability import EXECUTABLE, Ability
from ..address import Mailbox, encoded_words
from ..errors import HookRefused
from ..hook import Heard, Hook, at_iso, our_id, part, read_json, word, words
from ..label import plain_pairs
from ..mime import build
from ..model import Attachment, Message, Outcome, Report, ReportType
from ..sigv4 import Signer
from ..wire import HttpRequest, Response, describe, from_json, retry_after
from .base import Can, HttpProvider, Result, Settings

_OUTCOMES = {
    "BadRequestException": Outcome.REFUSED,
    "MessageRejected": Outcome.REFUSED,
    "MailFromDomainNotVerifiedException": Outcome.SENDER_REFUSED,
    "NotFoundException": Outcome.UNAUTHORIZED,  # a configuration set that is not there: a matter of settings
    **dict.fromkeys(("AccountSuspendedException", "SendingPausedException"), Outcome.SUSPENDED),
    "LimitExceededException": Outcome.QUOTA,
    **dict.fromkeys(("TooManyRequestsException", "ThrottlingException", "Throttling"), Outcome.RATE_LIMITED),
    **dict.fromkeys(
        (
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "IncompleteSignatureException",
            "AccessDeniedException",
            "ExpiredTokenException",
            "MissingAuthenticationToken",
            "MissingAuthenticationTokenException",
        ),
        Outcome.UNAUTHORIZED,
    ),
}
# For a type that is not known.
_STATUSES = {403: Outcome.UNAUTHORIZED, 404: Outcome.DOWN, 405: Outcome.DOWN, 429: Outcome.RATE_LIMITED}
_MAX_HEADERS, _MAX_TYPE = 15, 78
_HEADER_VALUE = re.compile(r"[ -~]{1,995}")
_REGION = re.compile(r"[a-z]{2,3}(-[a-z]+)+-\d{1,2}")
_XML = re.compile(rb"<Error>.*?<Code>(\w+)</Code>.*?<Message>([^<]*)</Message>", re.DOTALL)
_CLOCK = re.compile(r"signature (expired|not yet current)", re.IGNORECASE)


class Ses(HttpProvider):
    """Amazon SES: 200 with an id. An identity is verified in one region only."""

    name = "ses"
    rank = 90
    env = ("SES_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    optional = ("AWS_SESSION_TOKEN",)
    example = {"SES_REGION": "eu-central-1"}  # noqa: RUF012 - a ClassVar of the base
    shapes = {  # noqa: RUF012 - a ClassVar of the base
        "AWS_ACCESS_KEY_ID": (r"A(KI|SI)A[A-Z2-7]{16}", "AKIA and 16 characters"),
        "AWS_SECRET_ACCESS_KEY": (r"[A-Za-z0-9/+]{40}", "40 characters"),
    }
    can = Can.REPORT
    hook_words = "the ARN of the SNS topic that SES publishes its events to"
    default_url = "https://email.{region}.amazonaws.com"
    ability = Ability(recipients=50, size=40 * 1024 * 1024, unlisted=EXECUTABLE)

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        values = settings.values
        self._region = values["SES_REGION"]
        self.url = self.url.replace("{region}", self._region)
        if settings.url is None and self._region.startswith("cn-"):
            self.url += ".cn"
        token = values.get("AWS_SESSION_TOKEN")
        self._sign = Signer(
            values["AWS_ACCESS_KEY_ID"], values["AWS_SECRET_ACCESS_KEY"], self._region, self.name, token
        )

    @classmethod
    def faults(cls, settings: Settings) -> list[str]:
        """Also whether SES_REGION looks like a region: it becomes part of a host name."""
        if _REGION.fullmatch(settings.values["SES_REGION"]):
            return super().faults(settings)
        return [*super().faults(settings), "SES_REGION must be a region of AWS, such as eu-central-1"]

    def secrets(self) -> tuple[str, ...]:
        """The keys. The region is none."""
        return tuple(value for name, value in self.settings.values.items() if name != "SES_REGION")

    def request(self, message: Message) -> HttpRequest:
        """One request for all recipients. Tags come back in every event."""
        roles = (("ToAddresses", message.to), ("CcAddresses", message.cc), ("BccAddresses", message.bcc))
        simple = _is_simple(message)
        body = {
            "FromEmailAddress": _mailbox(message.sender),
            "Destination": {role: _mailboxes(boxes) for role, boxes in roles if boxes},
            **({"ReplyToAddresses": _mailboxes(message.reply_to)} if message.reply_to and simple else {}),
            "Content": _simple(message) if simple else {"Raw": {"Data": b64encode(build(message)).decode()}},
            "EmailTags": [{"Name": name, "Value": value} for name, value in plain_pairs(message).items()],
        }
        url = f"{self.url}/v2/email/outbound-emails"
        return HttpRequest(url, {"Content-Type": "application/json"}, orjson.dumps(body), sign=self._sign)

    def accepted(self, response: Response, message: Message) -> Result:
        """200 with the id of the mail."""
        document = from_json(response.body)
        identifier = document.get("MessageId") if isinstance(document, dict) else None
        if response.status != 200 or not isinstance(identifier, str) or not identifier:
            return self.undocumented(response)
        return Result(Outcome.ACCEPTED, describe(200, ""), provider_message_id=identifier)

    def refused(self, response: Response, message: Message) -> Result:
        """An error by type."""
        kind, words = _error(response)
        return self._outcome(response, kind, words) if kind else self.foreign(response)

    def failed(self, response: Response, message: Message) -> Result:
        """Also here an error by type."""
        kind, words = _error(response)
        return self._outcome(response, kind, words) if kind else super().failed(response, message)

    def _outcome(self, response: Response, kind: str, words: str) -> Result:
        unknown = Outcome.DOWN if response.status >= 500 else Outcome.REFUSED
        outcome = _OUTCOMES.get(kind, _STATUSES.get(response.status, unknown))
        if kind == "MessageRejected" and "not verified" in words.lower():
            outcome = Outcome.SENDER_REFUSED
        if outcome is Outcome.RATE_LIMITED and "quota exceeded" in words.lower():
            outcome = Outcome.QUOTA
        detail = describe(response.status, f"{kind}: {words}") + self._hint(outcome, words, response.status)
        if outcome is Outcome.RATE_LIMITED:
            return self.throttled(response, detail)
        return Result(outcome, detail, retry_after=retry_after(response))

    def _hint(self, outcome: Outcome, words: str, status: int) -> str:
        if outcome is Outcome.SENDER_REFUSED:
            return f"; verified in {self._region}? In the sandbox of SES the recipients must be verified, too"
        if outcome is Outcome.UNAUTHORIZED and _CLOCK.search(words):
            return "; set the clock of this machine"
        if outcome is Outcome.UNAUTHORIZED:
            return f"; check the AWS key, its permission ses:SendEmail and SES_REGION ({self._region})"
        return f"; check {self.url_setting}" if status in (404, 405) else ""

    @classmethod
    def hook_fault(cls, key: str) -> str | None:
        """Also whether it names a topic."""
        if sns.TOPIC.fullmatch(key):
            return None
        return "SES_WEBHOOK_KEY must be the ARN of an SNS topic, such as arn:aws:sns:eu-central-1:123456789012:mail"

    def listen(self, hook: Hook, key: str) -> Heard:
        """A message of SNS, of that topic alone. A subscription to it is confirmed by opening a URL of Amazon's."""
        message = part(hook.unproven_json())
        sns.check(hook, message, key)
        if message["Type"] == "SubscriptionConfirmation":
            url = message["SubscribeURL"]
            if not sns.of_sns(url, key):
                raise HookRefused("the URL to confirm the subscription is not Amazon's")
            return Heard(visit=url)
        if message["Type"] != "Notification" or not message["Message"].lstrip().startswith("{"):
            return Heard()  # a goodbye, or the words by which SES tries a new topic
        return Heard(tuple(_reports(part(read_json(message["Message"])), message["MessageId"], hook)))


def _mailbox(mailbox: Mailbox) -> str:
    """Names beyond ASCII must be encoded by the sender, and one that looks encoded would be decoded."""
    if mailbox.name.isascii() and "=?" not in mailbox.name:
        return str(mailbox)
    return f"{encoded_words(mailbox.name)} <{mailbox.address}>"


def _mailboxes(boxes: tuple[Mailbox, ...]) -> list[str]:
    return [_mailbox(mailbox) for mailbox in boxes]


def _is_simple(message: Message) -> bool:
    """Whether SES can put the mail together; one that has more in its headers, or stranger files, goes as bytes."""
    headers = all(_HEADER_VALUE.fullmatch(value) for value in message.headers.values())
    files = all(len(each.content_type) <= _MAX_TYPE for each in message.attachments)
    return len(message.headers) <= _MAX_HEADERS and headers and files


def _simple(message: Message) -> dict[str, Any]:
    parts = (("Text", message.text), ("Html", message.html))
    simple = {
        "Subject": _content(message.subject),
        "Body": {kind: _content(value) for kind, value in parts if value},
        "Headers": [{"Name": name, "Value": value} for name, value in message.headers.items()],
        "Attachments": [_file(each) for each in message.attachments],
    }
    return {"Simple": {name: value for name, value in simple.items() if value}}


def _file(file: Attachment) -> dict[str, str]:
    found = {
        "RawContent": file.base64,
        "FileName": file.filename,
        "ContentType": file.content_type,
        "ContentTransferEncoding": "BASE64",  # the default is 7 bits
    }
    if not file.content_id:
        return {**found, "ContentDisposition": "ATTACHMENT"}
    return {**found, "ContentDisposition": "INLINE", "ContentId": file.content_id}


def _content(text: str) -> dict[str, str]:
    return {"Data": text, "Charset": "UTF-8"}


def _error(response: Response) -> tuple[str, str]:
    """Type and text of an error, in JSON or, as older services of AWS do, in XML; no type: it is not of AWS."""
    document: Any = from_json(response.body)
    body = document if isinstance(document, dict) else {}
    if not body and (found := _XML.search(response.body)):
        return found[1].decode(), found[2].decode("utf-8", "replace")
    said = response.headers.get("x-amzn-errortype") or body.get("__type") or body.get("code")
    kind = said.partition(":")[0].rpartition("#")[2] if isinstance(said, str) else ""
    words = body.get("message") or body.get("Message")
    return kind, words if isinstance(words, str) else ""


# Reports. https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html
_TYPES = {  # with the part of the event that tells about it
    "Send": (ReportType.SENT, "send"),
    "DeliveryDelay": (ReportType.DELAYED, "deliveryDelay"),
    "Delivery": (ReportType.DELIVERED, "delivery"),
    "Bounce": (ReportType.BOUNCED, "bounce"),
    "Complaint": (ReportType.COMPLAINED, "complaint"),
    "Reject": (ReportType.REJECTED, "reject"),
    "Rendering Failure": (ReportType.REJECTED, "failure"),
    "Open": (ReportType.OPENED, "open"),
    "Click": (ReportType.CLICKED, "click"),
    "Subscription": (ReportType.UNSUBSCRIBED, "subscription"),
}
_PEOPLE = ("bouncedRecipients", "complainedRecipients", "delayedRecipients", "recipients")


def _reports(event: dict[str, Any], identifier: str, hook: Hook) -> Iterator[Report]:
    """One for each recipient that it names."""
    mail = part(event, "mail")
    kind, name = _TYPES.get(str(event.get("eventType") or event.get("notificationType")), (None, ""))
    if kind is None:
        return
    told, everybody = part(event, name), mail.get("destination")
    named = next((told[each] for each in _PEOPLE if isinstance(told.get(each), list)), everybody)
    people = named if isinstance(named, list) else []
    if kind in (ReportType.OPENED, ReportType.CLICKED) and len(people) > 1:
        people = [None]  # one of them, and not told which
    hard = {"Permanent": True, "Transient": False}.get(str(told.get("bounceType")))
    for person in people:
        address = part(person).get("emailAddress") if isinstance(person, dict) else person
        yield Report(
            kind,
            at_iso(told.get("timestamp") or mail.get("timestamp"), hook.now),
            Ses.name,
            f"{identifier} {address}",
            our_id(part(mail, "tags").get("mailsvc_id")),
            word(mail.get("messageId")),
            word(address),
            hard if kind is ReportType.BOUNCED else None,
            words(
                told.get("bounceSubType") or told.get("delayType") or told.get("complaintFeedbackType"),
                part(person).get("diagnosticCode") or told.get("reason") or told.get("errorMessage"),
            ),
        )
