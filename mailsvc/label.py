"""Tags and metadata as providers take them. What a provider cannot say is left out: it is no part of what is read."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .model import Message

OWN_ID = "mailsvc_id"  # under this name our own id of a mail goes to a provider, to come back in its reports
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,256}")


def metadata(
    message: Message,
    *,
    count: int | None = None,
    name: int | None = None,
    value: int | None = None,
    size: int | None = None,
    ascii_only: bool = False,
) -> dict[str, str]:
    """Our id and then the metadata: at most `count` with it, each within its characters, all within `size` bytes.

    The bytes are those of names and values, with 8 for what JSON puts around each pair. `ascii_only` leaves out
    backslashes, too, which some take for escapes.
    """
    found, used = {OWN_ID: message.id}, _pair(OWN_ID, message.id)
    for key, text in message.metadata.items():
        too_long = (name is not None and len(key) > name) or (value is not None and len(text) > value)
        used_then = used + _pair(key, text)
        if (
            too_long
            or (ascii_only and not (text.isascii() and "\\" not in text))
            or (size is not None and used_then > size)
        ):
            continue
        if count is not None and len(found) >= count:
            break
        found[key], used = text, used_then
    return found


def plain_pairs(message: Message) -> dict[str, str]:
    """Our id, tags as `tag`, `tag_2`, …, and metadata, as far as they are letters, digits, `_` and `-` only."""
    numbered = {f"tag_{n}" if n > 1 else "tag": tag for n, tag in enumerate(message.tags, 1)}
    pairs = {OWN_ID: message.id, **message.metadata, **numbered}
    return {key: text for key, text in pairs.items() if _PLAIN.fullmatch(key) and _PLAIN.fullmatch(text)}


def ascii_tags(tags: Iterable[str], most: int) -> list[str]:
    """The first of the tags that are ASCII."""
    return [tag for tag in tags if tag.isascii()][:most]


def _pair(key: str, text: str) -> int:
    return len(key.encode()) + len(text.encode()) + 8
