"""What the environment says, read once and checked as a whole. Knows which providers exist, so it stands above them."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from . import setting
from .address import Mailbox
from .errors import ConfigError
from .guard import allowed
from .model import OnUncertain
from .providers import all_providers
from .providers.base import Can, Provider, Settings

DEFAULT_SCORES = (50.0, 40.0, 30.0, 20.0, 10.0, 5.0, 4.0, 3.0, 2.0, 1.0)
SANDBOX_SENDER = Mailbox("sandbox@example.invalid")
# Variables that platforms set, by which mailsvc knows that strangers can reach it.
PLATFORMS = ("DYNO", "RENDER", "FLY_APP_NAME", "RAILWAY_ENVIRONMENT", "KUBERNETES_SERVICE_HOST")
# Those of them whose disk is wiped at every restart.
WIPING_PLATFORMS = ("DYNO",)
SAFE_KEY = 16  # characters; a shorter key can be guessed

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be set, in the units the code wants: seconds, bytes, parsed addresses."""

    host: str
    port: int
    database_url: str = field(repr=False)
    api_key: str | None = field(repr=False)
    sender: Mailbox
    public_url: str | None
    host_names: frozenset[str]
    trusted_proxies: tuple[setting.Network, ...]
    exact: bool
    on_uncertain: OnUncertain
    concurrency: int
    timeout: float
    uncertain_after: float
    retry: tuple[float, ...]
    give_up: float
    processes: int
    lock_wait: float
    lease: float
    log_level: str
    max_body: int
    max_queued: int
    max_connections: int
    client_timeout: float
    grace: float
    keep_body: float
    keep_mail: float
    keep_callbacks: float
    callback_allow: tuple[str, ...]
    templates: Path | None
    capture_only: bool
    smtp_port: int | None
    smtp_cert: Path | None
    smtp_key: Path | None
    providers: Mapping[str, Settings]
    notes: tuple[str, ...] = ()
    rehearsal: bool = False
    callbacks: int = 64  # tries of callbacks at a time; not a setting, but fewer where there are few files

    @property
    def live(self) -> bool:
        """Whether mail leaves the machine."""
        return set(self.providers) != {"capture"} and not self.rehearsal

    @property
    def shared(self) -> bool:
        """Whether other processes may use the same database."""
        return not self.database_url.startswith("sqlite:")

    @property
    def smtp_connections(self) -> int:
        """Connections of SMTP at a time."""
        return 0 if self.smtp_port is None else max(1, min(100, self.max_connections // 2))

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return _is_loopback(self.host)

    @property
    def known_names(self) -> frozenset[str]:
        """The names under which callers may address the server; empty where it was not told any."""
        public = {(urlsplit(self.public_url).hostname or "").lower()} if self.public_url else frozenset()
        return self.host_names | public

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """Read the environment. Raises ConfigError with every fault, none of which shows a secret."""
        return cls.read_by(_Reader(environ))

    @classmethod
    def read_by(cls, read: _Reader) -> Self:
        """The same, by a reader that remembers what it has read."""
        capture_only = read.get("MAILSVC_CAPTURE", setting.boolean, False)
        providers = _providers(read, capture_only)
        config = cls(
            host=_host(read),
            port=read.get("PORT", setting.integer(0, 65535), 8080),
            database_url=read.get("DATABASE_URL", setting.database_url, "sqlite:///mailsvc.db"),
            api_key=read.get("MAILSVC_API_KEY", setting.api_key, None),
            sender=_sender(read, providers),
            public_url=read.get("MAILSVC_PUBLIC_URL", setting.http_url, None),
            host_names=read.get("MAILSVC_HOSTS", setting.host_names, frozenset()),
            trusted_proxies=read.get("MAILSVC_TRUSTED_PROXIES", setting.networks, ()),
            exact=read.get("MAILSVC_SELECTOR", setting.one_of("guarded", "classic"), "guarded") == "classic",
            on_uncertain=OnUncertain(read.get("MAILSVC_ON_UNCERTAIN", setting.one_of("resend", "hold"), "resend")),
            concurrency=read.get("MAILSVC_CONCURRENCY", setting.integer(1, 10_000), 64),
            timeout=read.get("MAILSVC_TIMEOUT", setting.seconds(0.1, 600), 30.0),
            uncertain_after=read.get("MAILSVC_UNCERTAIN_AFTER", setting.seconds(0, 86_400), 60.0),
            retry=read.get("MAILSVC_RETRY", setting.delays, (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0)),
            give_up=read.get("MAILSVC_GIVE_UP", setting.seconds(1, 90 * 86_400), 86_400.0),
            processes=read.get("WEB_CONCURRENCY", setting.integer(1, 256), 1),
            lock_wait=read.get("MAILSVC_LOCK_WAIT", setting.seconds(0, 3600), 0.0),
            lease=read.get("MAILSVC_LEASE", setting.seconds(1, 3600), 60.0),
            log_level=read.get("MAILSVC_LOG", setting.one_of("debug", "info", "warning", "error"), "info"),
            max_body=read.get("MAILSVC_MAX_BODY", setting.size, 25 * 1024 * 1024),
            max_queued=read.get("MAILSVC_MAX_QUEUED", setting.integer(1, 10**12), 1_000_000),
            max_connections=read.get("MAILSVC_MAX_CONNECTIONS", setting.integer(1, 100_000), 1000),
            client_timeout=read.get("MAILSVC_CLIENT_TIMEOUT", setting.seconds(0.1, 600), 20.0),
            grace=read.get("MAILSVC_GRACE", setting.seconds(0, 600), 25.0),
            keep_body=read.get("MAILSVC_KEEP_BODY", setting.keep(0), 30 * 86_400.0),
            keep_mail=read.get("MAILSVC_KEEP_MAIL", setting.keep(86_400), 365 * 86_400.0),
            keep_callbacks=read.get("MAILSVC_KEEP_CALLBACKS", setting.keep(86_400), 30 * 86_400.0),
            callback_allow=read.get("MAILSVC_CALLBACK_ALLOW", allowed, ()),
            templates=read.get("MAILSVC_TEMPLATES", Path, None),
            capture_only=capture_only,
            smtp_port=read.get("MAILSVC_SMTP", setting.integer(0, 65535), None),
            smtp_cert=read.get("MAILSVC_SMTP_CERT", Path, None),
            smtp_key=read.get("MAILSVC_SMTP_KEY", Path, None),
            providers=providers,
            notes=read.notes() + tuple(_unused(read)),
        )
        _check_reach(config, read)
        if read.faults:
            raise ConfigError(read.faults)
        return config


def effective(environ: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """Every setting that counts now as its name, its value in words, and `environment` or `default`; secrets as `***`.

    Raises ConfigError.
    """
    read = _Reader(environ)
    config = Config.read_by(read)
    secret = {"MAILSVC_API_KEY"} | {name for kind in all_providers().values() for name in kind.env + kind.optional}
    told = {"HOST": config.host, "MAILSVC_FROM": str(config.sender)}  # whose default depends on others
    found = [(name, value, _origin(read, name)) for name, value in told.items()]
    for name in sorted(read.asked - told.keys() - set(PLATFORMS)):
        text = read.raw(name)
        hidden = name in secret or name.endswith("_WEBHOOK_KEY")
        if text is None and (hidden or name not in read.defaults):
            continue
        shown = setting.shown(read.defaults.get(name)) if text is None else "***" if hidden else setting.masked(text)
        found.append((name, shown, _origin(read, name)))
    return found


def _origin(read: _Reader, name: str) -> str:
    return "default" if read.raw(name) is None else "environment"


class _Reader:
    """Hands out variables, remembers which were asked for, and gathers the faults."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.asked: set[str] = set()
        self.defaults: dict[str, Any] = {}
        self.faults: list[str] = []

    def raw(self, name: str) -> str | None:
        """The value without surrounding space; an empty one counts as not set."""
        self.asked.add(name)
        return self.environ.get(name, "").strip() or None

    def get(self, name: str, parse: Callable[[str], T], default: Any) -> Any:
        """The parsed value, or the default when it is not set or faulty."""
        text = self.raw(name)
        self.defaults[name] = default
        if text is None:
            return default
        try:
            return parse(text)
        except ValueError as error:
            self.faults.append(f"{name} {error}")
            return default

    def notes(self) -> tuple[str, ...]:
        """Variables that look like ours and mean nothing: most likely misspelt."""
        # Read elsewhere: by the command line, or allowed to say that a wiped disk is meant.
        known = self.asked | {"MAILSVC_EPHEMERAL", "MAILSVC_URL"}
        short = 0 < len(self.environ.get("MAILSVC_API_KEY", "")) < SAFE_KEY
        weak = (f"MAILSVC_API_KEY has fewer than {SAFE_KEY} characters: it can be guessed",) if short else ()
        return weak + tuple(
            f"{name} is not a setting of mailsvc; is it misspelt?"
            for name in sorted(self.environ)
            if name.startswith("MAILSVC_") and name not in known
        )


def _providers(read: _Reader, capture_only: bool) -> dict[str, Settings]:
    """The providers that are switched on, best default score first; `capture` alone when there is no other."""
    kinds = all_providers()
    capture = kinds["capture"]
    wanted = [kind for kind in kinds.values() if kind is not capture and _switched_on(kind, read)]
    if capture_only or not wanted:
        wanted = [capture]
    return {kind.name: _settings(kind, read, DEFAULT_SCORES[place]) for place, kind in enumerate(wanted)}


def _switched_on(kind: type[Provider], read: _Reader) -> bool:
    """Whether all variables of a provider are set. Its own one without the others is a fault."""
    missing = [name for name in kind.env if read.raw(name) is None]
    if missing and kind.env[0] not in missing:
        read.faults.append(f"{kind.env[0]} is set, but {' and '.join(missing)} is not: {kind.name} needs all of them")
    return not missing


def _unused(read: _Reader) -> list[str]:
    """What is set for a provider that is off because its key is not."""
    found = []
    for kind in all_providers().values():
        prefix = f"{kind.name.upper()}_"
        more = [*kind.env[1:], *kind.optional, f"{prefix}URL", f"{prefix}SCORE", f"{prefix}WEBHOOK_KEY"]
        if kind.env and read.raw(kind.env[0]) is None:
            given = [name for name in more if name.startswith(prefix) and read.environ.get(name, "").strip()]
            found += [f"{name} is set, but {kind.env[0]} is not, so {kind.name} is not used" for name in given]
    return found


def _settings(kind: type[Provider], read: _Reader, score: float) -> Settings:
    prefix = kind.name.upper()
    values = {name: read.raw(name) or "" for name in kind.env}
    values |= {name: value for name in kind.optional if (value := read.raw(name))}
    url = read.get(f"{prefix}_URL", setting.http_url, None) if kind.default_url else None
    score = read.get(f"{prefix}_SCORE", setting.number(1, 100), score)
    hook_key = read.raw(f"{prefix}_WEBHOOK_KEY") if Can.REPORT in kind.can else None
    settings = Settings(values, url, score, hook_key)
    read.faults.extend(kind.faults(settings))
    return settings


def _host(read: _Reader) -> str:
    """Loopback, unless `HOST` says otherwise, or `PORT` and a key are set as platforms do it."""
    host = read.raw("HOST")
    if host is None:
        return "0.0.0.0" if read.raw("PORT") and read.raw("MAILSVC_API_KEY") else "127.0.0.1"  # noqa: S104 - the rule
    if not re.fullmatch(r"[A-Za-z0-9.:_-]+", host):
        read.faults.append("HOST must be a host name or an IP address, such as 127.0.0.1")
    return host


def _sender(read: _Reader, providers: Mapping[str, Settings]) -> Mailbox:
    sender: Mailbox | None = read.get("MAILSVC_FROM", setting.mailbox, None)
    if sender is None and read.raw("MAILSVC_FROM") is None and set(providers) != {"capture"}:
        names = ", ".join(providers)
        read.faults.append(
            f"MAILSVC_FROM is needed because a provider is configured ({names}): set it to an address that is "
            "verified there, such as MAILSVC_FROM='Shop <orders@example.com>'"
        )
    return sender or SANDBOX_SENDER


def _check_reach(config: Config, read: _Reader) -> None:
    """Refuse set-ups that strangers could use, or that would lose or fake mail."""
    platform = next((name for name in PLATFORMS if read.raw(name)), None)
    has_key = read.raw("MAILSVC_API_KEY") is not None
    if not has_key and platform:
        read.faults.append(f"MAILSVC_API_KEY is needed here: this is a public platform ({platform} is set)")
    elif not has_key and not config.loopback:
        read.faults.append(
            f"MAILSVC_API_KEY is needed: HOST={config.host} can be reached from outside, and without a key anybody "
            "could send mail. Set a long random key, or HOST=127.0.0.1"
        )
    if not config.live and not config.capture_only and (platform or not config.loopback):
        read.faults.append(
            "no provider is configured, so mail would be kept and not sent, yet others can reach this server. "
            "Configure a provider (SENDGRID_API_KEY, SMTP_URL, …), or say MAILSVC_CAPTURE=1 if that is meant"
        )
    if config.smtp_port is not None and config.smtp_cert is None and not config.loopback:
        read.faults.append(
            f"MAILSVC_SMTP_CERT and MAILSVC_SMTP_KEY are needed: HOST={config.host} can be reached from outside, and a "
            "key must not be sent over SMTP without TLS"
        )
    if (config.smtp_cert is None) != (config.smtp_key is None):
        read.faults.append("MAILSVC_SMTP_CERT and MAILSVC_SMTP_KEY go together: one is set, the other is not")
    wiping = next((name for name in WIPING_PLATFORMS if read.raw(name)), None)
    if (
        wiping
        and config.database_url.startswith("sqlite:")
        and not read.get("MAILSVC_EPHEMERAL", setting.boolean, False)
    ):
        read.faults.append(
            f"DATABASE_URL is an SQLite file, and this platform ({wiping} is set) wipes its disk at every restart: "
            "accepted mail would be lost. Use PostgreSQL, or say MAILSVC_EPHEMERAL=1 if losing it is acceptable"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
