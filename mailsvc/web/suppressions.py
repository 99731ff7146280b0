"""The suppression list: look at it, put addresses on it, take one off; as JSON or as CSV."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar
from urllib.parse import unquote

from ..access import Scope
from ..address import AddressError, control_character, parse_address
from ..errors import FieldFault, InvalidMail, NotFound
from ..suppression import Reason, Suppression
from .base import Handler, rfc3339
from .body import fields
from .email import query
from .problem import Problem, invalid, unsupported_media_type
from .shapes import COUNT, CSV, JSON, TEXT_ANY, TIME, Schema, known, limit, maybe, page, shape, words

LIMIT, LIMIT_MAX = 100, 1000
REASON = 200  # characters
ROWS = 10_000  # of one CSV
COLUMNS = ("address", "reason", "source", "created_at", "expires_at", "mail_id")
FORMULA = ("=", "+", "-", "@")  # how a cell begins that a spreadsheet would run
STEP = 500  # entries read at a time for a CSV


class Suppressions(Handler):
    """`/suppressions`."""

    summary = "The suppression list: look at it, put an address on it"
    asks: ClassVar[dict[str, Schema]] = {
        "address": {"type": "string", "description": "This one alone, if it is there."},
        "limit": limit(LIMIT, LIMIT_MAX),
        "after": {"type": "string", "description": "The address of the last one of the page before."},
    }
    takes_also = (CSV,)
    gives: ClassVar = {
        "get": (200, {JSON: page(known("Suppression")), CSV: {"type": "string"}}),
        "post": (201, {JSON: {"anyOf": [known("Suppression"), shape(stored=COUNT)]}}),
    }
    reads = Scope.ADMIN
    takes: ClassVar[dict[str, Any] | None] = {
        "type": "object",
        "properties": {
            "address": {"type": "string", "examples": ["ann@example.com"]},
            "reason": maybe({"type": "string", "maxLength": REASON, "default": Reason.MANUAL.value}),
            "expires_at": maybe({"anyOf": [TIME, {"const": ""}], "description": "Default: never."}),
        },
        "required": ["address"],
        "additionalProperties": False,
    }

    async def get(self) -> None:
        """The entries in the order of their addresses, a page at a time; with `Accept: text/csv`, all of them."""
        self.admit()
        asked = query(self, "address", "limit", "after")
        most = _limit(asked.get("limit", str(LIMIT)))
        if CSV in self.request.headers.get("Accept", ""):
            await self._send_csv()
            return
        if "address" in asked:
            found = list((await self.service.suppressions.among([as_kept(asked["address"])], time.time())).values())
            self.send_json({"data": [view(entry) for entry in found], "has_more": False})
            return
        found = list(await self.service.suppressions.list(asked.get("after", ""), most + 1))
        self.send_json({"data": [view(entry) for entry in found[:most]], "has_more": len(found) > most})

    async def post(self) -> None:
        """Put an address on the list; with a CSV, many: all of them, or none if a line is wrong."""
        self.admit()
        headers = self.request.headers
        kind, coding = headers.get("Content-Type", ""), headers.get("Content-Encoding")
        if kind.partition(";")[0].strip().lower() == CSV:
            if coding and coding.lower() != "identity":
                raise unsupported_media_type("A compressed body is not accepted; send it without Content-Encoding.")
            entries = [entry for entry in _from_csv(self.body) if entry.holds(time.time())]
            await self.service.suppressions.put(entries)
            self.send_json({"stored": len(entries)}, 201)
            return
        entry = entry_of(fields(kind, coding, self.body))
        if not entry.holds(time.time()):
            raise invalid("expires_at", "invalid", "must be in the future")
        await self.service.suppressions.put([entry])
        self.send_json(view(entry), 201)

    async def _send_csv(self) -> None:
        self.set_header("Content-Type", f"{CSV}; charset=utf-8")
        self.set_header("Content-Disposition", 'attachment; filename="suppressions.csv"')
        self.write(_line(COLUMNS))
        after = ""
        try:
            while found := await self.service.suppressions.list(after, STEP):
                for entry in found:
                    shown = view(entry)
                    self.write(_line(shown[column] or "" for column in COLUMNS))
                await self.flush()
                after = found[-1].address
        except Exception:
            if after:
                self.detach().close()  # what ends in the middle must not look like the whole list
            raise


class OneSuppression(Handler):
    """`/suppressions/<address>`."""

    summary = "Take an address off the suppression list"
    gives: ClassVar = {"delete": (200, {JSON: shape(address=TEXT_ANY, status=words("removed"))})}

    async def delete(self, address: str) -> None:
        """It gets mail again, and what came back from it is forgotten."""
        self.admit()
        address = as_kept(unquote(address))
        if not await self.service.suppressions.remove(address):
            raise NotFound("this address is not on the suppression list")
        self.send_json({"address": address, "status": "removed"})


def view(entry: Suppression) -> dict[str, Any]:
    """An entry as the API shows it."""
    return {
        "address": entry.address,
        "reason": entry.reason,
        "source": entry.source,
        "created_at": rfc3339(entry.created_at),
        "expires_at": rfc3339(entry.expires_at),
        "mail_id": entry.mail_id,
    }


def entry_of(given: Mapping[str, Any]) -> Suppression:
    """An entry as a person gives it. Raises InvalidMail with every fault."""
    faults = [
        FieldFault(str(name)[:100], "unknown_field", "is not a field of an entry") for name in given.keys() - _FIELDS
    ]
    values = {}
    for name, read in _FIELDS.items():
        try:
            values[name] = read(given.get(name))
        except AddressError as error:
            faults.append(FieldFault(name, error.code, str(error)))
        except ValueError as error:
            faults.append(FieldFault(name, "invalid", str(error)))
    if faults:
        raise InvalidMail(faults)
    return Suppression(values["address"], values["reason"], "api", time.time(), values["expires_at"])


def _address(value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise AddressError("missing", "is needed: an address such as ann@example.com")
    return parse_address(value.strip()).lower()


def as_kept(text: str) -> str:
    """An address as the list has it, to look for it: `ann@bücher.example`, too. What is none is on no list."""
    try:
        return _address(text)
    except AddressError:
        return text


def _reason(value: object) -> str:
    if value in (None, ""):
        return Reason.MANUAL.value
    if not isinstance(value, str) or len(value) > REASON or control_character(value):
        raise ValueError(f"must be one line of at most {REASON} characters")
    return value


def _expiry(value: object) -> float | None:
    if value in (None, ""):
        return None
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is None or moment.tzinfo is None:
            raise ValueError
        return moment.astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        raise ValueError("must be a time such as 2027-01-31T12:00:00Z") from None


_FIELDS: Mapping[str, Any] = {"address": _address, "reason": _reason, "expires_at": _expiry}


def _from_csv(body: bytes) -> list[Suppression]:
    """The entries of a CSV with a header line. What mailsvc itself writes beside the fields of an entry is left out."""
    try:
        rows = list(csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise Problem(400, "malformed_body", f"The body is not CSV in UTF-8: {str(error)[:200]}") from None
    if len(rows) > ROWS:
        raise invalid("body", "too_many", f"has more than {ROWS} lines; send it in parts")
    if not rows or "address" not in rows[0]:
        raise invalid("body", "missing", "needs a line `address,reason,expires_at` and entries below it")
    entries, faults = [], []
    for number, row in enumerate(rows, 2):
        try:
            entries.append(entry_of({name: _cell(row.get(name)) for name in _FIELDS}))
        except InvalidMail as error:
            faults += [FieldFault(f"line {number}: {each.field}", each.code, each.message) for each in error.faults]
    if faults:
        raise InvalidMail(faults[:100])
    return entries


def _cell(text: str | None) -> str | None:
    """Without the apostrophe that `_line` puts before what looks like a formula."""
    return text[1:] if text and text[0] == "'" and text[1:2] in FORMULA else text


def _line(values: Iterable[str]) -> str:
    """One line. A spreadsheet would run a cell that begins like a formula: it begins with an apostrophe instead."""
    text = io.StringIO()
    csv.writer(text).writerow([f"'{value}" if value[:1] in FORMULA else value for value in values])
    return text.getvalue()


def _limit(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= LIMIT_MAX:
        raise invalid("limit", "out_of_range", f"must be a whole number from 1 to {LIMIT_MAX}")
    return int(text)
