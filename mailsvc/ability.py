"""What a provider can carry, as data; and whether it can carry a certain mail."""

from __future__ import annotations

from dataclasses import dataclass

from .model import Mail

BASE64 = 4 / 3  # how attachments grow on the wire


@dataclass(frozen=True, slots=True)
class Ability:
    """The limits of a provider. None: no limit is known.

    `recipients` counts `to`, `cc` and `bcc` together; these three, each its own. `size` is in bytes, of texts and of
    attachments as base64. `text` is in bytes of each of HTML and text. `headers` is how many of the user's own it
    takes, `ascii_headers`: with ASCII values only. `reply_to` is how many addresses. `inline`: whether HTML can show
    attachments. `unlisted` names file extensions, in lower case, that it refuses.
    """

    recipients: int | None = None
    to: int | None = None
    cc: int | None = None
    bcc: int | None = None
    size: int | None = None
    text: int | None = None
    headers: int | None = None
    ascii_headers: bool = False
    reply_to: int | None = None
    inline: bool = True
    attachments: bool = True
    unlisted: frozenset[str] = frozenset()

    def lacks(self, mail: Mail) -> str | None:
        """Why it cannot carry this mail, as the end of a sentence that begins with its name; None if it can."""
        for role, boxes, most in (("to", mail.to, self.to), ("cc", mail.cc, self.cc), ("bcc", mail.bcc, self.bcc)):
            if most is not None and len(boxes) > most:
                return f"takes at most {most} addresses in {role}" if most else f"takes no {role}"
        total = len(mail.to) + len(mail.cc) + len(mail.bcc)
        if self.recipients is not None and total > self.recipients:
            return f"takes at most {self.recipients} recipients"
        if self.reply_to is not None and len(mail.reply_to) > self.reply_to:
            return f"takes at most {self.reply_to} addresses in reply_to" if self.reply_to else "takes no reply_to"
        return self._lacks_for_headers(mail) or self._lacks_for_files(mail) or self._too_large(mail)

    def _lacks_for_headers(self, mail: Mail) -> str | None:
        if not mail.headers:
            return None
        if self.headers is not None and len(mail.headers) > self.headers:
            return f"takes at most {self.headers} headers" if self.headers else "takes no headers"
        if self.ascii_headers and not all(value.isascii() for value in mail.headers.values()):
            return "takes ASCII only in headers"
        return None

    def _lacks_for_files(self, mail: Mail) -> str | None:
        if not mail.attachments:
            return None
        if not self.attachments:
            return "takes no attachments"
        if not self.inline and any(each.content_id for each in mail.attachments):
            return "takes no inline attachments"
        for each in mail.attachments:
            extension = each.filename.rpartition(".")[2].lower()
            if extension in self.unlisted:
                return f"takes no files that end in .{extension}"
        return None

    def _too_large(self, mail: Mail) -> str | None:
        texts = [len((text or "").encode()) for text in (mail.content, mail.html, mail.text)]
        if self.text is not None and max(texts) > self.text:
            return f"takes at most {_mib(self.text)} of text"
        # Markdown goes out twice: as it is and as HTML.
        if self.size is not None and sum(texts) + texts[0] + mail.attached * BASE64 > self.size:
            return f"takes at most {_mib(self.size)}"
        return None


def _mib(size: int) -> str:
    return f"{size / 1024 / 1024:.3g} MiB"
