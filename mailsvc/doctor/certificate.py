"""The certificate with which mail is taken by SMTP: can it be used, for how long, for which names."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from cryptography import x509
from cryptography.x509.oid import NameOID

from ..config import Config
from ..errors import ConfigError
from .base import Finding, fail, misconfigured, ok, warn

SUBJECT = "MAILSVC_SMTP_CERT"
SOON = 14 * 86_400.0  # seconds: who renews by a program has done so long before
RENEW = "renew it, and restart mailsvc"


def check(config: Config) -> list[Finding]:
    """One line, or none where no certificate is used."""
    if config.smtp_port is None or config.smtp_cert is None:
        return []
    from ..smtpd import tls_context  # noqa: PLC0415 - who takes no mail by SMTP does not pay for it

    try:
        tls_context(config.smtp_cert, config.smtp_key)
        certificate = x509.load_pem_x509_certificates(config.smtp_cert.read_bytes())[0]
    except ConfigError as error:
        words = error.faults[0].lower()
        fix = "let this user read both files, in PEM; the key must be the certificate's own, without a passphrase"
        if "mismatch" in words:
            fix = "MAILSVC_SMTP_KEY must be the key that the certificate was made with"
        return [misconfigured(SUBJECT, error.faults[0], fix)]
    return [judge(certificate, time.time(), config.known_names)]


def judge(certificate: x509.Certificate, now: float, known: frozenset[str]) -> Finding:
    """`now` is a Unix time; `known` are the names by which clients know this server, if it was told any."""
    names = _names(certificate)
    begin, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    until = datetime.fromtimestamp(end, UTC).strftime("%Y-%m-%d")
    shown = ", ".join(names) or "no name"
    if now >= end:
        return fail(SUBJECT, f"is for {shown}, and ended on {until}", RENEW)
    if now < begin:
        return fail(SUBJECT, f"is for {shown}, and is not good yet", "is the clock right? If so, wait, or renew it")
    if known and not any(_covers(name, each) for name in names for each in known):
        fix = "use one that has this name, or let clients use a name that it has"
        return warn(SUBJECT, f"is for {shown}, and not for {' or '.join(sorted(known))}", fix)
    if end - now < SOON:
        return warn(SUBJECT, f"is for {shown}, and ends on {until}", RENEW)
    return ok(SUBJECT, f"is for {shown}, until {until}")


def _names(certificate: x509.Certificate) -> list[str]:
    """The names and addresses that clients compare; the common name only where there are no others."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return [*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress))]


def _covers(name: str, host: str) -> bool:
    """A star stands for one label."""
    first, _, rest = host.partition(".")
    return name.lower() in (host, f"*.{rest}") if first and rest else name.lower() == host
