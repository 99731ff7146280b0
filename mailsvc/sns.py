"""Amazon SNS: whether a message is of the topic that was configured, and was signed by Amazon.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as NotBase64
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from .errors import HookRefused
from .hook import Hook, at_iso

AGE = 3600.0  # seconds that a message may be old
TOPIC = re.compile(r"arn:aws(-cn|-us-gov)?:sns:([a-z]{2,4}(-[a-z]+)+-\d{1,2}):\d{12}:[A-Za-z0-9_-]{1,256}(\.fifo)?")
_CERTIFICATE = re.compile(r"/SimpleNotificationService-[0-9a-zA-Z]{1,64}\.pem")
_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


def check(hook: Hook, message: dict[str, Any], topic: str) -> None:
    """Raise HookRefused unless it is genuine and fresh, DocumentNeeded for the certificate of the signer.

    The topic comes first: nobody makes mailsvc fetch anything for a topic that is not its own.
    """
    names = _SIGNED.get(str(message.get("Type")))
    if names is None or not all(isinstance(message[name], str) for name in names if name in message):
        raise HookRefused("this is no message of SNS")
    if message.get("TopicArn") != topic:
        raise HookRefused("this is a message of another topic")
    if abs(hook.now - at_iso(message.get("Timestamp"), hook.now + 2 * AGE)) > AGE:
        raise HookRefused("the message is too old: is the clock of this machine right?")
    url = message.get("SigningCertURL")
    if not isinstance(url, str) or not _CERTIFICATE.fullmatch(urlsplit(url).path) or not of_sns(url, topic):
        raise HookRefused("the certificate is not at Amazon's")
    signed = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
    _verify(hook.document(url), message, signed.encode(), hook.now)


def of_sns(url: str, topic: str) -> bool:
    """Whether a URL leads to SNS in the topic's region, and to nowhere else."""
    found = TOPIC.fullmatch(topic)
    region, china = (found[2], ".cn" if found[1] == "-cn" else "") if found else ("", "")
    return url.isascii() and url.startswith(f"https://sns.{region}.amazonaws.com{china}/") and " " not in url


def _verify(pem: bytes, message: dict[str, Any], signed: bytes, now: float) -> None:
    # Takes 50 ms and is needed by those only who send by SES.
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import padding, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.hashes import SHA1, SHA256  # noqa: PLC0415
    from cryptography.x509 import load_pem_x509_certificate  # noqa: PLC0415

    digests = {"1": SHA1, "2": SHA256}  # SHA-1 is what topics use that were not told otherwise
    try:
        digest = digests[str(message.get("SignatureVersion"))]
        certificate = load_pem_x509_certificate(pem)
        signature = b64decode(str(message.get("Signature")), validate=True)
        key = certificate.public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise HookRefused("the certificate holds no RSA key")
        key.verify(signature, signed, padding.PKCS1v15(), digest())
    except (KeyError, NotBase64, ValueError, InvalidSignature) as error:
        raise HookRefused("the signature is wrong") from error
    at = datetime.fromtimestamp(now, UTC)
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise HookRefused("the certificate is out of date")
