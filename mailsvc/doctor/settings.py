"""Every setting: what does not start, what is misspelt, what production would want."""

from __future__ import annotations

from collections.abc import Mapping

from ..config import Config
from ..errors import ConfigError
from ..web.health import gaps
from ..webhooks import webhooks
from .base import Finding, misconfigured, ok, warn

# Names that stand for nobody (RFC 2606, RFC 6761): no provider has verified them.
NOBODYS = (".invalid", ".test", ".example", ".localhost", ".example.com", ".example.net", ".example.org")


class _Watched(dict[str, str]):
    """An environment that remembers what was asked of it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        super().__init__(environ)
        self.asked: set[str] = set()

    def get(self, name: str, default: str = "") -> str:  # type: ignore[override]
        self.asked.add(name)
        return super().get(name, default)


def check(environ: Mapping[str, str]) -> tuple[Config | None, list[Finding]]:
    """The configuration, None if it cannot be used, and what there is to say about it."""
    watched = _Watched(environ)
    try:
        config = Config.from_environ(watched)
    except ConfigError as error:
        return None, [_fault(fault) for fault in error.faults]
    names = sorted(name for name in watched.asked & watched.keys() if watched[name].strip())
    words = f"{', '.join(names)}: understood" if names else "none is set, which serves a sandbox on this machine"
    return config, [ok("settings", words), *_production(config)]


def _fault(fault: str) -> Finding:
    """A fault of the configuration, which begins with a setting's name where it is about one, and says what to do."""
    name, _, words = fault.partition(" ")
    known = name.strip(":").isupper()
    return misconfigured(name.strip(":"), words) if known else misconfigured("settings", fault)


def _production(config: Config) -> list[Finding]:
    found = [warn("production", what.rstrip("."), fix) for what, fix in gaps(config)]
    mute = [hook for hook in webhooks(config) if hook.missing]
    found += [warn(hook.missing[0], f"{hook.provider} cannot tell what becomes of mails", hook.todo) for hook in mute]
    domain = config.sender.domain
    if config.live and f".{domain}".endswith(NOBODYS):
        found.append(warn("MAILSVC_FROM", f"nobody can send from {domain}", "set it to an address of yours"))
    if (config.public_url or "").startswith("http:") and not config.loopback:
        found.append(warn("MAILSVC_PUBLIC_URL", "keys and mails go over the wire unencrypted", "put TLS in front"))
    return found
