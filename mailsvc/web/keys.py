"""The API keys: list them, make one, revoke one. Its text is in the answer that makes it, and nowhere else ever."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from ..access import ApiKey, Scope
from ..address import AddressError, control_character, parse_address
from ..errors import FieldFault, InvalidMail
from .base import Handler, rfc3339
from .body import fields
from .problem import invalid
from .shapes import JSON, TEXT_ANY, array, known, maybe, shape, words

NAME, DOMAINS, RATE = 100, 50, 1_000_000  # at most
USUAL = [Scope.SEND, Scope.READ]


class Keys(Handler):
    """`/keys`."""

    summary = "The API keys: list them, make one"
    gives: ClassVar = {
        "get": (200, {JSON: shape(data=array(known("Key")))}),
        "post": (201, {JSON: known("NewKey")}),
    }
    reads = Scope.ADMIN
    takes: ClassVar[dict[str, Any] | None] = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": NAME, "description": "Who will use it."},
            "scopes": maybe({"type": "array", "items": {"enum": [*Scope]}, "minItems": 1, "default": USUAL}),
            "domains": maybe(
                array(TEXT_ANY)
                | {"maxItems": DOMAINS, "description": "The domains it may send from; any if there is none."}
            ),
            "rate": maybe({"type": "integer", "minimum": 1, "maximum": RATE, "description": "Mails a minute."}),
        },
        "required": ["name"],
        "additionalProperties": False,
    }

    async def get(self) -> None:
        """All keys that were ever made, oldest first; never their text."""
        self.admit()
        self.send_json({"data": [view(key) for key in await self.service.keys.all()]})

    async def post(self) -> None:
        """Make a key. `key` in the answer is its text, which is shown this once."""
        self.admit()
        headers = self.request.headers
        given = fields(headers.get("Content-Type"), headers.get("Content-Encoding"), self.body)
        rules = parse(given)
        if self.service.keys.ring.empty and Scope.ADMIN not in rules[1]:
            raise invalid("scopes", "needs_admin", "must hold admin: this is the first key, and from then on keys rule")
        key, text = await self.service.keys.create(*rules)
        self.set_header("Location", f"/keys/{key.id}")
        self.send_json(view(key) | {"key": text}, 201)


class OneKey(Handler):
    """`/keys/<id>`."""

    summary = "Revoke an API key"
    gives: ClassVar = {"delete": (200, {JSON: shape(id=TEXT_ANY, status=words("revoked"))})}

    async def delete(self, key_id: str) -> None:
        """From now on the key opens nothing. Its mails stay."""
        self.admit()
        await self.service.keys.revoke(key_id)
        self.send_json({"id": key_id, "status": "revoked"})


def view(key: ApiKey) -> dict[str, Any]:
    """A key as the API shows it."""
    return {
        "id": key.id,
        "name": key.name,
        "scopes": [scope for scope in Scope if scope in key.scopes],
        "domains": list(key.domains),
        "rate": key.rate,
        "created_at": rfc3339(key.created_at),
        "revoked_at": rfc3339(key.revoked_at),
    }


def parse(given: Mapping[str, Any]) -> tuple[str, list[Scope], list[str], int | None]:
    """Name, scopes, domains and rate. Raises InvalidMail with every fault."""
    faults = [FieldFault(str(name)[:100], "unknown_field", "is not a field of a key") for name in given.keys() - FIELDS]
    values: list[Any] = []
    for name, read in FIELDS.items():
        try:
            values.append(read(given.get(name)))
        except ValueError as error:
            faults.append(FieldFault(name, "invalid", str(error)))
    if faults:
        raise InvalidMail(faults)
    name, scopes, domains, rate = values
    return name, scopes, domains, rate


def _name(value: object) -> str:
    if not isinstance(value, str) or not 1 <= len(value.strip()) <= NAME or control_character(value):
        raise ValueError(f"must be one line of 1 to {NAME} characters that says who will use the key")
    return value.strip()


def _scopes(value: object) -> list[Scope]:
    names = USUAL if value is None else _texts(value)
    if not names or any(name not in list(Scope) for name in names):
        raise ValueError("must be an array of some of: send, read, admin")
    return [Scope(name) for name in names]


def _domains(value: object) -> list[str]:
    names = [] if value is None else _texts(value)
    if len(names) > DOMAINS:
        raise ValueError(f"must be at most {DOMAINS} domains")
    try:
        return [parse_address(f"x@{name}").rpartition("@")[2].lower() for name in names]
    except AddressError:
        raise ValueError("must be an array of domains such as example.com") from None


def _rate(value: object) -> int | None:
    number = int(value) if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value, re.ASCII) else value
    if number is None or (isinstance(number, int) and not isinstance(number, bool) and 1 <= number <= RATE):
        return number
    raise ValueError(f"must be a whole number of mails a minute, from 1 to {RATE}")


def _texts(value: object) -> Sequence[str]:
    """An array of strings; from a form, a text with commas."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list) or not all(isinstance(part, str) for part in parts):
        raise ValueError("must be an array of strings")
    return [part.strip() for part in parts]


FIELDS = {"name": _name, "scopes": _scopes, "domains": _domains, "rate": _rate}
