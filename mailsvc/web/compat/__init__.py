"""The send operations of other APIs, so that their SDKs work here unchanged but for the base URL and the key."""

from __future__ import annotations

from ..base import Handler
from .postmark import PostmarkBatch, PostmarkMail
from .resend import ResendBatch, ResendCancel, ResendMail, ResendMails
from .sendgrid import SendGridMail

COMPAT: list[tuple[str, type[Handler]]] = [
    ("/compat/postmark/email", PostmarkMail),
    ("/compat/postmark/email/batch", PostmarkBatch),
    ("/compat/resend/emails", ResendMails),
    ("/compat/resend/emails/batch", ResendBatch),
    ("/compat/resend/emails/([^/]+)", ResendMail),
    ("/compat/resend/emails/([^/]+)/cancel", ResendCancel),
    ("/compat/sendgrid/v3/mail/send", SendGridMail),
]
