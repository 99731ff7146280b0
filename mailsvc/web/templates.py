"""Templates: list them, look at one, change it, remove it, and see what would become of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from ..access import Scope
from ..errors import Forbidden
from ..template import MAX_PART, MAX_SUBJECT, MAX_VERSION, NAME, PARTS, Template
from .base import Handler, rfc3339
from .callback_fields import Read, given
from .email import query
from .problem import invalid
from .shapes import JSON, TEXT_ANY, Schema, array, known, optional, shape, words

BODIES = ("content", "html", "text")
_SOURCES: dict[str, Schema] = {
    "subject": {"type": "string", "minLength": 1, "maxLength": MAX_SUBJECT},
    **{name: {"type": "string", "minLength": 1, "maxLength": MAX_PART} for name in BODIES},
}
_VERSION: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_VERSION}
_VARIABLES: Schema = {"type": "object", "description": "Any JSON, by the names that the template uses."}


class Templates(Handler):
    """`/templates`."""

    summary = "The templates that there are"
    gives: ClassVar = {"get": (200, {JSON: shape(data=array(known("TemplateSummary")))})}

    async def get(self) -> None:
        """The newest version of each, in the order of their names, without their bodies."""
        self.admit()
        self.send_json({"data": [summary(template) for template in await self.service.templates.all()]})


class OneTemplate(Handler):
    """`/templates/<name>`."""

    summary = "One template: look at it, make a new version of it, remove it"
    asks: ClassVar[dict[str, Schema]] = {"version": _VERSION | {"description": "Default: the newest."}}
    gives: ClassVar = {
        "get": (200, {JSON: known("Template")}),
        "put": (200, {JSON: known("Template")}),
        "delete": (200, {JSON: shape(name=TEXT_ANY, status=words("removed"))}),
    }
    fails: ClassVar = {"put": (409,), "delete": (409,)}
    takes: ClassVar[dict[str, Any] | None] = {
        "type": "object",
        "properties": {"subject": _SOURCES["subject"], **optional(**{name: _SOURCES[name] for name in BODIES})},
        "required": ["subject"],
        "additionalProperties": False,
    }

    async def get(self, name: str) -> None:
        """All of it, with the names of the variables that it uses."""
        self.admit()
        version = query(self, "version").get("version")
        await self._show(await self.service.templates.get(name, None if version is None else number(version)))

    async def put(self, name: str) -> None:
        """Make this the newest version. If it is that already, none is made. 409 `read_only` for one that is a file."""
        self.admit()
        if not NAME.fullmatch(name):
            raise invalid("name", "invalid", "must be 1 to 64 letters, digits and . _ -, the first of them no sign")
        parts = _parts(given(self, _READ, ("subject",)))
        await self._show(await self.service.templates.put(Template.of(name, parts)))

    async def delete(self, name: str) -> None:
        """Remove it, with all its versions. Mails that were made from it stay as they are."""
        self.admit()
        await self.service.templates.remove(name)
        self.send_json({"name": name, "status": "removed"})

    async def _show(self, template: Template) -> None:
        names = await self.service.templates.names(template)
        bodies = {name: getattr(template, name) for name in BODIES}
        self.send_json(summary(template) | bodies | {"variables": names})


class PreviewTemplate(Handler):
    """`/templates/<name>/preview`."""

    summary = "See what a template makes of some variables"
    takes: ClassVar[dict[str, Any] | None] = {
        "type": "object",
        "properties": optional(
            variables=_VARIABLES,
            version=_VERSION | {"description": "Default: the newest."},
            **{name: schema | {"description": "Instead of what is kept."} for name, schema in _SOURCES.items()},
        ),
        "additionalProperties": False,
    }
    gives: ClassVar = {"post": (200, {JSON: known("Preview")})}

    async def post(self, name: str) -> None:
        """Subject, HTML and text as a mail would have them. With parts in the request, of these, which need `admin`."""
        self.admit(Scope.READ)
        found = given(self, {"variables": _variables, "version": _version, **_READ})
        if found.keys() & set(PARTS):
            if not self.key.may(Scope.ADMIN):
                raise Forbidden("Templates of your own need a key with the scope `admin`.")
            template = Template.of(name, _parts(found))
        else:
            template = await self.service.templates.get(name, found.get("version"))
        made = await self.service.templates.render(template, found.get("variables", {}))
        shown = {"name": template.name, "version": template.version}
        self.send_json(shown | {"subject": made.subject, "html": made.html, "text": made.text})


def summary(template: Template) -> dict[str, Any]:
    """A template as a list shows it."""
    return {
        "name": template.name,
        "version": template.version,
        "source": "file" if template.version is None else "api",
        "subject": template.subject,
        "created_at": rfc3339(template.created_at),
    }


def _parts(found: Mapping[str, Any]) -> dict[str, str]:
    """The parts of a template that go together. Raises InvalidMail."""
    parts = {part: found[part] for part in PARTS if part in found}
    if "subject" not in parts:
        raise invalid("subject", "missing", "is needed")
    if not parts.keys() - {"subject"}:
        raise invalid("content", "missing", "is needed, or html, or text")
    if "content" in parts and parts.keys() & {"html", "text"}:
        raise invalid("content", "exclusive", "excludes html and text")
    return parts


def _source(most: int) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or not 1 <= len(value) <= most or "\x00" in value:
            raise ValueError(f"must be a text of 1 to {most} characters without U+0000")
        return value

    return read


def _variables(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    return value


def _version(value: object) -> int:
    if isinstance(value, str) and re.fullmatch(r"\d{1,10}", value, re.ASCII):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_VERSION:
        raise ValueError(f"must be a whole number from 1 to {MAX_VERSION}")
    return value


def number(text: str) -> int:
    """The number of a version. Raises InvalidMail."""
    try:
        return _version(text)
    except ValueError as error:
        raise invalid("version", "out_of_range", str(error)) from None


_READ: Mapping[str, Read] = {
    "subject": _source(MAX_SUBJECT),
    **{name: _source(MAX_PART) for name in BODIES},
}
