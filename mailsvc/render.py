"""Markdown to the two parts of a mail: safe HTML in a small layout, and the source as the text part.

Two walls: comrak in its safe mode (raw HTML is left out, `javascript:` links are emptied), then nh3. Because nh3 is
quadratic on deep nesting, nesting and size are bounded before it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

import comrak
import nh3

from .errors import FieldFault, InvalidMail
from .model import Mail, Message

MAX_NESTING = 100
MAX_HTML = 1024 * 1024
LARGE = 32 * 1024  # characters; above it, rendering takes milliseconds and belongs off the event loop

_EXTENSIONS = comrak.ExtensionOptions()
_EXTENSIONS.table = _EXTENSIONS.autolink = _EXTENSIONS.strikethrough = True
# What may begin a line inside of quotes and lists: their markers, of which each level takes one of its own.
_LINE_START = re.compile(rb"\n[ \t>*+\-0-9.)]+")
_TABLE_AND_MORE = 8  # levels that no marker announces: a table's, a paragraph's, a link's
_TAG = re.compile(r"<(/?)(?!(?:br|hr|img|input)\b)[a-z]")

_LAYOUT = """<!doctype html>
<html>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ margin: 0; font: 16px/1.55 -apple-system, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; color: #1d2126; }}
main {{ display: block; max-width: 38em; margin: 0 auto; padding: 24px 16px; overflow-wrap: break-word; }}
h1, h2, h3 {{ line-height: 1.25; }}
a {{ color: #0b5cad; }}
img {{ max-width: 100%; height: auto; }}
pre, code {{ font: 14px/1.5 ui-monospace, Menlo, Consolas, monospace; background: #f2f3f5; }}
pre {{ padding: 12px; overflow-x: auto; }}
blockquote {{ margin: 0; padding-left: 14px; border-left: 3px solid #d0d4da; color: #555c66; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: 6px 10px; border: 1px solid #d0d4da; text-align: left; }}
@media (prefers-color-scheme: dark) {{
body {{ background: #17191c; color: #e6e8eb; }} a {{ color: #7ab7ff; }} pre, code {{ background: #24282d; }}
}}
</style>
</head>
<body>
<main>
{body}</main>
</body>
</html>
"""


def check(content: str) -> None:
    """Refuse markdown that would become too large or too deep. Raises InvalidMail, naming `content`."""
    if not _plainly_harmless(content):
        _bounded(content)


def render(mail: Mail) -> Message:
    """The message that a provider is asked to send."""
    html, text = mail.html, mail.text
    if mail.content is not None:
        body = nh3.clean(_bounded(mail.content))
        html, text = _LAYOUT.format(title=escape(mail.subject), body=body), mail.content
    return Message(
        id=mail.id,
        sender=mail.sender,
        to=mail.to,
        subject=mail.subject,
        html=html,
        text=text,
        cc=mail.cc,
        bcc=mail.bcc,
        reply_to=mail.reply_to,
        headers=mail.headers,
        tags=mail.tags,
        metadata=mail.metadata,
        attachments=mail.attachments,
        retries=mail.retries,
    )


def typeset(subject: str, source: str, slot: str, values: Sequence[str]) -> tuple[str, str]:
    """Markdown in which slots stand for values, as HTML in the layout and as text. Slots are `slot`, a number and `z`.

    A value is text, whatever it says: it comes to its place when the markdown is HTML already, and before the second
    wall, which looks at where links lead. Raises InvalidMail, naming `content`.
    """
    slots = re.compile(rf"{slot}(\d+)z")
    html = _bounded(source)
    if set(slots.findall(source)) - set(slots.findall(html)):
        words = "content: a value stands where markdown has no place for it, in raw HTML or between < and >"
        raise InvalidMail([FieldFault("content", "lost", words)])
    html = slots.sub(lambda found: escape(values[int(found[1])]), html)
    if len(html) > MAX_HTML:
        raise InvalidMail([FieldFault("content", "too_large", "becomes more than 1 MiB of HTML")])
    text = slots.sub(lambda found: values[int(found[1])], source)
    return _LAYOUT.format(title=escape(subject), body=nh3.clean(html)), text


def _plainly_harmless(content: str) -> bool:
    """Whether the text is too short and too plain to go out of bounds; microseconds instead of a rendering.

    A quote or list takes a marker at the start of a line for each level (a list is two elements deep), emphasis takes a
    pair of delimiters, a link or image a bracket.
    """
    if len(content) > LARGE // 2:
        return False
    source = b"\n" + content.encode()
    if b"\r" in source:
        source = source.replace(b"\r", b"\n")  # which ends a line, too
    markers: int = sum(len(start) - 1 - start.count(b" ") for start in _LINE_START.findall(source))
    delimiters = source.count(b"*") + source.count(b"_") + source.count(b"~")
    return 2 * markers + delimiters // 2 + source.count(b"[") + _TABLE_AND_MORE < MAX_NESTING


def _bounded(content: str) -> str:
    """Markdown -> HTML within the bounds. Raises InvalidMail."""
    html = comrak.render_markdown(content, extension_options=_EXTENSIONS)
    if len(html) > MAX_HTML:
        raise InvalidMail([FieldFault("content", "too_large", "becomes more than 1 MiB of HTML")])
    if html.count("</") > MAX_NESTING and _too_deep(html):
        message = f"nests lists, quotes or emphasis more than {MAX_NESTING} levels deep"
        raise InvalidMail([FieldFault("content", "too_deep", message)])
    return html


def _too_deep(html: str) -> bool:
    depth = 0
    for tag in _TAG.finditer(html):
        depth += -1 if tag[1] else 1
        if depth > MAX_NESTING:
            return True
    return False
