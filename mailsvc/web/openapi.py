"""The API described for programs (OpenAPI 3.1), made from the routes, their handlers and the model that really run.

What only a handler knows stands on it, see Handler.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any

from .. import __version__
from ..submission import Submission
from .base import Handler
from .shapes import JSON, SHAPES, known, optional

FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_PROBLEM = {"application/problem+json": {"schema": known("Problem")}}
_RETRY = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}, "required": True}}
_WAY_IN = {"WWW-Authenticate": {"description": "How to come in.", "schema": {"type": "string"}, "required": True}}
_FAULTS = {
    400: ("The request is not what it says it is: not HTTP, not JSON, not a form.", {}),
    401: ("There is no key, or a wrong one.", _WAY_IN),
    403: ("The key does not allow it; or there are no keys, and the request does not come from this machine.", {}),
    404: ("There is no such thing for this caller.", {}),
    409: ("The state of the thing forbids it.", {}),
    413: ("The body is too large.", {}),
    415: ("The body is of a kind that is not taken here.", {}),
    421: ("This server has other names.", {}),
    422: ("A field is wrong. `errors` names each.", {}),
    429: ("Too often.", _RETRY),
    503: ("Not now; nothing has been done.", _RETRY),
}
_MAIL = Submission.model_json_schema(by_alias=True, ref_template="#/components/schemas/{model}")
_NAMED = _MAIL.pop("$defs", {})
_MAIL["properties"] |= optional(
    **{name: each for name, each in _MAIL["properties"].items() if name not in _MAIL["required"]}
)


def describe(routes: Iterable[tuple[str, type[Handler]]]) -> dict[str, Any]:
    """The description. `routes` are the patterns and handlers of the application."""
    schemas = _NAMED | {"Mail": _MAIL} | SHAPES
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "mailsvc",
            "version": __version__,
            "description": "A transactional e-mail gateway.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": {path(pattern, handler): _operations(pattern, handler) for pattern, handler in routes},
        "components": {
            "schemas": schemas,
            "responses": {_name(status): _fault(status) for status in _FAULTS},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
        },
    }


def path(pattern: str, handler: type[Handler]) -> str:
    """`/email/([^/]+)` as `/email/{id}`: the name is that of the handler's argument."""
    return re.sub(r"\(\[\^/\]\+\)", f"{{{_argument(handler)}}}", pattern)


def _argument(handler: type[Handler]) -> str:
    method = getattr(handler, handler.allowed()[0].lower())
    names = [*inspect.signature(method).parameters][1:]
    return "" if not names else "id" if names[0].endswith("_id") else names[0]


def _operations(pattern: str, handler: type[Handler]) -> dict[str, Any]:
    return {method.lower(): _operation(pattern, handler, method.lower()) for method in handler.allowed()}


def _operation(pattern: str, handler: type[Handler], method: str) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": f"{method}{handler.__name__}",
        "tags": [pattern.split("/")[1].partition(".")[0]],
        "summary": handler.summary,
        "description": inspect.getdoc(getattr(handler, method)) or "",
        "responses": _responses(handler, method),
    }
    if parameters := _parameters(handler, method):
        operation["parameters"] = parameters
    if not handler.public:
        operation["security"] = [{"key": []}, {}]
    if body := _body(handler, method):
        operation["requestBody"] = body
    return operation


def _parameters(handler: type[Handler], method: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if name := _argument(handler):
        found.append({"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}})
    if method == "get":
        found += [_query(name, schema) for name, schema in handler.asks.items()]
    headers = {"get": handler.gets_by_header, "post": handler.asks_by_header}.get(method, {})
    found += [{"name": name, "in": "header", "schema": schema} for name, schema in headers.items()]
    return found


def _query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter; of an object, `metadata[order]=1042` is a member."""
    members = {"style": "deepObject", "explode": True} if schema.get("type") == "object" else {}
    return {"name": name, "in": "query", **members, "schema": schema}


def _body(handler: type[Handler], method: str) -> dict[str, Any] | None:
    if method not in ("post", "patch", "put"):
        return None
    takes = handler.takes or {}
    content: dict[str, Any] = {JSON: {"schema": takes}} if takes else {}
    if takes and takes.get("type") != "array":
        content |= {kind: {"schema": _form(_MAIL if "$ref" in takes else takes)} for kind in FORMS}
    content |= {kind: {"schema": {"type": "string"}} for kind in handler.takes_also}
    return {"required": bool({"$ref", "required", "items"} & takes.keys()), "content": content} if content else None


def _form(takes: dict[str, Any]) -> dict[str, Any]:
    """The fields of a form by name. They are texts by the same rules, but one that is empty counts as not given."""
    fields = takes.get("properties", {}).items()
    said = {name: {key: each[key] for key in ("description", "examples") if key in each} for name, each in fields}
    return takes | {"properties": said}


def _responses(handler: type[Handler], method: str) -> dict[str, Any]:
    status, content = handler.gives[method]
    done: dict[str, Any] = {"description": "Done."}
    if method != "head":
        done["content"] = {kind: {"schema": schema} for kind, schema in content.items()}
    faults = {str(each): {"$ref": f"#/components/responses/{_name(each)}"} for each in _possible(handler, method)}
    if method == "head":  # the same, without a body
        faults = {each: {"description": _FAULTS[int(each)][0]} for each in faults}
    found = {str(status): done}
    if method in handler.gives_also:
        status, content = handler.gives_also[method]
        shapes = {kind: {"schema": schema} for kind, schema in content.items()}
        found[str(status)] = {"description": "Tried out, and not done.", "content": shapes}
    return found | faults


def _possible(handler: type[Handler], method: str) -> list[int]:
    """The faults that an operation can answer with."""
    found = {400, *handler.fails.get(method, ())}
    if not handler.public:
        found |= {401, 403, 421, 429, 503}
    if _argument(handler):
        found |= {404, 429}
    if handler.asks and method == "get":
        found.add(422)
    if body := _body(handler, method):
        found |= {413} if "*/*" in body["content"] else {413, 415, 422}
    return sorted(found)


def _name(status: int) -> str:
    return f"Problem{status}"


def _fault(status: int) -> dict[str, Any]:
    words, headers = _FAULTS[status]
    return {"description": words, "content": _PROBLEM} | ({"headers": headers} if headers else {})
