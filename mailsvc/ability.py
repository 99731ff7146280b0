"""What a provider can carry, as data; and whether it can carry a certain mail."""

from __future__ import annotations

from dataclasses import dataclass

from .model import Mail

BASE64 = 4 / 3  # how attachments grow on the wire


def endings(text: str) -> frozenset[str]:
    """File extensions out of a text with spaces between them."""
    return frozenset(text.split())


# What Amazon SES refuses, and who sends by it.
EXECUTABLE = endings(
    "ade adp app asp bas bat cer chm cmd com cpl crt csh der exe fxp gadget hlp hta inf ins isp its js jse ksh lib lnk "
    "mad maf mag mam maq mar mas mat mau mav maw mda mdb mde mdt mdw mdz msc msh msh1 msh2 mshxml msh1xml msh2xml msi "
    "msp mst ops pcd pif plg prf prg reg scf scr sct shb shs sys ps1 ps1xml ps2 ps2xml psc1 psc2 tmp url vb vbe vbs "
    "vps vsmacros vss vst vsw vxd ws wsc wsf wsh xnk"
)


@dataclass(frozen=True, slots=True)
class Ability:
    """The limits of a provider. None: no limit is known.

    `recipients` counts `to`, `cc` and `bcc` together; these three, each its own. `name` is how many characters a
    display name may have. `size` is in bytes, of texts and of attachments as base64. `text` is in bytes of each of HTML
    and text. `reply_to` is how many addresses.
    `headers` is how many of the user's own it takes, `header_bytes` how long they are together with `reply_to`;
    `ascii_headers`: with ASCII values only, and no escapes in them; `custom_headers`: only with names that begin with
    `X-`. `barred` are names of headers, in lower case, that it refuses or ignores.
    `inline`: whether HTML can show attachments, `images`: if they are images only. `listed` are the only file
    extensions that it takes, `unlisted` those that it refuses; in lower case.
    """

    recipients: int | None = None
    to: int | None = None
    cc: int | None = None
    bcc: int | None = None
    name: int | None = None
    size: int | None = None
    text: int | None = None
    headers: int | None = None
    header_bytes: int | None = None
    ascii_headers: bool = False
    custom_headers: bool = False
    barred: frozenset[str] = frozenset()
    reply_to: int | None = None
    inline: bool = True
    images: bool = False
    attachments: bool = True
    listed: frozenset[str] | None = None
    unlisted: frozenset[str] = frozenset()

    def lacks(self, mail: Mail) -> str | None:
        """Why it cannot carry this mail, as the end of a sentence that begins with its name; None if it can."""
        for role, boxes, most in (("to", mail.to, self.to), ("cc", mail.cc, self.cc), ("bcc", mail.bcc, self.bcc)):
            if most is not None and len(boxes) > most:
                return f"takes at most {most} addresses in {role}" if most else f"takes no {role}"
        total = len(mail.to) + len(mail.cc) + len(mail.bcc)
        if self.recipients is not None and total > self.recipients:
            return f"takes at most {self.recipients} recipients"
        if self.name is not None and any(len(each.name) > self.name for each in mail.mailboxes):
            return f"takes names of at most {self.name} characters"
        if self.reply_to is not None and len(mail.reply_to) > self.reply_to:
            return f"takes at most {self.reply_to} addresses in reply_to" if self.reply_to else "takes no reply_to"
        return self._lacks_for_headers(mail) or self._lacks_for_files(mail) or self._too_large(mail)

    def _lacks_for_headers(self, mail: Mail) -> str | None:
        if self.header_bytes is not None and _header_bytes(mail) > self.header_bytes:
            return f"takes at most {self.header_bytes} bytes of headers"
        if not mail.headers:
            return None
        if self.headers is not None and len(mail.headers) > self.headers:
            return f"takes at most {self.headers} headers" if self.headers else "takes no headers"
        if self.ascii_headers and not all(v.isascii() and "\\u" not in v for v in mail.headers.values()):
            return "takes ASCII only in headers"
        for name in mail.headers:
            if name.lower() in self.barred:
                return f"takes no header {name}"
            if self.custom_headers and not name.lower().startswith("x-"):
                return f"takes headers that begin with X- only, not {name}"
        return None

    def _lacks_for_files(self, mail: Mail) -> str | None:
        files = mail.attachments
        if not files:
            return None
        if not self.attachments:
            return "takes no attachments"
        if not self.inline and any(each.content_id for each in files):
            return "takes no inline attachments"
        if self.images and any(each.content_id and not each.content_type.startswith("image/") for each in files):
            return "takes images only as inline attachments"
        for each in files:
            stem, _, extension = each.filename.lower().rpartition(".")
            if self.listed is not None and not (stem and extension in self.listed):
                return f"takes no files that end in .{extension}" if stem else "takes no files without an ending"
            if extension in self.unlisted:
                return f"takes no files that end in .{extension}"
        return None

    def _too_large(self, mail: Mail) -> str | None:
        texts = _texts(mail)
        if self.text is not None and max(texts) > self.text:
            return f"takes at most {_mib(self.text)} of text"
        if self.size is not None and weight(mail) > self.size:
            return f"takes at most {_mib(self.size)}"
        return None


def _header_bytes(mail: Mail) -> int:
    texts = [*mail.headers, *mail.headers.values(), *(str(each) for each in mail.reply_to)]
    return sum(len(text.encode()) for text in texts)


def weight(mail: Mail) -> int:
    """Bytes on the wire, about. Markdown goes out twice: as it is and as HTML."""
    texts = _texts(mail)
    return int(sum(texts) + texts[0] + mail.attached * BASE64)


def _texts(mail: Mail) -> list[int]:
    return [len((text or "").encode()) for text in (mail.content, mail.html, mail.text)]


def _mib(size: int) -> str:
    return f"{size / 1024 / 1024:.3g} MiB"
