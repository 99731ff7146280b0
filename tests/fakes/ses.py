"""Amazon SES's send endpoint. It checks the signature of what has arrived, by the rules of AWS and its own code."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import reduce
from typing import TYPE_CHECKING, Any

import orjson

from .endpoint import Endpoint, Reply, Seen

if TYPE_CHECKING:
    from .connection import HttpRequest

TYPES = {
    400: "BadRequestException",
    403: "InvalidClientTokenId",
    404: "NotFoundException",
    429: "TooManyRequestsException",
    500: "InternalFailure",
    503: "ServiceUnavailable",
}
PROOF = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<id>[^/]+)/(?P<scope>(?P<day>\d{8})/(?P<region>[a-z0-9-]+)/ses/aws4_request), "
    r"SignedHeaders=(?P<names>[a-z0-9;-]+), Signature=(?P<signature>[0-9a-f]{64})"
)
SIGNED = {"content-type", "host", "x-amz-date"}
VALID_FOR = 300  # seconds


class Ses(Endpoint):
    """`key` is the secret access key; without one, a signature needs to have the right form and time only."""

    name = "ses"
    path = re.compile(r"/v2/email/outbound-emails$")

    def read(self, request: HttpRequest) -> Seen:
        fault = self._fault(request)
        return Seen(self._error(403, fault)) if fault else super().read(request)

    def see(self, headers: Mapping[str, str], document: Any) -> Seen:
        try:
            mail_id = {tag["Name"]: tag["Value"] for tag in document.get("EmailTags", [])}.get("mailsvc_id")
            simple, people = document["Content"]["Simple"], document["Destination"]["ToAddresses"]
            whole = document["FromEmailAddress"] and people and simple["Subject"]["Data"] and simple["Body"]
            whole = whole and all(address.isascii() for address in [document["FromEmailAddress"], *people])
        except (KeyError, TypeError, AttributeError):
            mail_id, whole = None, False
        if not whole:
            return Seen(self.error(400), mail_id)
        body = orjson.dumps({"MessageId": f"{secrets.token_hex(8)}-000000"})
        return Seen(Reply(200, {"Content-Type": "application/json"}, body), mail_id)

    def error(self, status: int) -> Reply:
        return self._error(status, TYPES.get(status, "InternalFailure"))

    def _error(self, status: int, kind: str) -> Reply:
        headers = {"Content-Type": "application/json", "x-amzn-ErrorType": f"{kind}:http://internal.amazon.com/"}
        return Reply(status, headers, orjson.dumps({"message": f"this is {kind}"}))

    def _fault(self, request: HttpRequest) -> str | None:
        """What is wrong with the signature."""
        proof = PROOF.fullmatch(request.headers.get("authorization", ""))
        if proof is None:
            return "MissingAuthenticationTokenException"
        names, at = proof["names"].split(";"), request.headers.get("x-amz-date", "")
        if not set(names) >= SIGNED or names != sorted(names) or not at.startswith(proof["day"]):
            return "IncompleteSignatureException"
        signed_at = datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        if abs(time.time() - signed_at) > VALID_FOR:
            return "InvalidSignatureException"
        if self.key is not None and proof["signature"] != self._signature(request, proof, names, at):
            return "SignatureDoesNotMatch"
        return None

    def _signature(self, request: HttpRequest, proof: re.Match[str], names: list[str], at: str) -> str:
        lines = "".join(f"{name}:{request.headers.get(name, '')}\n" for name in names)
        digest = hashlib.sha256(request.body).hexdigest()
        canonical = f"{request.method}\n{request.path}\n\n{lines}\n{proof['names']}\n{digest}"
        stated = f"AWS4-HMAC-SHA256\n{at}\n{proof['scope']}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        words = [*proof["scope"].split("/"), stated]
        first = f"AWS4{self.key}".encode()
        return reduce(lambda key, word: hmac.digest(key, word.encode(), "sha256"), words, first).hex()
