"""The templates of a running service: those in its folder, which nobody changes, and those in its outbox."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog

from . import template_files
from .address import control_character
from .errors import ConfigError, Conflict, FieldFault, InvalidMail, NotFound
from .field import MAX_SUBJECT
from .render import LARGE, typeset
from .submission import Submission, TemplateUse
from .template import Template, TemplateStore
from .templating import Templating

NONE = "there is no template with this name, or no such version of it"

log = structlog.get_logger("mailsvc.templates")


@dataclass(frozen=True, slots=True)
class Rendered:
    """The parts of a mail that was made from a template; at least one of `html` and `text` is there."""

    subject: str
    html: str | None
    text: str | None


class Templates:
    """What the web handlers ask, and what makes mails of templates. A file hides what is kept by its name."""

    def __init__(self, store: TemplateStore, folder: Path | None = None) -> None:
        self._store, self._folder = store, folder
        self._files: Mapping[str, Template] = {}
        self._templating = Templating()

    async def load(self) -> None:
        """Read the folder, this once. Raises ConfigError with every fault."""
        if self._folder is None:
            return
        found, faults = await asyncio.to_thread(template_files.load, self._folder)
        faults += [fault for template in found for fault in await self._faults(self._folder, template)]
        if faults:
            await self.close()
            raise ConfigError(faults)
        self._files = {template.name: template for template in found}

    async def _faults(self, folder: Path, template: Template) -> list[str]:
        try:
            await self._templating.names(template.parts)
        except InvalidMail as error:
            return [
                f"MAILSVC_TEMPLATES: {folder / template.name}: {each.field} {each.message}" for each in error.faults
            ]
        return []

    async def all(self) -> Sequence[Template]:
        """The newest version of each, in the order of their names."""
        kept = {template.name: template for template in await self._store.list()}
        return [template for _, template in sorted({**kept, **self._files}.items())]

    async def get(self, name: str, version: int | None = None) -> Template:
        """A version, or the newest. Raises NotFound."""
        if name in self._files:
            if version is not None:
                raise NotFound(NONE)
            return self._files[name]
        template = await self._store.get(name, version)
        if template is None:
            raise NotFound(NONE)
        return template

    async def put(self, template: Template) -> Template:
        """Keep a new version. Raises InvalidMail naming parts, Conflict for one that is a file, Unavailable."""
        self._refuse_file(template.name)
        await self._templating.names(template.parts)
        kept = await self._store.put(template, time.time())
        log.info("template_kept", template=kept.name, version=kept.version)
        return kept

    async def remove(self, name: str) -> None:
        """Remove all versions. Raises NotFound, Conflict for one that is a file."""
        self._refuse_file(name)
        if not await self._store.remove(name, time.time()):
            raise NotFound(NONE)
        log.info("template_removed", template=name)

    async def names(self, template: Template) -> Sequence[str]:
        """The variables that it names."""
        return await self._templating.names(template.parts)

    async def render(self, template: Template, variables: Mapping[str, Any]) -> Rendered:
        """What a mail would say. Raises InvalidMail naming parts and `variables.…`, Unavailable."""
        made = await self._templating.render(template.parts, variables)
        texts = made["texts"]
        subject = _subject(texts["subject"])
        if "content" not in texts:
            if not (texts.get("html") or texts.get("text")):
                empty = "html" if "html" in texts else "text"
                raise InvalidMail([FieldFault(empty, "too_short", f"{empty}: is empty")])
            return Rendered(subject, texts.get("html"), texts.get("text"))
        given = (subject, texts["content"], made["slot"], made["values"])
        large = len(texts["content"]) + sum(map(len, made["values"])) > LARGE
        html, text = await asyncio.to_thread(typeset, *given) if large else typeset(*given)
        return Rendered(subject, html, text)

    async def filled(self, submission: Submission) -> Submission:
        """A mail with what its template says. Raises InvalidMail naming `template…`, Unavailable."""
        use = submission.template
        if use is None:
            return submission
        try:
            template = await self.get(use.name, use.version)
            made = await self.render(template, use.variables)
        except NotFound as error:
            field = "template.name" if use.version is None else "template.version"
            raise InvalidMail([FieldFault(field, "unknown_template", str(error))]) from error
        except InvalidMail as error:
            raise InvalidMail([_within(fault) for fault in error.faults]) from error
        used = TemplateUse(name=template.name, version=template.version, variables={})
        return submission.model_copy(
            update={"subject": made.subject, "html": made.html, "text": made.text, "template": used}
        )

    async def close(self) -> None:
        """End the process that renders."""
        await self._templating.close()

    def _refuse_file(self, name: str) -> None:
        if name in self._files:
            raise Conflict("this template is a file of MAILSVC_TEMPLATES; change it there", "read_only")


def _subject(text: str) -> str:
    """One line. Raises InvalidMail."""
    text = text.strip()
    if not text:
        raise InvalidMail([FieldFault("subject", "too_short", "subject: is empty")])
    if len(text) > MAX_SUBJECT:
        raise InvalidMail([FieldFault("subject", "too_long", f"subject: is longer than {MAX_SUBJECT} characters")])
    if control := control_character(text):
        raise InvalidMail([FieldFault("subject", "control_character", f"subject: contains {control}")])
    return text


def _within(fault: FieldFault) -> FieldFault:
    """The fault as a caller of `POST /email` sees it."""
    inner = fault.field.startswith("variables")
    return replace(fault, field=f"template.{fault.field}" if inner else "template")
