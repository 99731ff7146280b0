"""The API described for programs (OpenAPI 3.1), made from the routes and the model that really run."""

from __future__ import annotations

import re
from collections.abc import Iterable
from inspect import getdoc
from typing import Any

from .. import __version__
from ..model import Outcome, Status
from ..submission import Submission
from .base import Handler

ACCEPTING = (("/email", "post"), ("/email/batch", "post"))  # what is done later
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail", "errors", "request_id"],
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "code", "message"],
                "properties": {name: {"type": "string"} for name in ("field", "code", "message")},
            },
        },
        "request_id": {"type": "string"},
    },
}


def describe(routes: Iterable[tuple[str, type[Handler]]]) -> dict[str, Any]:
    """The description. `routes` are the patterns and handlers of the application."""
    submission = Submission.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
    schemas = submission.pop("$defs", {}) | {
        "Mail": submission,
        "Problem": _PROBLEM,
        "Status": {"enum": [status.value for status in Status]},
        "Outcome": {"enum": [outcome.value for outcome in Outcome]},
    }
    paths = {_path(pattern): _operations(pattern, handler) for pattern, handler in routes}
    return {
        "openapi": "3.1.0",
        "info": {"title": "mailsvc", "version": __version__, "description": "A transactional e-mail gateway."},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def _path(pattern: str) -> str:
    """`/email/([^/]+)` as `/email/{id}`, `/providers/([^/]+)/pause` as `/providers/{name}/pause`."""
    return re.sub(r"\(\[\^/\]\+\)", "{name}" if re.match("/(providers|hooks)/", pattern) else "{id}", pattern)


def _operations(pattern: str, handler: type[Handler]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for method in (name.lower() for name in handler.allowed()):
        operation: dict[str, Any] = {
            "summary": handler.summary,
            "description": getdoc(getattr(handler, method)) or "",
            "responses": {
                "202" if (pattern, method) in ACCEPTING else "200": {"description": "done"},
                "default": {
                    "description": "an error",
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                },
            },
        }
        if not handler.public:
            operation["security"] = [{"key": []}, {}]
        takes = {"$ref": "#/components/schemas/Mail"} if pattern == "/email" else handler.takes
        if method in ("post", "patch") and takes:
            schema = {"schema": takes}
            forms = () if takes.get("type") == "array" else ("application/x-www-form-urlencoded", "multipart/form-data")
            kinds = ("application/json", *forms)
            needed = pattern == "/email" or "required" in takes
            operation["requestBody"] = {"required": needed, "content": dict.fromkeys(kinds, schema)}
        name = re.search(r"\{(\w+)\}", _path(pattern))
        if name:
            parameter = {"name": name[1], "in": "path", "required": True, "schema": {"type": "string"}}
            operation["parameters"] = [parameter]
        found[method] = operation
    return found
