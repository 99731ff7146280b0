"""The templates in a folder: can each be read and used, as the start does it."""

from __future__ import annotations

from .. import template_files
from ..config import Config
from ..errors import InvalidMail, MailsvcError
from ..templating import Templating
from .base import Finding, misconfigured, ok

SUBJECT = "MAILSVC_TEMPLATES"
FIX = "mend the file, or leave the setting out"


async def check(config: Config) -> list[Finding]:
    """A line for each fault, or one; none where there is no folder."""
    if config.templates is None:
        return []
    found, told = template_files.load(config.templates)
    faults = [misconfigured(SUBJECT, fault.removeprefix(f"{SUBJECT}: "), FIX) for fault in told]
    templating = Templating()
    try:
        for template in found:
            place = config.templates / template.name
            try:
                await templating.names(template.parts)
            except InvalidMail as error:
                faults += [
                    misconfigured(SUBJECT, f"{place}: {each.field} {each.message}", FIX) for each in error.faults
                ]
            except MailsvcError as error:
                return [
                    *faults,
                    misconfigured(SUBJECT, str(error), "see whether this machine has memory and processes left"),
                ]
    finally:
        await templating.close()
    return faults or [ok(SUBJECT, f"{len(found)} read from {config.templates}")]
