"""A mail as it comes in a request: which fields there are and what may stand in them. Each fault names its field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from .address import AddressError, Mailbox, control_character, parse_mailbox, parse_name
from .attachment import File
from .errors import FieldFault, InvalidMail
from .instant import parse_instant
from .model import Mail, OnUncertain, Priority, new_id

MAX_RECIPIENTS = 50
MAX_NAME = 255
MAX_SUBJECT = 998  # a header line of RFC 5322
MAX_CONTENT = 1024 * 1024  # characters of markdown
MAX_TEXT = 5 * 1024 * 1024  # characters of HTML, and of text
MAX_HEADERS, MAX_HEADER = 50, 995
MAX_TAGS, MAX_TAG = 10, 128
MAX_METADATA, MAX_METADATA_VALUE = 50, 500
MAX_ATTACHMENTS = 50
# What mailsvc or the provider writes itself, or what would change who gets the mail and how it is read.
RESERVED_HEADERS = frozenset(
    {"from", "to", "cc", "bcc", "sender", "reply-to", "subject", "date", "message-id", "mime-version", "received"}
    | {"return-path", "delivered-to", "idempotencykey"}
)
RESERVED_PREFIXES = (
    *("content-", "dkim-", "arc-", "resent-", "resend-", "x-sg-", "x-mailgun-", "x-pm-", "x-mailin-", "x-sib-"),
    *("x-mc-", "x-ses-", "x-msys-", "x-smtpapi"),  # orders to Mandrill, SES, SparkPost and SendGrid by SMTP
)
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,76}")
_METADATA_KEY = re.compile(r"[A-Za-z0-9_.-]{1,40}")


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


def _header_map(value: object) -> object:
    """Names unlike each other in any case; values of one line."""
    named = _map(value, MAX_HEADERS, MAX_HEADER)
    seen: set[str] = set()
    for name in named:
        lower = name.lower()
        if not _HEADER_NAME.fullmatch(name):
            raise PydanticCustomError("invalid", "has a name that no header can have: {name}", {"name": name[:80]})
        if lower in RESERVED_HEADERS or lower.startswith(RESERVED_PREFIXES):
            raise PydanticCustomError("reserved", "must not set {name}", {"name": name})
        if lower in seen:
            raise PydanticCustomError("repeated", "sets {name} more than once", {"name": name})
        seen.add(lower)
    return named


def _metadata(value: object) -> object:
    named = _map(value, MAX_METADATA, MAX_METADATA_VALUE)
    for name in named:
        if not _METADATA_KEY.fullmatch(name):
            words = "has a key that is not 1 to 40 letters, digits or _ . -: {name}"
            raise PydanticCustomError("invalid", words, {"name": name[:80]})
        if name.lower().startswith("mailsvc_"):
            raise PydanticCustomError("reserved", "must not set {name}", {"name": name})
    return named


def _map(value: object, most: int, longest: int) -> dict[str, str]:
    """Texts of one line by name."""
    if not isinstance(value, dict) or not all(isinstance(text, str) for pair in value.items() for text in pair):
        raise PydanticCustomError("type_error", "must be an object with a string for each name")
    if len(value) > most:
        raise PydanticCustomError("too_many", "must hold at most {most}", {"most": most})
    for name, text in value.items():
        if control := control_character(name + text):
            raise PydanticCustomError(
                "control_character", "contains the control character {control}", {"control": control}
            )
        if len(text) > longest:
            words = "has a value of more than {longest} characters: {name}"
            raise PydanticCustomError("too_long", words, {"longest": longest, "name": name[:80]})
    return value


def _tags(value: object) -> object:
    """A single tag is a list of one; each counts once."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        raise PydanticCustomError("type_error", "must be an array of strings")
    if len(value) > MAX_TAGS:
        raise PydanticCustomError("too_many", "must hold at most {most}", {"most": MAX_TAGS})
    return tuple(dict.fromkeys(value)) if all(isinstance(tag, str) for tag in value) else tuple(value)


def _files(value: object) -> object:
    if not isinstance(value, list):
        raise PydanticCustomError("type_error", "must be an array of objects")
    if len(value) > MAX_ATTACHMENTS:
        raise PydanticCustomError("too_many", "must hold at most {most}", {"most": MAX_ATTACHMENTS})
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


def _instant(value: object) -> object:
    if value is None:
        return None
    if not isinstance(value, str):
        raise PydanticCustomError("type_error", "must be a string such as 2027-01-02T03:04:05Z")
    try:
        return parse_instant(value)
    except ValueError as error:
        raise PydanticCustomError("invalid_time", "{reason}", {"reason": str(error)}) from error


def _yes_or_no(value: object) -> object:
    """Forms know texts alone."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


_TIME = {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}
_ADDRESS_SCHEMA: dict[str, JsonValue] = {"type": "string", "examples": ["ann@example.com", "Ann Lee <ann@example.com>"]}
Address = Annotated[Mailbox, BeforeValidator(_mailbox, json_schema_input_type=str)]
Line = Annotated[str, BeforeValidator(_line)]
Body = Annotated[str, BeforeValidator(_body)]
_MAP_SCHEMA = {"type": "object", "additionalProperties": {"type": "string"}}
_ONE_OR_MORE: dict[str, JsonValue] = {
    "anyOf": [_ADDRESS_SCHEMA, {"type": "array", "items": _ADDRESS_SCHEMA, "minItems": 1, "maxItems": MAX_RECIPIENTS}]
}


def _none_or_more(schema: dict[str, Any]) -> None:
    """Nobody is what is left out, not an empty array."""
    schema.update(_ONE_OR_MORE)
    schema.pop("default")


# Nobody, or some addresses.
Addresses = Annotated[
    tuple[Address, ...],
    BeforeValidator(_mailboxes, json_schema_input_type=str | list[str]),
    Field(default=(), json_schema_extra=_none_or_more),
]


class Submission(BaseModel):
    """The body of `POST /email`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)

    to: Annotated[
        tuple[Address, ...],
        BeforeValidator(_mailboxes, json_schema_input_type=str | list[str]),
        Field(
            description="One address, or an array of at most 50; `a@b` or `Name <a@b>`, one address per string.",
            json_schema_extra=_ONE_OR_MORE,
        ),
    ]
    to_name: Annotated[
        Annotated[str, BeforeValidator(_name), Field(max_length=MAX_NAME)] | None,
        Field(default=None, description="Display name of a single recipient."),
    ]
    subject: Annotated[Line, Field(min_length=1, max_length=MAX_SUBJECT, description="One line.")]
    content: Annotated[
        Body | None,
        Field(
            default=None,
            max_length=MAX_CONTENT,
            description="Markdown. Becomes safe HTML, with the source as the text part.",
        ),
    ]
    html: Annotated[
        Body | None,
        Field(default=None, max_length=MAX_TEXT, description="HTML, sent as it is. Instead of `content`."),
    ]
    text: Annotated[
        Body | None, Field(default=None, max_length=MAX_TEXT, description="Plain text. Instead of `content`.")
    ]
    sender: Annotated[
        Address | None,
        Field(default=None, alias="from", description="The sender, `a@b` or `Name <a@b>`. Default: `MAILSVC_FROM`."),
    ]
    cc: Annotated[Addresses, Field(description="Who gets a copy, for all to see.")]
    bcc: Annotated[Addresses, Field(description="Who gets a copy unseen.")]
    reply_to: Annotated[Addresses, Field(description="Where answers go.")]
    headers: Annotated[
        dict[str, str],
        BeforeValidator(_header_map, json_schema_input_type=dict[str, str]),
        Field(default_factory=dict, description="More headers, by name. Not those that a mail has anyway."),
    ]
    tags: Annotated[
        tuple[Annotated[Line, Field(min_length=1, max_length=MAX_TAG)], ...],
        BeforeValidator(_tags, json_schema_input_type=str | list[str]),
        Field(default=(), description="At most 10. Providers show them in their statistics, as far as they can."),
    ]
    metadata: Annotated[
        dict[str, str],
        BeforeValidator(_metadata, json_schema_input_type=dict[str, str]),
        Field(default_factory=dict, description="Your own texts by name, given back with the mail."),
    ]
    attachments: Annotated[
        tuple[File, ...],
        BeforeValidator(_files, json_schema_input_type=list[File]),
        Field(default=(), description="At most 50. Their content is base64 in JSON, a file in a multipart form."),
    ]
    ignore_suppression: Annotated[
        bool,
        BeforeValidator(_yes_or_no, json_schema_input_type=bool),
        Field(default=False, description="Send it also to those on the suppression list. Needs a key with `admin`."),
    ]
    send_at: Annotated[
        float | None,
        BeforeValidator(_instant, json_schema_input_type=str | None),
        Field(default=None, description="Not sent before; at most a year ahead. RFC 3339.", json_schema_extra=_TIME),
    ]
    expires_at: Annotated[
        float | None,
        BeforeValidator(_instant, json_schema_input_type=str | None),
        Field(default=None, description="Not sent from then on. RFC 3339.", json_schema_extra=_TIME),
    ]
    priority: Annotated[
        Priority,
        Field(default=Priority.NORMAL, strict=False, description="Which mails go first among those that are due."),
    ]
    sensitive: Annotated[
        bool,
        BeforeValidator(_yes_or_no, json_schema_input_type=bool),
        Field(default=False, description="Never shown, and its body is erased as soon as a provider has it."),
    ]
    dry_run: Annotated[
        bool,
        BeforeValidator(_yes_or_no, json_schema_input_type=bool),
        Field(default=False, description="Store and send nothing; the answer tells what would be done."),
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
    def people(self) -> tuple[tuple[Mailbox, ...], tuple[Mailbox, ...], tuple[Mailbox, ...]]:
        """`to` with `to_name` put in, `cc` and `bcc`.

        Each address is there once (compared without case), in the first of them: providers refuse a repeated one.
        """
        boxes = (Mailbox(self.to[0].address, self.to_name),) if self.to_name else self.to
        seen: set[str] = set()
        return _once(boxes, seen), _once(self.cc, seen), _once(self.bcc, seen)

    def mail(self, now: float, sender: Mailbox, on_uncertain: OnUncertain) -> Mail:
        """The mail that was asked for, as of this moment; `sender` and `on_uncertain` are for who does not say."""
        to, cc, bcc = self.people
        return Mail(
            id=new_id(now),
            created_at=now,
            sender=self.sender or sender,
            to=to,
            cc=cc,
            bcc=bcc,
            reply_to=self.reply_to,
            headers=self.headers,
            tags=self.tags,
            metadata=self.metadata,
            ignore_suppression=self.ignore_suppression,
            expires_at=self.expires_at,
            priority=self.priority,
            sensitive=self.sensitive,
            attachments=tuple(file.attachment for file in self.attachments),
            subject=self.subject,
            on_uncertain=self.on_uncertain or on_uncertain,
            content=self.content or None,
            html=self.html or None,
            text=self.text or None,
        )


def _once(boxes: tuple[Mailbox, ...], seen: set[str]) -> tuple[Mailbox, ...]:
    found = []
    for box in boxes:
        if box.address.lower() not in seen:
            seen.add(box.address.lower())
            found.append(box)
    return tuple(found)


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
    send_at, expires_at = (_known(fields.get(name)) for name in ("send_at", "expires_at"))
    if send_at is not None and expires_at is not None and expires_at <= send_at:
        faults.append(FieldFault("expires_at", "too_early", "must be later than send_at"))
    to = fields.get("to")
    if fields.get("to_name") and isinstance(to, list) and len(to) > 1:
        faults.append(FieldFault("to_name", "exclusive", "goes with a single to; write Name <address> into to instead"))
    files = fields.get("attachments")
    named = [each["content_id"] for each in files if _is_inline(each)] if isinstance(files, list) else []
    if len(set(named)) < len(named):
        faults.append(FieldFault("attachments", "repeated", "must not have the same content_id twice"))
    return faults


def _known(value: object) -> float | None:
    """A time, if it is one."""
    try:
        return parse_instant(value) if isinstance(value, str) else None
    except ValueError:
        return None


_WORDS = {
    "missing": ("missing", "is required"),
    "extra_forbidden": ("unknown_field", "is not a field of a mail"),
    "string_type": ("type_error", "must be a string"),
    "bool_type": ("type_error", "must be true or false"),
    "model_type": ("type_error", "must be an object"),
    "too_short": ("too_short", "must not be empty"),
    "string_too_short": ("too_short", "must not be empty"),
}


def _is_inline(file: object) -> bool:
    return isinstance(file, dict) and isinstance(file.get("content_id"), str)


def _place(place: int | str) -> str:
    return f"[{place}]" if isinstance(place, int) else f".{place}"


def _fault(detail: ErrorDetails, fields: Mapping[str, Any]) -> FieldFault:
    """One pydantic error as a fault: the field as the caller wrote it, `to[1]` for the second of an array."""
    name, *places = detail["loc"]
    array = isinstance(fields.get(str(name)), list)
    field = str(name) + "".join(_place(place) for place in places if array)
    kind = detail["type"]
    if kind == "too_long" and "max_length" in detail["ctx"]:
        return FieldFault(field, kind, f"must be at most {detail['ctx']['max_length']} characters")
    if kind == "enum":
        choices = detail["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
        return FieldFault(field, "invalid_choice", f"must be one of: {choices}")
    code, message = _WORDS.get(kind, (kind, detail["msg"]))
    return FieldFault(field, code, message)
