"""The HTML of a mail, alone in a frame: it may look as it likes, run nothing, and call nobody."""

from __future__ import annotations

import time

from ..address import Mailbox
from ..errors import InvalidMail
from ..model import Mail, OnUncertain, new_id
from .base import Handler
from .form import given
from .page import Page, templates
from .pages import rendering

POLICY = (
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'self'"
)


class Frame(Page):
    """The base of what is shown in a frame."""

    def show_html(self, html: str) -> None:
        """Answer with HTML that nobody here wrote."""
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Frame-Options", "SAMEORIGIN")
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.finish(html)

    def show_words(self, words: str) -> None:
        """Answer with a sentence in place of a mail."""
        self.show_html(templates().get_template("parts/words.html").render(words=words))


class MailHtml(Frame):
    """`/mail/<id>/html`."""

    async def get(self, mail_id: str) -> None:
        """The HTML part of a mail, as a provider got it."""
        self.admit()
        record = await self.service.mails.get(mail_id)
        if record.erased_at or record.sensitive:
            erased = "The bodies of this mail have been erased."
            self.show_words(erased if record.erased_at else "This mail is sensitive: it is not shown.")
            return
        message = await rendering(await self.service.mails.mail(mail_id))
        self.show_html(message.html) if message.html else self.show_words("This mail has no HTML part.")


class Preview(Frame):
    """`/preview`."""

    async def post(self) -> None:
        """The form's content as its recipient would see it. Nothing is stored."""
        self.admit()
        try:
            values, _ = given(self)
            content, subject = str(values.get("content", "")), str(values.get("subject", ""))
            if content.strip():
                self.show_html((await rendering(_mail(self, subject, content))).html or "")
            else:
                self.show_words("There is nothing to see yet: write something first.")
        except InvalidMail as error:
            self.show_words("; ".join(f"{fault.field} {fault.message}" for fault in error.faults))


def _mail(handler: Handler, subject: str, content: str) -> Mail:
    now = time.time()
    sender = handler.service.config.sender
    to = (Mailbox("ann@example.com"),)
    return Mail(new_id(now), now, sender, to, subject, OnUncertain.RESEND, content=content)
