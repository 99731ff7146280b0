"""What would become of a mail if it were sent now: nothing of it is stored, and nobody is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .ability import weight
from .model import Mail, Message, Status
from .suppression import Suppression

CLIPPED = 102_000  # bytes of HTML beyond which Gmail shows a part alone
_CID = re.compile(r"""\bcid:([^"'\s>)]+)""")


@dataclass(frozen=True, slots=True)
class Plan:
    """`providers` are in the order in which they would be asked, as in an attempt's `considered`, with `size_limit`.

    `size` and `size_limit` are in bytes, None where no limit is known. `suppressed` would get nothing.
    """

    status: Status
    due_at: float
    message: Message
    size: int
    providers: Sequence[dict[str, Any]]
    suppressed: Sequence[Suppression]
    warnings: Sequence[str]


def plan(
    mail: Mail,
    message: Message,
    due: float,
    providers: Sequence[dict[str, Any]],
    suppressed: Mapping[str, Suppression],
) -> Plan:
    """All put together. `suppressed` are those on the list, by their addresses in lower case."""
    left_out = {} if mail.ignore_suppression else suppressed
    nobody = bool(left_out) and all(each.address.lower() in left_out for each in mail.to)
    words = warnings(mail, message)
    if nobody:
        words.append("everybody in `to` is on the suppression list: it would not be sent")
    if not any(row["state"] in ("chosen", "open") for row in providers):
        words.append("no provider can be asked for it now")
    status = Status.SCHEDULED if due > mail.created_at else Status.QUEUED
    status = Status.SUPPRESSED if nobody else status
    return Plan(status, due, message, weight(mail), providers, list(left_out.values()), words)


def warnings(mail: Mail, message: Message) -> list[str]:
    """What is allowed, but is hardly what was meant."""
    found, html = [], message.html or ""
    if html and not message.text:
        found.append("there is no text part: some readers show nothing, and filters for spam like it less")
    if len(html.encode()) > CLIPPED:
        found.append("the HTML has more than 102,000 bytes: Gmail cuts it off there")
    files = {each.content_id for each in mail.attachments if each.content_id}
    shown = set(_CID.findall(html))
    found += [
        f"the HTML shows cid:{name[:100]}, and no attachment has that content_id" for name in sorted(shown - files)
    ]
    found += [f"the HTML does not show the inline attachment cid:{name[:100]}" for name in sorted(files - shown)]
    return found
