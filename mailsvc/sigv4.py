"""AWS Signature Version 4: the headers that prove who sends a request. Valid for minutes, so made when it goes out.

https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs requests to one service in one region. `token` belongs to temporary credentials."""

    key_id: str = field(repr=False)
    secret: str = field(repr=False)
    region: str
    service: str
    token: str | None = field(default=None, repr=False)

    def __call__(self, method: str, url: str, headers: Mapping[str, str], body: bytes, now: float) -> dict[str, str]:
        """The headers to add at `now`, in Unix seconds. `headers` must hold `Content-Type`; it is signed too.

        The URL has no query, and a path of characters that need no escaping.
        """
        parts = urlsplit(url)
        at = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
        added = {"Host": parts.netloc, "X-Amz-Date": at} | ({"X-Amz-Security-Token": self.token} if self.token else {})
        signed = {name.lower(): value for name, value in (added | {"Content-Type": headers["Content-Type"]}).items()}
        names = ";".join(sorted(signed))
        lines = [f"{name}:{signed[name]}" for name in sorted(signed)]
        canonical = "\n".join([method, parts.path or "/", "", *lines, "", names, hashlib.sha256(body).hexdigest()])
        scope = f"{at[:8]}/{self.region}/{self.service}/aws4_request"
        stated = "\n".join([_ALGORITHM, at, scope, hashlib.sha256(canonical.encode()).hexdigest()])
        signature = _hmac(self._key(at[:8]), stated).hex()
        credential = f"Credential={self.key_id}/{scope}"
        proof = f"{_ALGORITHM} {credential}, SignedHeaders={names}, Signature={signature}"
        return added | {"Authorization": proof}

    def _key(self, day: str) -> bytes:
        """The key of this day, region and service."""
        key = f"AWS4{self.secret}".encode()
        for word in (day, self.region, self.service, "aws4_request"):
            key = _hmac(key, word)
        return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
