"""Mailboxes: what may stand in `to` and `from`, and how it is written down.

A plain ASCII address is checked by a strict pattern, every other one by email-validator. `email.utils.parseaddr` is
never used: it makes one plausible address out of two.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from email.header import Header

from email_validator import EmailNotValidError, validate_email

MAX_NAME = 255
MAX_MAILBOX = 1000  # a name with all its characters escaped, an address, and some space; bounds the time to look at it

_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PLAIN = re.compile(rf"(?=.{{3,254}}\Z)(?=[^@]{{1,64}}@){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+(?=[A-Za-z]){_LABEL}\Z")
_NAMED = re.compile(r"""\s*(?P<name>"(?:[^"\\]|\\.)*"|[^<>"]*?)\s*<(?P<address>[^<>]*)>\s*\Z""", re.DOTALL)
# What a header line may be broken at by some reader: C0, DEL, C1, and the two Unicode separators.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_NEEDS_QUOTES = re.compile(r"[^A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]")


class AddressError(ValueError):
    """Not one usable address; `code` is stable, the text says what to do."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address with an optional display name. `address` is ASCII, its domain in IDNA form."""

    address: str
    name: str = ""

    @property
    def domain(self) -> str:
        """The domain in lower case."""
        return self.address.rpartition("@")[2].lower()

    def __str__(self) -> str:
        """`Name <a@b>` as a person reads it; the name is quoted where the standard asks for it, never encoded."""
        if not self.name:
            return self.address
        plain = self.name.isascii() and not _NEEDS_QUOTES.search(self.name)
        quoted = self.name if plain else '"' + self.name.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{quoted} <{self.address}>"


def control_character(text: str) -> str | None:
    """The first character of a one-line text that could break a header line, as `U+000A`; None if there is none."""
    found = _CONTROL.search(text)
    return f"U+{ord(found.group()):04X}" if found else None


def parse_address(text: str) -> str:
    """One bare address in the form that is stored. Raises AddressError."""
    if _PLAIN.match(text):
        return text
    if control := control_character(text):
        raise AddressError("control_character", f"contains the control character {control}")
    if re.search(r"[,;]", text):
        raise AddressError("several_addresses", "must hold one address; pass several as an array of strings")
    local, at, _ = text.rpartition("@")
    if not at:
        raise AddressError("invalid_address", "must be an address such as ann@example.com")
    if not local.isascii():
        raise AddressError("smtputf8_unsupported", "has non-ASCII characters before the @, which providers refuse")
    try:
        found = validate_email(text, allow_smtputf8=False, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise AddressError("invalid_address", f"is not a usable address: {error}") from error
    if found.ascii_email is None or not _PLAIN.match(found.ascii_email):
        raise AddressError("invalid_address", "is not a usable address: it needs a domain such as example.com")
    return found.ascii_email


def parse_mailbox(text: str) -> Mailbox:
    """`a@b` or `Name <a@b>`. Raises AddressError."""
    if "<" not in text:
        return Mailbox(parse_address(text.strip(" ")))
    if len(text) > MAX_MAILBOX:
        raise AddressError("too_long", f"is longer than {MAX_MAILBOX} characters")
    if control := control_character(text):
        raise AddressError("control_character", f"contains the control character {control}")
    named = _NAMED.match(text)
    if not named or not named["name"].strip():
        raise AddressError("invalid_address", "must be an address or Name <address>")
    name = named["name"]
    if name.startswith('"'):
        name = re.sub(r"\\(.)", r"\1", name[1:-1])
    elif "@" in name or ":" in name:
        raise AddressError("several_addresses", "must hold one address; put a name that contains @ or : into quotes")
    return Mailbox(parse_address(named["address"]), parse_name(name))


def split_mailboxes(text: str) -> list[str]:
    """Mailboxes between commas; those within quotes part nothing. Looks at each character once."""
    parts: list[list[str]] = [[]]
    quoted = escaped = False
    for character in text:
        if character == "," and not quoted:
            parts.append([])
            continue
        parts[-1].append(character)
        if escaped:
            escaped = False
        elif character == '"':
            quoted = not quoted
        else:
            escaped = quoted and character == "\\"
    found = ("".join(part).strip() for part in parts)
    return [each for each in found if each]


def parse_name(text: str) -> str:
    """A display name, trimmed and composed (NFC). Raises AddressError."""
    if control := control_character(text):
        raise AddressError("control_character", f"contains the control character {control}")
    name = unicodedata.normalize("NFC", text.strip())
    if len(name) > MAX_NAME:
        raise AddressError("too_long", f"is longer than {MAX_NAME} characters")
    return name


def encoded_words(text: str) -> str:
    """A text as RFC 2047 encoded words, for a header: ASCII, on one line, and to a reader the text as it was."""
    return Header(text, "utf-8").encode(linesep="")
