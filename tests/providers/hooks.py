"""Webhook requests as providers make them: signed with keys of the tests, with a body for each kind of event."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64decode, b64encode
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlencode

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from mailsvc.address import Mailbox
from mailsvc.hook import Heard, Hook
from mailsvc.providers import all_providers
from mailsvc.providers.base import Provider, Settings

NOW = 1_700_000_000.0
MAIL_ID = "018bcfe5-6800-7000-8000-00000000abcd"
PUBLIC = "https://mail.example.com"
TO = "to@example.com"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:mail"
CERTIFICATE_URL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123abcd.pem"
SECRET = "a-password-of-the-tests"
EC_KEY = ec.derive_private_key(0xC0FFEE, ec.SECP256R1())
VALUES = {"SES_REGION": "eu-central-1", "MAILGUN_DOMAIN": "mg.example.com"}
NAMES = ("sendgrid", "mandrill", "mailgun", "postmark", "ses", "resend", "brevo", "sparkpost", "mailersend")
KEYS = {
    "sendgrid": b64encode(
        EC_KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    ).decode(),
    "resend": "whsec_" + b64encode(b"resend key of the tests!").decode(),
    "ses": TOPIC,
}


@dataclass(frozen=True)
class Request:
    """Headers in lower case and the body, as they go over the wire."""

    headers: dict[str, str]
    body: bytes
    documents: dict[str, bytes] = field(default_factory=dict)

    def hook(self, now: float = NOW, url: str | None = None) -> Hook:
        return Hook(self.headers, self.body, now, url, self.documents)


def mailbox() -> Mailbox:
    """The recipient of the mail."""
    return Mailbox(TO)


def key(name: str) -> str:
    return KEYS.get(name, SECRET)


def provider(name: str, hook_key: str | None = None) -> Provider:
    kind = all_providers()[name]
    values = {variable: VALUES.get(variable, "key-of-the-tests") for variable in kind.env}
    return kind(Settings(values, hook_key=hook_key or key(name)))


def hear(name: str, request: Request, now: float = NOW, hook_key: str | None = None) -> Heard:
    return provider(name, hook_key).hear(request.hook(now, f"{PUBLIC}/hooks/{name}"))


# What each provider says about one mail to one recipient: the request for an event of its own words.


def body(name: str, event: str, number: int = 1, mail_id: str | None = MAIL_ID, **more: Any) -> Any:
    """The document, before it is signed."""
    at = int(NOW) - 60
    iso = datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")
    ours = {"mailsvc_id": mail_id} if mail_id else {}
    if name == "sendgrid":
        one = {"event": event, "email": TO, "timestamp": at, "sg_event_id": f"e{number}", "sg_message_id": "m1.x.y"}
        return [one | ours | more]
    if name == "mandrill":
        message = {"_id": "m1", "email": TO, "metadata": ours or [], **more}
        return [{"event": event, "_id": "m1", "ts": at + number, "msg": message}]
    if name == "mailgun":
        message = {"headers": {"message-id": "m1@mg.example.com", "to": TO}}
        one = {"event": event, "id": f"e{number}", "timestamp": at + 0.5, "recipient": TO, "message": message}
        return one | {"user-variables": ours, "delivery-status": None} | more
    if name == "postmark":
        times = {"Delivery": "DeliveredAt", "Bounce": "BouncedAt", "SpamComplaint": "BouncedAt"}
        one = {"RecordType": event, "MessageID": "m1", "Recipient": TO, "Metadata": ours}
        return one | {times.get(event, "ReceivedAt"): f"2023-11-14T22:12:{number:02d}.9070259Z"} | more
    if name == "ses":
        mail = {"messageId": "m1", "destination": [TO], "timestamp": iso, "tags": {k: [v] for k, v in ours.items()}}
        return {"eventType": event, "mail": mail} | more
    if name == "resend":
        return {"type": event, "created_at": iso, "data": {"email_id": "m1", "to": [TO], "tags": ours} | more}
    if name == "brevo":
        one = {"event": event, "email": TO, "message-id": "<m1@smtp-relay>", "ts_epoch": at * 1000 + number}
        return one | {"X-Mailin-custom": json.dumps(ours)} | more
    if name == "sparkpost":
        one = {"type": event, "event_id": f"e{number}", "transmission_id": "m1", "message_id": "other", "rcpt_to": TO}
        return [{"msys": {"message_event": one | {"rcpt_meta": ours, "timestamp": str(at)} | more}}]
    if name == "mailersend":
        mail = {"message": {"id": "m1"}, "recipient": {"email": TO}, "tags": [*ours.values()]}
        data = {"type": event, "id": f"e{number}", "created_at": iso, "email": mail} | more
        return {"type": f"activity.{event}", "data": data}
    raise LookupError(name)


def sign(name: str, document: Any, now: float = NOW, number: int = 1, secret: str | None = None) -> Request:
    """The request, signed by the rules of the provider's documentation."""
    secret = secret or key(name)
    raw = json.dumps(document).encode()
    stamp = str(int(now))
    if name == "sendgrid":
        raw += b"\r\n"
        signature = b64encode(EC_KEY.sign(stamp.encode() + raw, ec.ECDSA(hashes.SHA256()))).decode()
        mark = "x-twilio-email-event-webhook-"
        return Request({f"{mark}signature": signature, f"{mark}timestamp": stamp}, raw)
    if name == "mandrill":
        signed = f"{PUBLIC}/hooks/mandrillmandrill_events{raw.decode()}"
        signature = b64encode(hmac.digest(secret.encode(), signed.encode(), "sha1")).decode()
        return Request({"x-mandrill-signature": signature}, urlencode({"mandrill_events": raw.decode()}).encode())
    if name == "mailgun":
        token = hashlib.sha256(f"{number}".encode()).hexdigest()[:50]
        signature = hmac.digest(secret.encode(), f"{stamp}{token}".encode(), "sha256").hex()
        proof = {"timestamp": stamp, "token": token, "signature": signature}
        return Request({}, json.dumps({"signature": proof, "event-data": document}).encode())
    if name == "resend":
        content = f"msg_{number}.{stamp}.".encode() + raw
        signature = b64encode(hmac.digest(b64decode(secret.removeprefix("whsec_")), content, "sha256")).decode()
        return Request({"svix-id": f"msg_{number}", "svix-timestamp": stamp, "svix-signature": f"v1,{signature}"}, raw)
    if name == "mailersend":
        return Request({"signature": hmac.digest(secret.encode(), raw, "sha256").hex()}, raw)
    if name == "ses":
        return sns({"Message": raw.decode()}, now, number)
    return Request({"authorization": "Basic " + b64encode(f"mailsvc:{secret}".encode()).decode()}, raw)


def request(name: str, event: str, number: int = 1, now: float = NOW, **more: Any) -> Request:
    """A genuine request about the mail."""
    return sign(name, body(name, event, number, **more), now, number)


# Amazon's part.


@cache
def amazon() -> tuple[rsa.RSAPrivateKey, bytes]:
    """A key, and the certificate of it in PEM."""
    private = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
    at = datetime.fromtimestamp(NOW, UTC)
    made = x509.CertificateBuilder(name, name, private.public_key(), 1, at - timedelta(30), at + timedelta(3650))
    return private, made.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def sns(fields: dict[str, Any], now: float = NOW, number: int = 1, version: str = "2") -> Request:
    """A message of SNS; `fields` stand in place of what it would have."""
    at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    message = {
        "Type": "Notification",
        "MessageId": f"n{number}",
        "TopicArn": TOPIC,
        "Timestamp": at,
        "SignatureVersion": version,
        "SigningCertURL": CERTIFICATE_URL,
        **fields,
    }
    names = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
    signed = "".join(f"{each}\n{message[each]}\n" for each in names if each in message).encode()
    private, pem = amazon()
    digest = hashes.SHA1() if version == "1" else hashes.SHA256()
    message["Signature"] = b64encode(private.sign(signed, padding.PKCS1v15(), digest)).decode()
    return Request({"content-type": "text/plain"}, json.dumps(message).encode(), {message["SigningCertURL"]: pem})


def changed(request: Request, **headers: str | None) -> Request:
    """The same with other headers; None leaves one out."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    kept = {name: value for name, value in request.headers.items() if name not in names}
    return replace(request, headers=kept | {name: value for name, value in names.items() if value is not None})
