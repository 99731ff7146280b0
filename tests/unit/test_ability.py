"""What a provider lacks for a mail, in words; nothing where it can carry it."""

from typing import Any

import pytest

from mailsvc.ability import Ability
from mailsvc.address import Mailbox
from mailsvc.model import Attachment
from mailsvc.providers.base import PLAIN
from tests.contract.samples import mail

BOX = Mailbox("a@example.com")
FILE = Attachment("run.EXE", "application/octet-stream", None, 3_000_000)
INLINE = Attachment("logo.png", "image/png", "logo", 10)


@pytest.mark.parametrize(
    ("ability", "fields", "lacks"),
    [
        (Ability(), {"cc": (BOX,) * 60, "attachments": (FILE, INLINE), "headers": {"X-A": "ä"}}, None),
        (PLAIN, {}, None),
        (PLAIN, {"cc": (BOX,)}, "takes no cc"),
        (PLAIN, {"reply_to": (BOX,)}, "takes no reply_to"),
        (PLAIN, {"headers": {"X-A": "b"}}, "takes no headers"),
        (PLAIN, {"attachments": (FILE,)}, "takes no attachments"),
        (Ability(recipients=2), {"to": (BOX,), "cc": (BOX,), "bcc": (BOX,)}, "takes at most 2 recipients"),
        (Ability(recipients=3), {"to": (BOX,), "cc": (BOX,), "bcc": (BOX,)}, None),
        (Ability(bcc=1), {"bcc": (BOX, BOX)}, "takes at most 1 addresses in bcc"),
        (Ability(headers=1), {"headers": {"X-A": "b", "X-B": "c"}}, "takes at most 1 headers"),
        (Ability(ascii_headers=True), {"headers": {"X-A": "ä"}}, "takes ASCII only in headers"),
        (Ability(inline=False), {"attachments": (INLINE,)}, "takes no inline attachments"),
        (Ability(unlisted=frozenset({"exe"})), {"attachments": (FILE,)}, "takes no files that end in .exe"),
        (Ability(size=4_000_000), {"attachments": (FILE,)}, "takes at most 3.81 MiB"),
        (Ability(size=4_000_100), {"attachments": (FILE,)}, None),
        (Ability(text=4), {"content": "ääää"}, "takes at most 3.81e-06 MiB of text"),
    ],
)
def test_what_a_provider_lacks(ability: Ability, fields: dict[str, Any], lacks: str | None) -> None:
    assert ability.lacks(mail(**fields)) == lacks
