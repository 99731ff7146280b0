"""A file as it comes in a request: base64 in JSON, bytes in a form. Each fault is told with a stable code."""

from __future__ import annotations

import binascii
import mimetypes
import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from .address import control_character
from .model import Attachment

MAX_FILENAME = 255
_KIND = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,63}/[A-Za-z0-9!#$&^_.+-]{1,63}")
_CONTENT_ID = re.compile(r"[A-Za-z0-9._@+-]{1,78}")
_UNNAMED = "application/octet-stream"


def _filename(value: object) -> object:
    if not isinstance(value, str):
        return value
    if control := control_character(value):
        raise PydanticCustomError("control_character", "contains the control character {control}", {"control": control})
    if not value.strip() or value in (".", "..") or re.search(r'[/\\"]', value):
        raise PydanticCustomError("invalid", "must be the name of a file, without a folder and without quotes")
    return value


def _content(value: object) -> object:
    """Base64, with or without line breaks."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise PydanticCustomError("type_error", "must be a string of base64")
    try:
        return binascii.a2b_base64(re.sub(r"[ \r\n\t]+", "", value), strict_mode=True)
    except (binascii.Error, ValueError):
        raise PydanticCustomError("invalid_base64", "is not base64") from None


def _kind(value: object) -> object:
    if isinstance(value, str) and not _KIND.fullmatch(value):
        raise PydanticCustomError("invalid", "must be a media type such as application/pdf, without parameters")
    return value


def _content_id(value: object) -> object:
    if isinstance(value, str) and not _CONTENT_ID.fullmatch(value):
        raise PydanticCustomError("invalid", "must be 1 to 78 letters, digits or . _ @ + -, without < and >")
    return value


class File(BaseModel):
    """One of `attachments`."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    filename: Annotated[str, BeforeValidator(_filename), Field(max_length=MAX_FILENAME, examples=["invoice.pdf"])]
    content: Annotated[
        bytes,
        BeforeValidator(_content, json_schema_input_type=str),
        Field(repr=False, description="Base64.", json_schema_extra={"format": "byte"}),
    ]
    content_type: Annotated[
        str | None,
        BeforeValidator(_kind),
        Field(default=None, description="Default: what the ending of the filename says.", examples=["application/pdf"]),
    ]
    content_id: Annotated[
        str | None,
        BeforeValidator(_content_id),
        Field(default=None, description="Makes it inline: the HTML shows it by `cid:` and this."),
    ]

    @property
    def attachment(self) -> Attachment:
        """As the mail has it."""
        kind = self.content_type or mimetypes.guess_type(self.filename, strict=False)[0] or _UNNAMED
        return Attachment(self.filename, kind, self.content_id, len(self.content), self.content)


def from_form(filename: str, content_type: str, body: bytes) -> dict[str, Any]:
    """A file of a form as one of `attachments`. A browser sends the path of some files, and a vague type of others."""
    found: dict[str, Any] = {"filename": re.split(r"[/\\]", filename)[-1], "content": body}
    kind = content_type.partition(";")[0].strip().lower()
    return found | ({"content_type": kind} if kind and kind != _UNNAMED else {})
