"""The mail with everything in it, and what of it can be said to each provider."""

from __future__ import annotations

from dataclasses import replace

from mailsvc.address import Mailbox
from mailsvc.model import Attachment, Mail, Message, OnUncertain
from mailsvc.providers import all_providers
from tests.providers.cases import MESSAGE

PIXEL = b"\x89PNG\r\n\x1a\n\x00\xff"
TABLE = "Größe;Preis\r\nXL;9 €\r\n".encode()
WHOLE = replace(
    MESSAGE,
    cc=(Mailbox("carol@example.org", "Čarol, {{x}}"), Mailbox("carl@xn--bcher-kva.example")),
    bcc=(Mailbox("dave@example.org", "Dave Ö"), Mailbox("eve@example.net")),
    reply_to=(Mailbox("help@example.com", "Hílfe, Desk"),),
    html='<p>Hällo <img src="cid:logo"></p>',
    headers={"X-Order": "4711", "x-weird-Name": "a, b; c"},
    tags=("receipt", "größe", "shop"),
    metadata={"order": "4711", "note": "grün & blau", "a.b": "c d"},
    attachments=(
        Attachment("Größen – 2024.csv", "text/csv", None, len(TABLE), TABLE),
        Attachment("logo.png", "image/png", "logo", len(PIXEL), PIXEL),
    ),
)


def mail(message: Message) -> Mail:
    """The mail of which this is the message."""
    return Mail(
        id=message.id,
        created_at=0.0,
        sender=message.sender,
        to=message.to,
        subject=message.subject,
        on_uncertain=OnUncertain.HOLD,
        html=message.html,
        text=message.text,
        cc=message.cc,
        bcc=message.bcc,
        reply_to=message.reply_to,
        headers=message.headers,
        tags=message.tags,
        metadata=message.metadata,
        attachments=message.attachments,
    )


def sayable(name: str, message: Message = WHOLE) -> Message:
    """As much of it as this provider can carry."""
    ability = all_providers()[name].ability
    if ability.headers == 0:
        message = replace(message, headers={})
    if not ability.inline:
        message = replace(message, attachments=tuple(each for each in message.attachments if not each.content_id))
    assert ability.lacks(mail(message)) is None
    return message
