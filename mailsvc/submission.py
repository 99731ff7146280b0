"""A mail as it comes in a request: which fields there are and what may stand in them. Each fault names its field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from .address import Mailbox
from .attachment import File
from .errors import FieldFault, InvalidMail
from .field import (
    MAX_CONTENT,
    MAX_NAME,
    MAX_SUBJECT,
    MAX_TAG,
    MAX_TEXT,
    ONE_OR_MORE,
    TIME,
    Address,
    Addresses,
    Body,
    Line,
    read_files,
    read_headers,
    read_instant,
    read_mailboxes,
    read_metadata,
    read_name,
    read_tags,
    read_yes_or_no,
)
from .instant import parse_instant
from .model import Mail, OnUncertain, Priority, new_id
from .template import MAX_VERSION, NAME, Origin


class TemplateUse(BaseModel):
    """Which template makes the subject and the bodies, and what stands in its places."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: Annotated[str, Field(pattern=f"^{NAME.pattern}$", description="Its name.")]
    version: Annotated[
        int | None, Field(default=None, ge=1, le=MAX_VERSION, description="One of its versions. Default: the newest.")
    ]
    variables: Annotated[
        dict[str, Any], Field(default_factory=dict, description="Any JSON, by the names that the template uses.")
    ]


class Submission(BaseModel):
    """The body of `POST /email`."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        populate_by_name=False,
        json_schema_extra={"anyOf": [{"required": ["subject"]}, {"required": ["template"]}]},
    )

    to: Annotated[
        tuple[Address, ...],
        BeforeValidator(read_mailboxes, json_schema_input_type=str | list[str]),
        Field(
            description="One address, or an array of at most 50; `a@b` or `Name <a@b>`, one address per string.",
            json_schema_extra=ONE_OR_MORE,
        ),
    ]
    to_name: Annotated[
        Annotated[str, BeforeValidator(read_name), Field(max_length=MAX_NAME)] | None,
        Field(default=None, description="Display name of a single recipient."),
    ]
    subject: Annotated[
        Line,
        Field(
            default="",  # only where a template gives it
            min_length=1,
            max_length=MAX_SUBJECT,
            description="One line.",
            json_schema_extra=lambda schema: schema.pop("default", None),
        ),
    ]
    template: Annotated[
        TemplateUse | None,
        Field(default=None, description="A template, instead of `subject`, `content`, `html` and `text`."),
    ]
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
        BeforeValidator(read_headers, json_schema_input_type=dict[str, str]),
        Field(default_factory=dict, description="More headers, by name. Not those that a mail has anyway."),
    ]
    tags: Annotated[
        tuple[Annotated[Line, Field(min_length=1, max_length=MAX_TAG)], ...],
        BeforeValidator(read_tags, json_schema_input_type=str | list[str]),
        Field(default=(), description="At most 10. Providers show them in their statistics, as far as they can."),
    ]
    metadata: Annotated[
        dict[str, str],
        BeforeValidator(read_metadata, json_schema_input_type=dict[str, str]),
        Field(default_factory=dict, description="Your own texts by name, given back with the mail."),
    ]
    attachments: Annotated[
        tuple[File, ...],
        BeforeValidator(read_files, json_schema_input_type=list[File]),
        Field(default=(), description="At most 50. Their content is base64 in JSON, a file in a multipart form."),
    ]
    ignore_suppression: Annotated[
        bool,
        BeforeValidator(read_yes_or_no, json_schema_input_type=bool),
        Field(default=False, description="Send it also to those on the suppression list. Needs a key with `admin`."),
    ]
    send_at: Annotated[
        float | None,
        BeforeValidator(read_instant, json_schema_input_type=str | None),
        Field(default=None, description="Not sent before; at most a year ahead. RFC 3339.", json_schema_extra=TIME),
    ]
    expires_at: Annotated[
        float | None,
        BeforeValidator(read_instant, json_schema_input_type=str | None),
        Field(default=None, description="Not sent from then on. RFC 3339.", json_schema_extra=TIME),
    ]
    priority: Annotated[
        Priority,
        Field(default=Priority.NORMAL, strict=False, description="Which mails go first among those that are due."),
    ]
    sensitive: Annotated[
        bool,
        BeforeValidator(read_yes_or_no, json_schema_input_type=bool),
        Field(
            default=False, description="Never shown, and its body is erased as soon as the mail is sent or has ended."
        ),
    ]
    dry_run: Annotated[
        bool,
        BeforeValidator(read_yes_or_no, json_schema_input_type=bool),
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
            template=Origin(self.template.name, self.template.version) if self.template else None,
        )


_NAMES = frozenset(field.alias or name for name, field in Submission.model_fields.items())


def _once(boxes: tuple[Mailbox, ...], seen: set[str]) -> tuple[Mailbox, ...]:
    found = []
    for box in boxes:
        if box.address.lower() not in seen:
            seen.add(box.address.lower())
            found.append(box)
    return tuple(found)


def parse(fields: Mapping[str, Any]) -> Submission:
    """Fields of a request -> Submission; one that is null is not given. Raises InvalidMail with every fault."""
    fields = {name: value for name, value in fields.items() if value is not None or name not in _NAMES}
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
    faults = [*_faults_of_words(fields)]
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


def _faults_of_words(fields: Mapping[str, Any]) -> Iterator[FieldFault]:
    """Either a template says what the mail says, or a subject and a body do."""
    if fields.get("template") is not None:
        for name in ("subject", "content", "html", "text"):
            if fields.get(name):
                yield FieldFault(name, "exclusive", "comes from the template")
        return
    if "subject" not in fields:
        yield FieldFault("subject", "missing", "is required, or a template")
    if not any(fields.get(name) for name in ("content", "html", "text")):
        yield FieldFault("content", "missing", "is required, or html, or text")
    if fields.get("content") and (fields.get("html") or fields.get("text")):
        yield FieldFault("content", "exclusive", "excludes html and text")


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
    "dict_type": ("type_error", "must be an object"),
    "int_type": ("type_error", "must be a whole number"),
    "string_pattern_mismatch": ("invalid", "is not the name of a template"),
    "greater_than_equal": ("out_of_range", "must be 1 or more"),
    "less_than_equal": ("out_of_range", f"must be {MAX_VERSION} or less"),
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
    array = isinstance(fields.get(str(name)), list) or name == "template"
    field = str(name) + "".join(_place(place) for place in places if array)
    kind = detail["type"]
    if kind == "too_long" and "max_length" in detail["ctx"]:
        return FieldFault(field, kind, f"must be at most {detail['ctx']['max_length']} characters")
    if kind == "enum":
        choices = detail["ctx"]["expected"].replace("'", "").replace(" or ", ", ")
        return FieldFault(field, "invalid_choice", f"must be one of: {choices}")
    code, message = _WORDS.get(kind, (kind, detail["msg"]))
    return FieldFault(field, code, message)
