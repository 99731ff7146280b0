"""Where callbacks may go: to the public internet over https, and nowhere inside unless the operator has named it.

A URL is judged by its spelling, an address when a connection to it is about to be made. So nothing is gained by a name
that leads to one address while it is judged and to another one afterwards.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

LONGEST = 2000  # characters of a URL
PORT = 443
# What `is_global` takes for public in some versions of Python, and what is public and yet somebody's inside.
INSIDE: tuple[Network, ...] = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "100.64.0.0/10",
            "168.63.129.16/32",  # the host of virtual machines on Azure
            "192.0.0.0/24",
            "192.88.99.0/24",
            "198.18.0.0/15",
            "224.0.0.0/3",
            "2001::/23",  # Teredo and other experiments
            "2001:db8::/32",
            "2002::/16",  # carries an IPv4 address
            "3fff::/20",
        ),
    )
)
PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")  # so neither ::1, nor ::ffff:0:0/96, nor 64:ff9b::/96
# Names that mean this machine or this network.
INNER_NAMES = re.compile(r"(^|\.)(localhost|local|internal|intranet|lan|home\.arpa|corp)$")
NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(\.(?!-)[a-z0-9_-]{1,63}(?<!-))*")
NUMBER = re.compile(r"(\d+|0x[0-9a-f]*)")


class Guard:
    """`allowed` are networks, addresses and names of hosts that callbacks may go to although they are inside.

    To what is named there, http and any port are good as well.
    """

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        found = [(each, _network(each)) for each in allowed]
        self._networks = tuple(network for _, network in found if network is not None)
        self._names = frozenset(each for each, network in found if network is None)

    def fault(self, url: str) -> str | None:
        """What is wrong with a URL, as the end of a sentence that begins with its field; None if nothing is."""
        parts = _parts(url)
        if parts is None:
            return "must be a whole URL of printable ASCII characters, such as https://example.com/hooks"
        if "@" in parts.netloc or parts.fragment:
            return "must have no user, no password and no fragment"
        host = (parts.hostname or "").rstrip(".")
        address = _address(host)
        if address is not None:
            free = self._named(address)
            return None if free or (self.allows(address) and _usual(parts)) else _refusal(parts, inside=True)
        if "[" in parts.netloc or NUMBER.fullmatch(host.rpartition(".")[2]):
            return "must name its host, or give its address as four decimal numbers"
        if host in self._names:
            return None
        if not NAME.fullmatch(host) or len(host) > 253:
            return "must have a host that is a name in ASCII, such as hooks.example.com"
        inside = "." not in host or INNER_NAMES.search(host) is not None
        return None if not inside and _usual(parts) else _refusal(parts, inside=inside)

    def allows(self, address: str | Address) -> bool:
        """Whether a connection to this address may be made."""
        try:
            known = ipaddress.ip_address(address)
        except ValueError:
            return False
        return self._named(known) or _public(known)

    def trusts(self, host: str) -> bool:
        """Whether the operator has named this very host, wherever it is."""
        return host.rstrip(".").lower() in self._names

    def _named(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def allowed(text: str) -> tuple[str, ...]:
    """Networks, addresses and names of hosts separated by commas: `10.0.0.0/8,127.0.0.1,hooks.internal`."""
    names = tuple(part.strip().lower().strip("[]") for part in text.split(","))
    if any(_network(name) is None and (not NAME.fullmatch(name) or _numeric(name)) for name in names):
        words = "must be networks, addresses and names of hosts without ports, separated by commas, such as "
        raise ValueError(words + "10.0.0.0/8,127.0.0.1,hooks.internal")
    return names


def _parts(url: str) -> SplitResult | None:
    """A URL that everybody reads the same way, in its parts."""
    if len(url) > LONGEST or not re.fullmatch(r"[!-~]+", url) or re.search(r"[\\\"<>^`{|}]", url):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if not parts.hostname or "%" in parts.netloc or port == 0 or parts.netloc.endswith(":"):
        return None
    return parts if parts.scheme in ("http", "https") else None


def _usual(parts: SplitResult) -> bool:
    return parts.scheme == "https" and parts.port in (None, PORT)


def _refusal(parts: SplitResult, *, inside: bool) -> str:
    if inside:
        return "must not lead to a private, local or special address, unless MAILSVC_CALLBACK_ALLOW names its host"
    what = f"have the port {PORT}" if parts.scheme == "https" else "begin with https://"
    return f"must {what}, unless MAILSVC_CALLBACK_ALLOW names its host"


def _public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address not in PUBLIC_V6:
        return False
    return address.is_global and not address.is_multicast and not any(address in network for network in INSIDE)


def _address(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _numeric(name: str) -> bool:
    return NUMBER.fullmatch(name.rpartition(".")[2]) is not None


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None
