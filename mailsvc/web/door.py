"""Who may come in: with a key, with a browser's session, or from this machine while there is no key."""

from __future__ import annotations

import ipaddress
import time
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..access import NOBODY, ApiKey, Scope
from .problem import Problem, too_often
from .session import COOKIE, Sessions, given_token

if TYPE_CHECKING:
    from tornado.httputil import HTTPServerRequest

    from ..service import Service
    from ..setting import Network
    from .base import Handler

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})  # as `_host_name` writes them
POSTMARK_KEY = "X-Postmark-Server-Token"
WRONG_KEYS = 30  # a client may try in a minute; a good key opens all the same, whoever else is behind its address


def enter(handler: Handler) -> tuple[ApiKey, str | None]:
    """The caller's key, and the name of the session if it came with one. Raises Problem."""
    ring = handler.service.keys.ring
    if ring.empty:
        _from_here_alone(handler)
        return NOBODY, None
    given = given_key(handler.request)
    if given is None:
        return _by_session(handler)
    key = ring.find(given)
    if key is None:
        raise _wrong_key(handler)
    return key, None


def given_key(request: HTTPServerRequest) -> str | None:
    """The text of the key that a request brings; None if it brings none. Postmark's clients have their own header."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    return request.headers.get(POSTMARK_KEY) if request.path.startswith("/compat/postmark/") else None


def known(request: HTTPServerRequest, service: Service, sessions: Sessions) -> bool:
    """Whether the caller will come in, as far as can be told before the body is there."""
    ring = service.keys.ring
    if ring.empty:
        return True
    given = given_key(request)
    if given is not None:
        return ring.find(given) is not None
    cookie = request.cookies.get(COOKIE)
    return cookie is not None and sessions.check(cookie.value) is not None


def _by_session(handler: Handler) -> tuple[ApiKey, str]:
    """A browser that has logged in. What it changes must come from a page of its own.

    The name counts here alone: no foreign page can make a browser send a key, and a monitor asks by an address.
    """
    refuse_foreign_host(handler)
    sessions: Sessions = handler.settings["sessions"]
    session = sessions.check(handler.get_cookie(COOKIE))
    key = handler.service.keys.ring.get(sessions.key_id(session)) if session else None
    if session is None or key is None or not key.may(Scope.ADMIN):
        raise key_needed()
    if handler.request.method not in ("GET", "HEAD"):
        refuse_foreign_origin(handler)
        if not sessions.is_token(session, given_token(handler.request.headers, handler.body)):
            raise Problem(403, "forbidden", "This form is not from here, or too old. Load the page again.")
    return key, session


def _from_here_alone(handler: Handler) -> None:
    """Without a key, the browser of this machine is the way in: no foreign page may use it."""
    if _host_name(handler.request.host) not in LOCAL_NAMES | {handler.service.config.host}:
        raise Problem(403, "forbidden", "This server has no API key and answers only to localhost.")
    refuse_foreign_origin(handler)


def refuse_foreign_origin(handler: Handler) -> None:
    """Raise Problem if the request was made by a page of another site."""
    origin = handler.request.headers.get("Origin")
    if origin is None:
        return
    host = handler.request.host
    own = (host, urlsplit(handler.service.config.public_url or "").netloc or host)
    if origin.partition("://")[2] not in own:
        raise Problem(403, "forbidden", "Requests from pages of other sites are refused.")


def refuse_foreign_host(handler: Handler) -> None:
    """Raise Problem if the server was told its names and is asked by another."""
    names = handler.service.config.known_names
    if names and _host_name(handler.request.host) not in names | LOCAL_NAMES:
        raise Problem(421, "misdirected", "This server has another name; MAILSVC_HOSTS lists all that it answers to.")


def client(request: HTTPServerRequest, trusted: tuple[Network, ...]) -> str:
    """The address of the caller, as far back as proxies can be trusted to tell it."""
    told = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
    found = request.remote_ip or ""
    while told and _within(found, trusted) and _address(told[-1]):
        found = told.pop()
    return found


def protocol(request: HTTPServerRequest, trusted: tuple[Network, ...]) -> str:
    """`http` or `https`: what the caller spoke, as a trusted proxy tells it, or the connection shows it."""
    told = request.headers.get("X-Forwarded-Proto", "").rpartition(",")[2].strip().lower()
    return told if told in ("http", "https") and _within(request.remote_ip or "", trusted) else request.protocol


def _wrong_key(handler: Handler) -> Problem:
    wait = handler.service.limits.take(f"wrong key {household(handler.client)}", WRONG_KEYS, time.monotonic())
    return too_often("There were too many wrong keys from your address.", wait) if wait else key_needed()


def household(address: str) -> str:
    """Whom an address stands for: with IPv6, one person has a whole network of them."""
    found = _address(address)
    return str(ipaddress.ip_network((int(found), 64), strict=False)) if found and found.version == 6 else address


def key_needed() -> Problem:
    """401 with what to do."""
    detail = "An API key is needed: send the header 'Authorization: Bearer KEY'."
    return Problem(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="mailsvc"'})


@lru_cache(64)  # most requests are for the same one
def _host_name(host: str) -> str:
    """The name without its port and the root's dot, an address in its short form; empty for what is no host at all."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").lower().removesuffix(".")
    except ValueError:
        return ""
    return str(_address(name) or name)


def _within(address: str, networks: tuple[Network, ...]) -> bool:
    found = _address(address)
    return found is not None and any(found in network for network in networks)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found
