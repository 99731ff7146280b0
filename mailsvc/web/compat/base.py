"""What the imitated APIs share: JSON in, fields of ours made of theirs, faults named as they name them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from ...access import Scope
from ...addition import Added
from ...errors import FieldFault, InvalidMail
from ...submission import Submission, parse
from ..base import Handler
from ..body import fingerprint
from ..email import idempotency_key
from ..problem import Problem, unsupported_media_type

CANNOT = "cannot be carried by mailsvc; leave it out"


class Fields:
    """One mail in the words of another API. What is not taken out of it, and means something, is a fault.

    `place` stands before the name of a field in a fault: `personalizations.0.`. `names` are theirs for our fields; one
    that begins with a slash stands outside of the place.
    """

    def __init__(self, given: object, place: str = "", names: Mapping[str, str] | None = None) -> None:
        self.faults: list[FieldFault] = []
        self.place = place
        self._names = names or {}
        self._left = dict(given) if isinstance(given, dict) else {}
        if not isinstance(given, dict):
            self.fault("", "type_error", "must be an object")

    def take(self, name: str, kind: type | tuple[type, ...] = object, words: str = "") -> Any:
        """The value of a field; None when it is not there, or null. Another kind than this is a fault."""
        value = self._left.pop(name, None)
        if value is None or (isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool)):
            return value
        self.fault(name, "type_error", f"must be {words}")
        return None

    def need(self, name: str) -> None:
        """A field that must be there, and not empty."""
        if not self._left.get(name):
            self.fault(name, "missing", "is required")

    def each(self, name: str) -> list[Any]:
        """What is in a field that may hold an array."""
        return self.take(name, list, "an array") or []

    def ignore(self, name: str, *harmless: object) -> None:
        """A field that may only say what is so anyway."""
        value = self._left.get(name)
        if any(value == each and type(value) is type(each) for each in harmless):
            del self._left[name]

    def fault(self, name: str, code: str, message: str) -> None:
        """Something is wrong with a field."""
        self.faults.append(FieldFault(f"{self.place}{name}".rstrip("."), code, message))

    def close(self) -> None:
        """What is left is not understood, unless it says nothing."""
        for name, value in self._left.items():
            if value not in (None, "", [], {}):
                self.fault(str(name)[:100], "unsupported", CANNOT)
        self._left.clear()

    def submission(self, mail: Mapping[str, Any]) -> Submission | None:
        """The mail made of it, in our fields; None if there are faults, which then have the names of that API."""
        self.close()
        given = {name: value for name, value in mail.items() if value not in (None, "", [], {})}
        try:
            found = parse(given)
        except InvalidMail as error:
            known = {root(fault.field, self.place) for fault in self.faults}
            named = [self._named(fault) for fault in error.faults]
            self.faults += [fault for fault in named if root(fault.field, self.place) not in known]
            return None
        return None if self.faults else found

    def _named(self, fault: FieldFault) -> FieldFault:
        name = re.split(r"\W", fault.field, maxsplit=1)[0]
        theirs, rest = self._names.get(name, name), fault.field[len(name) :]
        words = "is required" if fault.code == "missing" else fault.message  # ours would name fields of ours
        field = theirs[1:] + rest if theirs.startswith("/") else f"{self.place}{theirs}{rest}"
        return FieldFault(field, fault.code, words)


def root(field: str, place: str = "") -> str:
    """The name of the field that a fault is in, without what is within."""
    return re.split(r"[.\[]", field.removeprefix(place), maxsplit=1)[0]


class Compat(Handler):
    """The base of these handlers. Errors go out as `told` shapes them, and `said` is the sentence in them."""

    changes = Scope.SEND

    def document(self) -> Any:
        """The JSON of the request. Raises Problem."""
        headers = self.request.headers
        kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind != "application/json" or headers.get("Content-Encoding", "identity").lower() != "identity":
            raise unsupported_media_type("Send JSON, uncompressed, with 'Content-Type: application/json'.")
        try:
            document = orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise Problem(400, "malformed_json", f"The body is not JSON: {str(error)[:200]}") from None
        self.intake.parsed()
        return document

    async def accept(self, submissions: Sequence[Submission], document: Any) -> Sequence[Added]:
        """Have them all stored in one go. `document` is what a repeated request has to be equal to."""
        key = idempotency_key(self)
        digest = fingerprint({"body": document}) if key else ""
        added = await self.service.acceptance.accept_all(submissions, self.key, key, digest)
        if all(each.replayed for each in added):
            self.set_header("Idempotent-Replayed", "true")
        return added


def items(document: object, most: int) -> list[Any]:
    """The mails of a batch. Raises InvalidMail."""
    if not isinstance(document, list) or not document:
        raise InvalidMail([FieldFault("body", "type_error", "must be an array of mails, and not empty")])
    if len(document) > most:
        raise InvalidMail([FieldFault("body", "too_many", f"must hold at most {most} mails")])
    return document


def only(reading: Fields, make: Callable[[Fields], Submission | None]) -> Submission:
    """The one mail of a request. Raises InvalidMail with its faults."""
    submission = make(reading)
    if submission is None:
        raise InvalidMail(reading.faults)
    return submission


def sentence(faults: Sequence[FieldFault], names: Mapping[str, str] | None = None) -> str:
    """What is wrong with which field, in one text. `names` are theirs, for a fault that only the service has seen."""
    return "; ".join(f"{(names or {}).get(fault.field, fault.field)}: {fault.message}" for fault in faults)


def said(fault: Problem, names: Mapping[str, str] | None = None) -> str:
    """An error in one text."""
    return sentence(fault.faults, names) or fault.detail
