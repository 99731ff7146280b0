"""Amazon SES, its API of version 2.

https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html
Errors are told apart by a type, in a header or in the body. SES queues nothing: what is too fast is refused. It puts
its own Message-ID in place of ours.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from ..address import Mailbox, encoded_words
from ..model import Message, Outcome
from ..sigv4 import Signer
from .base import HttpProvider, HttpRequest, Response, Result, Settings, describe, from_json, retry_after

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
_REGION = re.compile(r"[a-z]{2,3}(-[a-z]+)+-\d{1,2}")
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
    default_url = "https://email.{region}.amazonaws.com"

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
        """One request for all recipients. The tag comes back in every event."""
        parts = (("Text", message.text), ("Html", message.html))
        body = {
            "FromEmailAddress": _mailbox(message.sender),
            "Destination": {"ToAddresses": [_mailbox(mailbox) for mailbox in message.to]},
            "Content": {
                "Simple": {
                    "Subject": _content(message.subject),
                    "Body": {kind: _content(value) for kind, value in parts if value},
                }
            },
            "EmailTags": [{"Name": "mailsvc_id", "Value": message.id}],
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


def _mailbox(mailbox: Mailbox) -> str:
    """Names beyond ASCII must be encoded by the sender, and one that looks encoded would be decoded."""
    if mailbox.name.isascii() and "=?" not in mailbox.name:
        return str(mailbox)
    return f"{encoded_words(mailbox.name)} <{mailbox.address}>"


def _content(text: str) -> dict[str, str]:
    return {"Data": text, "Charset": "UTF-8"}


def _error(response: Response) -> tuple[str, str]:
    """Type and text of an error; the type is empty if the answer is not of AWS."""
    document: Any = from_json(response.body)
    body = document if isinstance(document, dict) else {}
    said = response.headers.get("x-amzn-errortype") or body.get("__type") or body.get("code")
    kind = said.partition(":")[0].rpartition("#")[2] if isinstance(said, str) else ""
    words = body.get("message") or body.get("Message")
    return kind, words if isinstance(words, str) else ""
