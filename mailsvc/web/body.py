"""The body of a request as fields: JSON, urlencoded or multipart. Nothing is sniffed."""

from __future__ import annotations

import hashlib
from email.message import Message as Headers
from email.utils import collapse_rfc2231_value
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson
from tornado.httputil import HTTPFile, HTTPInputError, parse_multipart_form_data

from ..attachment import from_form
from ..errors import FieldFault, InvalidMail
from .problem import Problem, invalid, unsupported_media_type

MAX_FIELDS = 100
REPEATABLE = frozenset({"to", "cc", "bcc", "reply_to", "tags"})
FILES = "attachments"  # the field that takes files
_PLAIN = frozenset({"application/json", "application/x-www-form-urlencoded"})  # what most requests say, to the letter


def fields(content_type: str | None, content_encoding: str | None, body: bytes) -> dict[str, Any]:
    """The fields of a request. Raises Problem (400, 415) and InvalidMail."""
    _not_encoded(content_encoding)
    kind, parameters = _content_type(content_type)
    if kind == "application/json":
        value = _json(body, parameters)
        if not isinstance(value, dict):
            raise invalid("body", "type_error", "must be a JSON object")
        return value
    if kind == "application/x-www-form-urlencoded":
        if body.lstrip()[:1] in (b"{", b"["):
            raise unsupported_media_type("This looks like JSON. Send it with 'Content-Type: application/json'.")
        return _form(_urlencoded(body))
    if kind == "multipart/form-data":
        texts, files = _multipart(parameters.get("boundary", ""), body)
        return _form(texts) | ({FILES: files} if files else {})
    raise unsupported_media_type(
        "Send application/json, application/x-www-form-urlencoded or multipart/form-data"
        + (f", not {kind[:100]}." if kind else ", and say so in Content-Type.")
    )


def items(content_type: str | None, content_encoding: str | None, body: bytes) -> list[Any]:
    """The items of a JSON array. Raises Problem (400, 415) and InvalidMail."""
    _not_encoded(content_encoding)
    kind, parameters = _content_type(content_type)
    if kind != "application/json":
        raise unsupported_media_type("Send a JSON array, with 'Content-Type: application/json'.")
    value = _json(body, parameters)
    if not isinstance(value, list):
        raise invalid("body", "type_error", "must be a JSON array of mails")
    return value


def fingerprint(given: dict[str, Any] | list[Any]) -> str:
    """A digest of the fields of a mail, or of several, the same for the same fields in any order."""
    return hashlib.sha256(orjson.dumps(given, default=_digest, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _digest(content: object) -> str:
    if not isinstance(content, bytes):
        raise TypeError
    return hashlib.sha256(content).hexdigest()


def _content_type(value: str | None) -> tuple[str, dict[str, str]]:
    """`text/html; charset=utf-8` as its kind and its parameters."""
    if not value:
        return "", {}
    if value in _PLAIN:
        return value, {}
    headers = Headers()
    headers["Content-Type"] = value
    parameters = headers.get_params(failobj=[], header="content-type")
    kind = value.partition(";")[0].strip().lower()
    return kind, {name.lower(): collapse_rfc2231_value(text) for name, text in parameters[1:]}


def _not_encoded(content_encoding: str | None) -> None:
    if content_encoding and content_encoding.lower() != "identity":
        raise unsupported_media_type("A compressed body is not accepted; send it without Content-Encoding.")


def _json(body: bytes, parameters: dict[str, str]) -> Any:
    if parameters.get("charset", "utf-8").lower() not in ("utf-8", "utf8"):
        raise unsupported_media_type("JSON must be UTF-8.")
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, "malformed_json", f"The body is not JSON: {str(error)[:200]}") from None


def _urlencoded(body: bytes) -> list[tuple[bytes, bytes]]:
    parts = [part for part in body.split(b"&") if part]
    if len(parts) > MAX_FIELDS:
        raise invalid("body", "too_many", f"has more than {MAX_FIELDS} fields")
    pairs = (part.partition(b"=") for part in parts)
    return [(_unquote(name), _unquote(value)) for name, _, value in pairs]


def _unquote(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


def _multipart(boundary: str, body: bytes) -> tuple[list[tuple[bytes, bytes]], list[dict[str, Any]]]:
    arguments: dict[str, list[bytes]] = {}
    files: dict[str, list[HTTPFile]] = {}
    try:
        parse_multipart_form_data(boundary.encode(), body, arguments, files)
    except (HTTPInputError, ValueError) as error:
        raise Problem(400, "malformed_body", f"The body is not multipart/form-data: {str(error)[:200]}") from None
    faults = [
        FieldFault(name[:100], "unknown_field", f"is a file; {FILES} takes files") for name in files if name != FILES
    ]
    if faults:
        raise InvalidMail(faults)
    texts = [(name.encode(), value) for name, values in arguments.items() for value in values]
    # A browser sends a nameless, empty file for a field that was left alone.
    given = [file for file in files.get(FILES, []) if file.filename or file.body]
    return texts, [from_form(file.filename, file.content_type, file.body) for file in given]


def _form(pairs: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """Form fields as text. An empty one counts as not given, as browsers send every field of a form."""
    found: dict[str, list[str]] = {}
    faults: list[FieldFault] = []
    for raw_name, raw_value in pairs:
        name = raw_name.decode("utf-8", "replace")[:100]
        try:
            value = raw_value.decode()
        except UnicodeDecodeError:
            faults.append(FieldFault(name, "invalid_utf8", "is not UTF-8"))
            continue
        if value:
            found.setdefault(name, []).append(value)
    for name, values in found.items():
        if len(values) > 1 and name not in REPEATABLE:
            faults.append(FieldFault(name, "repeated", "is there more than once"))
    if faults:
        raise InvalidMail(faults)
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}
