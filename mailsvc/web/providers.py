"""The providers: how they stand, and the hand that pauses one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from .. import process
from ..access import Scope
from ..selector import ProviderState
from ..service import Service
from ..tally import Count
from .base import Handler, rfc3339
from .shapes import JSON, NUMBER, TEXT_ANY, TIME, array, known, maybe, shape, words

SEEN = ("score", "health", "state", "until", "in_flight", "overdue", "last_error", "last_error_at", "sent", "failed")
_SCORES = {"type": "object", "additionalProperties": array(maybe(NUMBER))}


class Providers(Handler):
    """`/providers`."""

    summary = "How each provider stands: score, state and why"
    gives: ClassVar = {"get": (200, {JSON: array(known("Provider"))})}

    async def get(self) -> None:
        """All providers, in the order of the configuration."""
        self.admit()
        found = rows(self.service)
        if not self.key.may(Scope.ADMIN):
            found = [_discreet(row) for row in found]
        self.send_json(found)


class Scores(Handler):
    """`/providers/scores`."""

    summary = "The score of each provider over the last quarter of an hour"
    gives: ClassVar = {"get": (200, {JSON: shape(at=array(TIME), scores=_SCORES)})}

    async def get(self) -> None:
        """The times of the samples, and the scores at those times, null where a provider was not there."""
        self.admit()
        times, scores = self.service.watch.history.series()
        self.send_json({"at": [rfc3339(at) for at in times], "scores": scores})


class Pause(Handler):
    """`/providers/<name>/pause`."""

    summary = "Ask a provider nothing until it is resumed"
    gives: ClassVar = {"post": (200, {JSON: shape(name=TEXT_ANY, state=words("paused"))})}

    async def post(self, name: str) -> None:
        """Pause it; may be repeated."""
        self.admit()
        await self.service.pause(name)
        if self.wants_html:
            self.redirect("/#providers", status=303)
            return
        self.send_json({"name": name, "state": "paused"})


class Resume(Handler):
    """`/providers/<name>/resume`."""

    summary = "Ask a paused provider again"
    gives: ClassVar = {"post": (200, {JSON: shape(name=TEXT_ANY, state=TEXT_ANY)})}

    async def post(self, name: str) -> None:
        """Resume it; may be repeated."""
        self.admit()
        await self.service.resume(name)
        if self.wants_html:
            self.redirect("/#providers", status=303)
            return
        state = next(state.state for state, _ in self.service.providers() if state.name == name)
        self.send_json({"name": name, "state": state})


def rows(service: Service) -> list[dict[str, Any]]:
    """Every provider as the API shows it."""
    offset = time.time() - time.monotonic()
    found = [view(state, count, offset) for state, count in service.providers()]
    own = process.name()
    others = {
        name: sight for name, sight in (service.neighbours.all if service.neighbours else {}).items() if name != own
    }
    return [row | {"processes": [_seen(own, row), *_elsewhere(row["name"], others)]} for row in found]


def _elsewhere(provider: str, others: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """How other processes see a provider; one that is configured otherwise may not know it."""
    for name, sight in others.items():
        if row := sight["providers"].get(provider):
            times = {field: rfc3339(row[field]) for field in ("until", "last_error_at")}
            yield _seen(name, row | times | {"score": round(row["score"], 3), "health": round(row["health"], 4)})


def _seen(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    return {"process": name} | {field: row[field] for field in SEEN}


def _discreet(row: dict[str, Any]) -> dict[str, Any]:
    """Without the errors, which may speak of the mails of others."""
    return row | {"last_error": None, "processes": [seen | {"last_error": None} for seen in row["processes"]]}


def view(state: ProviderState, count: Count, offset: float) -> dict[str, Any]:
    """A provider as the API shows it. `offset` turns the selector's clock into Unix time."""
    return {
        "name": state.name,
        "base_score": state.base,
        "score": round(state.score, 3),
        "health": round(state.health, 4),
        "state": state.state,
        "reason": state.reason,
        "until": rfc3339(state.until + offset) if state.until is not None else None,
        "in_flight": state.in_flight,
        "overdue": state.overdue,
        "last_error": count.last_error,
        "last_error_at": rfc3339(count.last_error_at),
        "sent": count.sent,
        "failed": count.failed,
    }
