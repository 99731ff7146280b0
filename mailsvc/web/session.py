"""Sessions of the page where a key is configured: a signed cookie, a token against forged forms, a bound on guesses.

The cookie holds no key, only a name at random, an expiry, the id of the key and a signature. It is signed with a secret
derived from the first key, so a restart ends no session and another first key ends them all. Where there is no first
key, but others, every start makes a new secret.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import cached_property
from urllib.parse import parse_qs

COOKIE = "mailsvc_session"
FIELD, HEADER = "_xsrf", "X-XSRF-Token"
LIFE = 12 * 3600  # seconds
STRETCHES = 100_000  # rounds of derivation: a stolen cookie must not make a weak key cheap to guess
GUESSES, WITHIN = 10, 60.0  # wrong keys, and seconds
MAX_ENDED = 10_000


class Sessions:
    """Begins, checks and ends sessions. `clock` gives Unix seconds."""

    def __init__(self, key: str | None, clock: Callable[[], float] = time.time) -> None:
        self._key, self._clock = key, clock
        self._ended: dict[str, None] = {}
        self._wrong: deque[float] = deque(maxlen=GUESSES)

    @cached_property
    def _secret(self) -> bytes:
        if self._key is None:
            return os.urandom(32)
        return hashlib.pbkdf2_hmac("sha256", self._key.encode(), b"mailsvc session", STRETCHES)

    def missed(self) -> None:
        """Somebody tried a wrong key."""
        self._wrong.append(self._clock())

    def wait(self) -> int:
        """Seconds until a key may be tried again; 0 if it may now. A flood of guesses locks the form, never the API."""
        if len(self._wrong) < GUESSES:
            return 0
        left = self._wrong[0] + WITHIN - self._clock()
        return min(int(WITHIN), int(left) + 1) if left > 0 else 0

    def begin(self, key_id: str = "") -> str:
        """A new session of who has that key, as the value of the cookie."""
        name = f"{int(self._clock()) + LIFE:x}.{key_id}.{os.urandom(16).hex()}"
        return f"{name}.{self._sign('session', name)}"

    def check(self, cookie: str | None) -> str | None:
        """The session's name if the cookie is good and has not expired."""
        name, _, signature = (cookie or "").rpartition(".")
        if not name or not hmac.compare_digest(signature.encode(), self._sign("session", name).encode()):
            return None
        expires = int(name.partition(".")[0], 16)
        return name if self._clock() < expires and name not in self._ended else None

    def key_id(self, session: str) -> str:
        """The id of the key that it was begun with."""
        return session.split(".")[1]

    def end(self, session: str) -> None:
        """Log out: in this process, a copy of the cookie is worth nothing any more."""
        self._ended[session] = None
        if len(self._ended) > MAX_ENDED:
            del self._ended[next(iter(self._ended))]

    def token(self, session: str) -> str:
        """What a form of this session must bring with it."""
        return self._sign("form", session)

    def is_token(self, session: str, given: str) -> bool:
        """Whether a form was made by this session's page."""
        return hmac.compare_digest(given.encode(), self.token(session).encode())

    def _sign(self, purpose: str, text: str) -> str:
        return hmac.new(self._secret, f"{purpose}:{text}".encode(), hashlib.sha256).hexdigest()


def given_token(headers: Mapping[str, str], body: bytes) -> str:
    """The token that a request brings: in its header, or in the field of a form. Empty if there is none."""
    if HEADER in headers:
        return headers[HEADER]
    if headers.get("Content-Type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        return ""
    try:
        fields = parse_qs(body.decode("ascii", "replace"), max_num_fields=200)
    except ValueError:
        return ""
    return fields.get(FIELD, [""])[0]
