"""The value of a setting: text -> what the code wants. Parsers raise ValueError with words that follow the name."""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from .address import AddressError, Mailbox, parse_mailbox


def boolean(text: str) -> bool:
    """`1` or `0`, in the usual spellings."""
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise ValueError("must be 1 or 0")


def one_of(*words: str) -> Callable[[str], str]:
    """One of these words."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be one of: {', '.join(words)}")
        return text.lower()

    return parse


def number(low: float, high: float) -> Callable[[str], float]:
    """A decimal number."""

    def parse(text: str) -> float:
        if not re.fullmatch(r"\d{1,15}(\.\d{1,6})?", text) or not low <= float(text) <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}")
        return float(text)

    return parse


def integer(low: int, high: int) -> Callable[[str], int]:
    """A whole number."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"\d{1,15}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def seconds(low: float, high: float) -> Callable[[str], float]:
    """A time with a unit, in seconds: `30`, `45s`, `10m`, `24h`, `7d`."""

    def parse(text: str) -> float:
        found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?)\s*([smhd]?)", text.lower())
        value = float(found[1]) * _UNITS[found[2]] if found else -1.0
        if not low <= value <= high:
            raise ValueError(f"must be a time from {low:g} to {high:g} seconds, such as 30, 45s, 10m or 24h")
        return value

    return parse


def keep(low: float) -> Callable[[str], float]:
    """How long something is kept, in seconds; `forever` is infinity."""

    def parse(text: str) -> float:
        return math.inf if text.lower() == "forever" else seconds(low, 100 * 366 * 86_400)(text)

    return parse


def delays(text: str) -> tuple[float, ...]:
    """Times separated by commas, in seconds."""
    try:
        return tuple(seconds(0.01, 86_400)(part.strip()) for part in text.split(","))
    except ValueError:
        raise ValueError("must be seconds between rounds, separated by commas, such as 5,10,20,40") from None


def size(text: str) -> int:
    """A size in bytes: `1MiB`, `512k`, `1000000`."""
    found = re.fullmatch(r"(\d{1,12})\s*(b|k|kb|kib|m|mb|mib)?", text.lower())
    factor = {"": 1, "b": 1, "k": 1024, "m": 1024**2}[((found[2] or "") if found else "")[:1]]
    count = int(found[1]) * factor if found else 0
    if not 1024 <= count <= 64 * 1024**2:
        raise ValueError("must be a size from 1 KiB to 64 MiB, such as 1MiB")
    return count


def http_url(text: str) -> str:
    """Scheme, host and an optional path, without a slash at the end."""
    try:
        parts = urlsplit(text)
        whole = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        whole = None
    if not whole or parts.query or parts.fragment or parts.username:
        raise ValueError("must be a URL of scheme and host, and a path if needed, such as https://api.example.com")
    return text.rstrip("/")


Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def networks(text: str) -> tuple[Network, ...]:
    """Addresses and networks separated by commas: `10.0.0.0/8,192.0.2.7`."""
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(","))
    except ValueError:
        raise ValueError("must be IP addresses and networks, separated by commas, such as 10.0.0.0/8,::1") from None


def host_names(text: str) -> frozenset[str]:
    """Names and addresses of hosts separated by commas, without ports, in lower case."""
    names = frozenset(part.strip().lower().strip("[]") for part in text.split(","))
    if not all(re.fullmatch(r"[a-z0-9._-]+|[0-9a-f:.]+", name) for name in names):
        raise ValueError("must be names of hosts without ports, separated by commas, such as mail.example.com,mailsvc")
    return names


def shown(value: object) -> str:
    """A default as a person would set it, times in seconds and sizes in bytes; `-` where there is none."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:g}"
    if isinstance(value, tuple | frozenset):
        return (
            ",".join(sorted(shown(each) for each in value) if isinstance(value, frozenset) else map(shown, value))
            or "-"
        )
    return "-" if value is None else str(value)


def masked(text: str) -> str:
    """A setting without the password in its URL."""
    return re.sub(r"(://[^/@:]*:)[^/]*@", r"\1***@", text)


def database_url(text: str) -> str:
    """A URL of SQLite or PostgreSQL."""
    if not re.match(r"(sqlite:///.|postgres(ql)?://.)", text):
        raise ValueError("must be sqlite:///relative.db, sqlite:////absolute.db or postgres://user:password@host/name")
    return text


def mailbox(text: str) -> Mailbox:
    """`a@b` or `Name <a@b>`."""
    try:
        return parse_mailbox(text)
    except AddressError as error:
        raise ValueError(str(error)) from error


def api_key(text: str) -> str:
    """A key that fits into a header."""
    if not re.fullmatch(r"[!-~]{1,512}", text):
        raise ValueError("must be printable ASCII characters without spaces, at most 512")
    return text
