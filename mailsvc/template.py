"""A template: the parts of a mail with places for what differs from mail to mail; and how templates are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
PARTS = ("subject", "content", "html", "text")
MAX_SUBJECT = 2000  # characters of its source
MAX_PART = 256 * 1024  # characters of the source of any other part
MOST = 1000  # templates in an outbox
MAX_VERSION = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Template:
    """One version of a template. Its parts are Jinja2; `content` is markdown, and excludes `html` and `text`.

    `version` is None for one that is a file. Times are Unix seconds.
    """

    name: str
    subject: str
    content: str | None = None
    html: str | None = None
    text: str | None = None
    version: int | None = None
    created_at: float | None = None

    @property
    def parts(self) -> dict[str, str]:
        """The parts that there are, by name."""
        found = {part: getattr(self, part) for part in PARTS}
        return {part: text for part, text in found.items() if text is not None}

    @classmethod
    def of(cls, name: str, parts: Mapping[str, str]) -> Template:
        """A template of these parts, which has no version yet."""
        return cls(name, parts["subject"], parts.get("content"), parts.get("html"), parts.get("text"))


@dataclass(frozen=True, slots=True)
class Origin:
    """From which template a mail was made, and from which version of it; None if that is a file."""

    name: str
    version: int | None = None

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"

    @classmethod
    def parse(cls, text: str | None) -> Origin | None:
        """The same from its text."""
        if text is None:
            return None
        name, _, version = text.partition("@")
        return cls(name, int(version) if version else None)


class TemplateStore(Protocol):
    """The templates in an outbox. A version never changes, and its number is not given to another one.

    All methods raise StorageUnavailable and StorageBroken as the outbox does.
    """

    async def put(self, template: Template, now: float) -> Template:
        """Keep these parts as the newest version of that name, durably. If they are it already, it stays as it is.

        Raises Conflict with MOST other ones.
        """

    async def get(self, name: str, version: int | None = None) -> Template | None:
        """A version, the newest if none is named; None if there is none, or the template was removed."""

    async def list(self) -> Sequence[Template]:
        """The newest version of each, in the order of their names."""

    async def remove(self, name: str, now: float) -> bool:
        """All versions of a template are gone, durably. False if there was none."""
