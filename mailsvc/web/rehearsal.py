"""The knobs of a rehearsal."""

from __future__ import annotations

import re
from dataclasses import asdict
from typing import Any

from ..access import Scope
from ..errors import FieldFault, InvalidMail
from ..rehearsal import ACTORS, MAX_LATENCY, MAX_LIMIT, MAX_MAILS, RATES, Knobs, Rehearsal
from ..service import Service
from .base import Handler
from .body import fields
from .problem import Problem
from .session import FIELD

MINUTES = 2 * 60  # seconds a stream lasts, unless that would be too many mails


class _Knobs(Handler):
    """The base: there must be a rehearsal, and a browser's form leads back to the page."""

    def admit(self, scope: Scope | None = None) -> None:
        """Raises Problem."""
        super().admit(scope)
        if self.service.rehearsal is None:
            raise Problem(404, "not_found", "This is not a rehearsal. Start one with: mailsvc serve --demo")
        self.rehearsal: Rehearsal = self.service.rehearsal

    def given(self, *known: str) -> dict[str, str]:
        """The form's fields, or those of a JSON object, as text."""
        headers = self.request.headers
        found = fields(headers.get("Content-Type"), headers.get("Content-Encoding"), self.body)
        unknown = [name for name in found if name not in (*known, FIELD)]
        if unknown:
            raise InvalidMail([FieldFault(name, "unknown_field", "is not a knob") for name in unknown])
        return {name: str(value) for name, value in found.items()}

    def answer(self) -> None:
        """How everything stands now."""
        if self.wants_html:
            self.redirect("/#rehearsal", status=303)
        else:
            self.send_json(stage(self.service))


class Stage(_Knobs):
    """`/rehearsal`."""

    summary = "The knobs of a rehearsal, and its stream of mails"

    async def get(self) -> None:
        """How everything stands."""
        self.admit()
        self.send_json(stage(self.service))


class Turn(_Knobs):
    """`/rehearsal/providers/<name>`."""

    summary = "Turn the knobs of one provider of a rehearsal"

    async def post(self, name: str) -> None:
        """Set knobs of a provider: failing (percent), latency (ms), limit (mails in 10 s, 0: none), hang (1, 0).

        What is not named stays; but a browser's form names a box only if it is ticked.
        """
        self.admit()
        if name not in ACTORS:
            raise Problem(
                404, "not_found", f"There is no such provider in the rehearsal; there is {', '.join(ACTORS)}."
            )
        now = asdict(self.rehearsal.knobs[name])
        if self.wants_html:
            now["hang"] = False
        values = {knob: str(value) for knob, value in now.items()} | self.given("failing", "latency", "limit", "hang")
        self.rehearsal.knobs[name] = Knobs(
            failing=_number(values, "failing", 100),
            latency=_number(values, "latency", MAX_LATENCY),
            limit=_number(values, "limit", MAX_LIMIT),
            hang=values["hang"] in ("1", "on", "true", "True"),
        )
        self.answer()


class Play(_Knobs):
    """`/rehearsal/stream`."""

    summary = "Begin a stream of mails to nobody"

    async def post(self) -> None:
        """`rate` mails a second for two minutes. One that runs ends."""
        self.admit()
        rate = _number(self.given("rate"), "rate", max(RATES)) or RATES[0]
        await self.rehearsal.play(self.service.acceptance.accept, rate, min(MAX_MAILS, rate * MINUTES))
        self.answer()


class Stop(_Knobs):
    """`/rehearsal/stream/stop`."""

    summary = "End the stream of mails"

    async def post(self) -> None:
        """No more mails; those that were accepted still go their way."""
        self.admit()
        await self.rehearsal.stop()
        self.answer()


def stage(service: Service) -> dict[str, Any] | None:
    """The knobs and the stream as JSON; None if this is no rehearsal."""
    rehearsal = service.rehearsal
    if rehearsal is None:
        return None
    return {
        "providers": {name: asdict(knobs) for name, knobs in rehearsal.knobs.items()},
        "stream": asdict(rehearsal.stream) if rehearsal.stream else None,
    }


def _number(values: dict[str, str], name: str, most: int) -> int:
    text = values.get(name, "0")
    if not re.fullmatch(r"\d{1,6}", text, re.ASCII) or int(text) > most:
        raise InvalidMail([FieldFault(name, "out_of_range", f"must be a whole number from 0 to {most}")])
    return int(text)
