"""A mail as it comes in a request: which fields there are and what may stand in them. Each fault names its field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from .address import AddressError, Mailbox, control_character, parse_mailbox, parse_name
from .errors import FieldFault, InvalidMail
from .model import OnUncertain

MAX_RECIPIENTS = 50
MAX_SUBJECT = 998  # a header line of RFC 5322


def _mailbox(value: object) -> Mailbox:
    if not isinstance(value, str):
        raise PydanticCustomError("type_error", "must be a string such as ann@example.com")
    try:
        return parse_mailbox(value)
    except AddressError as error:
        raise PydanticCustomError(error.code, "{reason}", {"reason": str(error)}) from error


def _mailboxes(value: object) -> object:
    """A single address is a list of one."""
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        raise PydanticCustomError("type_error", "must be an address or an array of addresses")
    if not value:
        raise PydanticCustomError("too_few", "must hold at least one address")
    if len(value) > MAX_RECIPIENTS:
        raise PydanticCustomError("too_many", "must hold at most 50 addresses")
    return tuple(value)


def _name(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return parse_name(value)
    except AddressError as error:
        raise PydanticCustomError(error.code, "{reason}", {"reason": str(error)}) from error


def _line(value: object) -> object:
    if isinstance(value, str) and (control := control_character(value)):
        raise PydanticCustomError("control_character", "contains the control character {control}", {"control": control})
    return value


def _body(value: object) -> object:
    if isinstance(value, str) and "\x00" in value:
        raise PydanticCustomError("control_character", "contains the control character U+0000")
    return value


_ADDRESS_SCHEMA = {"type": "string", "examples": ["ann@example.com", "Ann Lee <ann@example.com>"]}
Address = Annotated[Mailbox, BeforeValidator(_mailbox, json_schema_input_type=str)]
Line = Annotated[str, BeforeValidator(_line)]
Body = Annotated[str, BeforeValidator(_body)]


class Submission(BaseModel):
    """The body of `POST /email`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)

    to: Annotated[
        tuple[Address, ...],
        BeforeValidator(_mailboxes, json_schema_input_type=str | list[str]),
        Field(
            description="One address, or an array of at most 50; `a@b` or `Name <a@b>`, one address per string.",
            json_schema_extra={
                "anyOf": [_ADDRESS_SCHEMA, {"type": "array", "items": _ADDRESS_SCHEMA, "minItems": 1, "maxItems": 50}]
            },
        ),
    ]
    to_name: Annotated[
        str | None,
        BeforeValidator(_name),
        Field(default=None, max_length=255, description="Display name of a single recipient."),
    ]
    subject: Annotated[Line, Field(min_length=1, max_length=MAX_SUBJECT, description="One line.")]
    content: Annotated[
        Body | None,
        Field(default=None, description="Markdown. Becomes safe HTML, with the source as the text part."),
    ]
    html: Annotated[Body | None, Field(default=None, description="HTML, sent as it is. Instead of `content`.")]
    text: Annotated[Body | None, Field(default=None, description="Plain text. Instead of `content`.")]
    sender: Annotated[
        Address | None,
        Field(default=None, alias="from", description="The sender, `a@b` or `Name <a@b>`. Default: `MAILSVC_FROM`."),
    ]
    on_uncertain: Annotated[
        OnUncertain | None,
        Field(
            default=None,
            strict=False,
            description="What to do when a provider may have taken the mail. Default: `MAILSVC_ON_UNCERTAIN`.",
        ),
    ]

    @property
    def recipients(self) -> tuple[Mailbox, ...]:
        """`to` with `to_name` put in, each address once (compared without case): a provider refuses a repeated one."""
        boxes = (Mailbox(self.to[0].address, self.to_name),) if self.to_name else self.to
        once: dict[str, Mailbox] = {}
        for box in boxes:
            once.setdefault(box.address.lower(), box)
        return tuple(once.values())


def parse(fields: Mapping[str, Any]) -> Submission:
    """Fields of a request -> Submission. Raises InvalidMail with every fault."""
    faults = _faults_between(fields)
    try:
        submission = Submission.model_validate(fields)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        faults = [_fault(detail, fields) for detail in details] + faults
    if faults:
        raise InvalidMail(faults)
    return submission


def _faults_between(fields: Mapping[str, Any]) -> list[FieldFault]:
    """What is wrong with fields that are each right by themselves."""
    faults = []
    if not any(fields.get(name) for name in ("content", "html", "text")):
        faults.append(FieldFault("content", "missing", "is required, or html, or text"))
    if fields.get("content") and (fields.get("html") or fields.get("text")):
        faults.append(FieldFault("content", "exclusive", "excludes html and text"))
    to = fields.get("to")
    if fields.get("to_name") and isinstance(to, list) and len(to) > 1:
        faults.append(FieldFault("to_name", "exclusive", "goes with a single to; write Name <address> into to instead"))
    return faults


_WORDS = {
    "missing": ("missing", "is required"),
    "extra_forbidden": ("unknown_field", "is not a field of a mail"),
    "string_type": ("type_error", "must be a string"),
    "too_short": ("too_short", "must not be empty"),
    "enum": ("invalid_choice", "must be one of: resend, hold"),
}


def _fault(detail: ErrorDetails, fields: Mapping[str, Any]) -> FieldFault:
    """One pydantic error as a fault: the field as the caller wrote it, `to[1]` for the second of an array."""
    name, *places = detail["loc"]
    array = isinstance(fields.get(str(name)), list)
    field = str(name) + "".join(f"[{place}]" for place in places if array)
    kind = detail["type"]
    if kind == "too_long" and "max_length" in detail["ctx"]:
        return FieldFault(field, kind, f"must be at most {detail['ctx']['max_length']} characters")
    code, message = _WORDS.get(kind, (kind, detail["msg"]))
    return FieldFault(field, code, message)
