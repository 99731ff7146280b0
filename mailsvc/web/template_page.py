"""The page of the templates: which there are, what each says, and what it makes of some variables. Needs no scripts."""

from __future__ import annotations

from typing import Any

import orjson

from ..errors import InvalidMail, NotFound
from ..templates import Rendered
from .body import fields
from .email import query
from .frame import Frame
from .page import Page, show, templates
from .problem import invalid
from .session import FIELD
from .templates import number


class TemplatesPage(Page):
    """`/settings/templates`."""

    async def get(self) -> None:
        """All templates by name, and the one that is asked for by `name`, as of `version` or the newest."""
        self.admit()
        asked = query(self, "name", "version")
        version = number(asked["version"]) if "version" in asked else None
        found, chosen, names = self.service.templates, None, list[str]()
        if "name" in asked:
            chosen = await found.get(asked["name"], version)
            names = list(await found.names(chosen))
        variables = orjson.dumps({name: name for name in names}, option=orjson.OPT_INDENT_2).decode()
        await show(self, "templates.html", all=await found.all(), chosen=chosen, names=names, variables=variables)


class TemplateFrame(Frame):
    """`/settings/templates/preview`."""

    async def post(self) -> None:
        """What the template `name` makes of `variables`, a text of JSON: its HTML, or with `view` its text."""
        self.admit()
        headers = self.request.headers
        given = fields(headers.get("Content-Type"), headers.get("Content-Encoding"), self.body)
        given.pop(FIELD, None)
        try:
            version = number(str(given["version"])) if "version" in given else None
            template = await self.service.templates.get(str(given.get("name")), version)
            made = await self.service.templates.render(template, _variables(given.get("variables")))
        except InvalidMail as error:
            self.show_words("; ".join(f"{fault.field} {fault.message}" for fault in error.faults))
        except NotFound as error:
            self.show_words(str(error))
        else:
            html = made.html if given.get("view") == "html" else _plain(made)
            self.show_html(html) if html else self.show_words("This template has no HTML part.")


def _plain(made: Rendered) -> str:
    text = f"{made.subject}\n\n{made.text or ''}"
    return templates().get_template("parts/plain.html").render(text=text)


def _variables(text: Any) -> dict[str, Any]:
    try:
        found = orjson.loads(text or "{}")
    except (orjson.JSONDecodeError, TypeError):
        found = None
    if not isinstance(found, dict):
        raise invalid("variables", "invalid", "must be an object of JSON")
    return found
