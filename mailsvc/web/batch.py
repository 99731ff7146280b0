"""Many mails in one request."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, ClassVar

from ..access import Scope
from ..errors import FieldFault, InvalidMail, MailsvcError
from ..submission import Submission, parse
from .base import Handler, words
from .body import fingerprint, items
from .email import idempotency_key
from .problem import invalid, problem
from .shapes import IDEMPOTENCY_KEY, JSON, array, known, shape

MOST = 500  # mails


class BatchOfMails(Handler):
    """`/email/batch`."""

    summary = "Send many mails at once"
    asks_by_header = IDEMPOTENCY_KEY
    changes = Scope.SEND
    takes: ClassVar[dict[str, Any] | None] = {
        "type": "array",
        "minItems": 1,
        "maxItems": MOST,
        "items": known("Mail"),
    }
    gives: ClassVar = {"post": (202, {JSON: shape(data=array(known("AcceptedOrNot")))})}

    async def post(self) -> None:
        """Accept those that can be accepted, all in one transaction. The answer tells of each, in their order."""
        self.admit()
        headers = self.request.headers
        given = items(headers.get("Content-Type"), headers.get("Content-Encoding"), self.body)
        self.intake.parsed()
        if not 1 <= len(given) <= MOST:
            raise invalid("body", "too_many" if given else "too_few", f"must hold 1 to {MOST} mails")
        key = idempotency_key(self)
        digest = fingerprint(given) if key else ""
        submissions = [_submission(each) for each in given]
        done = await self.service.acceptance.accept_batch(submissions, _tell, self.key, key, digest)
        if done.replayed:
            self.set_header("Idempotent-Replayed", "true")
        self.send_json({"data": done.data}, 202)


def _submission(fields: object) -> Submission | InvalidMail:
    if not isinstance(fields, dict):
        return InvalidMail([FieldFault("mail", "type_error", "must be an object with the fields of a mail")])
    try:
        return parse(fields)
    except InvalidMail as error:
        return error


def _tell(error: MailsvcError) -> dict[str, Any]:
    """The same as for a mail alone. It is kept, and told again: so it is of no single request."""
    return words(problem(error, HTTPStatus.INTERNAL_SERVER_ERROR))
