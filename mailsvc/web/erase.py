"""A recipient who wants to be forgotten."""

from __future__ import annotations

from typing import Any, ClassVar

from ..address import AddressError, parse_address
from .base import Handler
from .body import fields
from .problem import invalid
from .shapes import COUNT, JSON, shape


class Erase(Handler):
    """`/erase`."""

    summary = "Erase a recipient from all mails that are final"
    gives: ClassVar = {"post": (200, {JSON: shape(erased=COUNT, waiting=COUNT)})}
    takes: ClassVar[dict[str, Any] | None] = {
        "type": "object",
        "properties": {"address": {"type": "string"}},
        "required": ["address"],
        "additionalProperties": False,
    }

    async def post(self) -> None:
        """How many mails were erased, and how many wait because they are not final yet: ask again for those."""
        self.admit()
        headers = self.request.headers
        given = fields(headers.get("Content-Type"), headers.get("Content-Encoding"), self.body)
        for name in given.keys() - {"address"}:
            raise invalid(str(name)[:100], "unknown_field", "is not a field here; there is `address`")
        done = await self.service.mails.erase(_address(given.get("address")))
        self.send_json({"erased": done.erased, "waiting": done.waiting})


def _address(value: object) -> str:
    if not isinstance(value, str):
        raise invalid("address", "missing", "is needed: an address such as ann@example.com")
    try:
        return parse_address(value.strip(" "))
    except AddressError as error:
        raise invalid("address", error.code, str(error)) from error
