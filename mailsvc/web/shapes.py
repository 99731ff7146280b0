"""What the API takes and shows, as JSON schemas (2020-12): the parts of which the description is made.

Every object names all of its fields and allows no others, so that a test sees when one is added or forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..access import Scope
from ..callback import PATTERNS, State
from ..decision import Decision
from ..model import Outcome, Priority, Resolution, Status

Schema = dict[str, Any]
JSON, CSV, STREAM, TEXT = "application/json", "text/csv", "text/event-stream", "text/plain"
SQLITE, OPEN_METRICS = "application/vnd.sqlite3", "application/openmetrics-text"

TEXT_ANY: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
TIME: Schema = {"type": "string", "format": "date-time"}


def maybe(schema: Schema) -> Schema:
    """The same, or null."""
    if {"type": "null"} in schema.get("anyOf", ()):
        return schema
    simple = "type" in schema and "enum" not in schema
    if simple:
        return schema | {"type": [schema["type"], "null"]}
    said = {key: schema[key] for key in ("default", "description", "examples") if key in schema}
    return said | {"anyOf": [{key: schema[key] for key in schema.keys() - said.keys()}, {"type": "null"}]}


def optional(**fields: Schema) -> dict[str, Schema]:
    """Fields of a request that may be left out, or null, which is the same."""
    return {name: maybe(schema) for name, schema in fields.items()}


def array(items: Schema) -> Schema:
    """An array of them."""
    return {"type": "array", "items": items}


def shape(**fields: Schema) -> Schema:
    """An object with these fields, all of them there; `from_` is `from`."""
    named = {name.removesuffix("_"): schema for name, schema in fields.items()}
    return {"type": "object", "properties": named, "required": [*named], "additionalProperties": False}


def known(name: str) -> Schema:
    """One of SHAPES, or `Mail`, which is made from the model."""
    return {"$ref": f"#/components/schemas/{name}"}


def page(items: Schema) -> Schema:
    """A page of a list, and whether there is another one after it."""
    return shape(data=array(items), has_more={"type": "boolean"})


def limit(usual: int, most: int) -> Schema:
    """How many at a time."""
    return {"type": "integer", "minimum": 1, "maximum": most, "default": usual}


def words(*found: str) -> Schema:
    """One of some words."""
    return {"type": "string", "enum": [*found]}


ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
IDEMPOTENCY_KEY: dict[str, Schema] = {
    "Idempotency-Key": {
        "type": "string",
        "pattern": "^[!-~]([ -~]{0,254}[!-~])?$",
        "description": "The same key is the same request.",
    }
}
_PROBLEM = {
    "type": {"const": "about:blank"},
    "title": TEXT_ANY,
    "status": {"type": "integer"},
    "code": {"type": "string", "description": "Stable, for programs."},
    "detail": TEXT_ANY,
    "errors": array(shape(field=TEXT_ANY, code=TEXT_ANY, message=TEXT_ANY)),
}
_RECIPIENT = shape(address=maybe(TEXT_ANY), role=words("to", "cc", "bcc"), status=known("Status"))
_ATTEMPT = shape(
    n=COUNT,
    provider=TEXT_ANY,
    outcome=maybe(known("Outcome")),
    http_status=maybe({"type": "integer"}),
    detail=maybe(TEXT_ANY),
    started_at=TIME,
    ended_at=maybe(TIME),
    score=maybe(NUMBER),
    considered={"description": "Each provider as it stood when this one was chosen; null if none was chosen from."},
    resolved=maybe(words(*Resolution)),
)
_EVENT = shape(type=TEXT_ANY, at=TIME, provider=maybe(TEXT_ANY), recipient=maybe(TEXT_ANY), detail=maybe(TEXT_ANY))
_SEEN = {
    "score": NUMBER,
    "health": NUMBER,
    "state": TEXT_ANY,
    "until": maybe(TIME),
    "in_flight": COUNT,
    "overdue": COUNT,
    "last_error": maybe(TEXT_ANY),
    "last_error_at": maybe(TIME),
    "sent": COUNT,
    "failed": COUNT,
}
_KEY = {
    "id": TEXT_ANY,
    "name": TEXT_ANY,
    "scopes": array(words(*Scope)),
    "domains": array(TEXT_ANY),
    "rate": maybe(COUNT),
    "created_at": TIME,
    "revoked_at": maybe(TIME),
}
_CALLBACK = {
    "id": TEXT_ANY,
    "url": {"type": "string"},
    "events": array(words(*PATTERNS)),
    "description": TEXT_ANY,
    "enabled": {"type": "boolean"},
    "disabled_at": maybe(TIME),
    "disabled_reason": maybe(TEXT_ANY),
    "failing_since": maybe(TIME),
    "created_at": TIME,
    "secrets": array(shape(expires_at=maybe(TIME))),
    "waiting": COUNT,
    "last_delivery": maybe(known("Delivery")),
}

_TEMPLATE = {
    "name": TEXT_ANY,
    "version": maybe(COUNT) | {"description": "Null for one that is a file."},
    "source": words("api", "file"),
    "subject": TEXT_ANY,
    "created_at": maybe(TIME),
}

SHAPES: Mapping[str, Schema] = {
    "Status": words(*Status),
    "Outcome": words(*Outcome),
    "Decision": words(*Decision),
    "Accepted": shape(id=ID, status=known("Status"), created_at=TIME),
    "AcceptedOrNot": {"oneOf": [shape(id=ID, status=known("Status")), shape(error=shape(**_PROBLEM))]},
    "MailRecord": shape(
        id=ID,
        status=known("Status"),
        to=array(maybe(TEXT_ANY)),
        recipients=array(_RECIPIENT),
        subject=maybe(TEXT_ANY),
        from_=maybe(TEXT_ANY),
        tags=array(TEXT_ANY),
        metadata={"type": "object", "additionalProperties": TEXT_ANY},
        created_at=TIME,
        updated_at=TIME,
        due_at=maybe(TIME),
        expires_at=maybe(TIME),
        priority=words(*Priority),
        sensitive={"type": "boolean"},
        provider=maybe(TEXT_ANY),
        provider_message_id=maybe(TEXT_ANY),
        error=maybe(TEXT_ANY),
        erased_at=maybe(TIME),
        template=maybe(shape(name=TEXT_ANY, version=maybe(COUNT))),
        attempts=array(_ATTEMPT),
        events=array(_EVENT),
    ),
    "Plan": shape(
        dry_run={"const": True},
        status=known("Status"),
        due_at=TIME,
        from_=TEXT_ANY,
        to=array(TEXT_ANY),
        subject=TEXT_ANY,
        html=maybe(TEXT_ANY),
        text=maybe(TEXT_ANY),
        size=COUNT,
        providers=array({"type": "object"}),
        suppressed=array(shape(address=TEXT_ANY, reason=TEXT_ANY)),
        warnings=array(TEXT_ANY),
    ),
    "Provider": shape(
        name=TEXT_ANY,
        base_score=NUMBER,
        reason=maybe(TEXT_ANY),
        processes=array(shape(process=TEXT_ANY, **_SEEN)),
        **_SEEN,
    ),
    "Key": shape(**_KEY),
    "NewKey": shape(**_KEY, key={"type": "string", "description": "Its text, shown this once."}),
    "Callback": shape(**_CALLBACK),
    "NewCallback": shape(**_CALLBACK, secret={"type": "string", "description": "Shown this once."}),
    "Delivery": shape(
        id=TEXT_ANY,
        type=TEXT_ANY,
        mail=maybe(TEXT_ANY),
        at=TIME,
        status=words(*State),
        due_at=maybe(TIME),
        attempts=array(
            shape(n=COUNT, at=TIME, seconds=NUMBER, http_status=maybe({"type": "integer"}), error=maybe(TEXT_ANY))
        ),
    ),
    "TemplateSummary": shape(**_TEMPLATE),
    "Template": shape(
        **_TEMPLATE,
        content=maybe(TEXT_ANY),
        html=maybe(TEXT_ANY),
        text=maybe(TEXT_ANY),
        variables=array(TEXT_ANY),
    ),
    "Preview": shape(name=TEXT_ANY, version=maybe(COUNT), subject=TEXT_ANY, html=maybe(TEXT_ANY), text=maybe(TEXT_ANY)),
    "Suppression": shape(
        address=TEXT_ANY,
        reason=TEXT_ANY,
        source=TEXT_ANY,
        created_at=TIME,
        expires_at=maybe(TIME),
        mail_id=maybe(TEXT_ANY),
    ),
    "Problem": shape(**_PROBLEM, request_id=TEXT_ANY),
}
