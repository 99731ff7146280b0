"""What the doctor makes of disks, providers and clocks that no test machine has."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from mailsvc.callback import Glimpse, Off
from mailsvc.config import Config
from mailsvc.doctor import callbacks, certificate, clock, disk, templates
from mailsvc.doctor.base import Level
from mailsvc.doctor.network import SAMPLE, where
from mailsvc.guard import Guard
from mailsvc.outbox.base import Inspection
from mailsvc.providers import all_providers
from mailsvc.providers.base import Provider, Settings

NOW = 1_800_000_000.0
MOUNTS = """\
21 1 0:20 / / rw,relatime - overlay overlay rw,lowerdir=/a
22 21 0:21 / /proc rw - proc proc rw
23 21 254:1 / /data rw,relatime shared:1 - ext4 /dev/vda rw
24 23 0:30 / /data/ram rw - tmpfs tmpfs rw
25 21 0:31 / /mnt/my\\040share rw - nfs4 server:/share rw
26 23 254:2 / /data rw - xfs /dev/vdb rw
a line that means nothing
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/app/mail.db", "overlay"),
        ("/data/mail.db", "xfs"),
        ("/data/ram/mail.db", "tmpfs"),
        ("/data/ramp/mail.db", "xfs"),
        ("/mnt/my share/mail.db", "nfs4"),
    ],
)
def test_the_file_system_is_that_of_the_longest_and_latest_mount_point(path: str, kind: str) -> None:
    assert disk.file_system(Path(path), MOUNTS) == kind


@pytest.mark.parametrize(
    ("path", "level", "words"),
    [
        ("/app/mail.db", Level.WARN, "mount a volume"),
        ("/data/mail.db", Level.OK, "is on xfs"),
        ("/data/ram/mail.db", Level.FAIL, "in memory"),
        ("/mnt/my share/mail.db", Level.FAIL, "network disk"),
    ],
)
def test_a_disk_that_does_not_stay_is_named(tmp_path: Path, path: str, level: Level, words: str) -> None:
    (tmp_path / "mountinfo").write_text(MOUNTS)
    found = disk.kind(Path(path), tmp_path / "mountinfo")

    assert found.level is level
    assert words in f"{found.found} {found.fix}"


def test_where_nobody_tells_the_mounts_nothing_is_claimed(tmp_path: Path) -> None:
    found = disk.kind(Path("/data/mail.db"), tmp_path / "missing")

    assert found.level is Level.OK
    assert "cannot be told" in found.found


def seen(last_mail_at: float | None = None, database: float | None = None) -> Inspection:
    return Inspection("here", 1, 1, last_mail_at=last_mail_at, clock=database)


@pytest.mark.parametrize(
    ("now", "inspection", "kernel", "level", "words"),
    [
        (NOW, None, 0, Level.OK, "2027-01-15 08:00:00 UTC"),
        (NOW, seen(NOW - 5, NOW + 2), None, Level.OK, "says"),
        (NOW, None, clock.UNSYNCHRONISED, Level.WARN, "nothing keeps it right"),
        (0.0, None, 0, Level.FAIL, "1970-01-01 00:00:00 UTC, before this program was installed"),
        (NOW, seen(database=NOW + 120), 0, Level.FAIL, "120 s behind the database's"),
        (NOW, seen(database=NOW - 120), 0, Level.FAIL, "120 s ahead of the database's"),
        (NOW, seen(last_mail_at=NOW + 3600), 0, Level.FAIL, "3,600 s behind the newest mail"),
    ],
)
def test_the_clock_is_held_against_all_that_is_known(
    now: float, inspection: Inspection | None, kernel: int | None, level: Level, words: str
) -> None:
    found = clock.judge(now, NOW - 86_400, inspection, kernel)

    assert found.level is level
    assert words in found.found


@pytest.mark.parametrize("kind", [kind for kind in all_providers().values() if kind.name != "capture"])
def test_it_knows_where_every_provider_would_be_reached(kind: type[Provider]) -> None:
    values = {name: kind.example.get(name, "x" * 20) for name in (*kind.env,)}

    assert where(kind(Settings(values)).request(SAMPLE))


def glimpse(url: str = "https://127.0.0.1/hooks/secret", **how: Any) -> Glimpse:
    return Glimpse(**{"id": "cb_1", "url": url, "disabled_why": None, "failing_since": None, "waiting": 0, **how})


@pytest.mark.parametrize(
    ("callback", "level", "words"),
    [
        (glimpse(), Level.OK, "cb_1 (127.0.0.1) may be called"),
        (glimpse(waiting=12), Level.OK, "may be called, 12 waiting"),
        (glimpse(waiting=1200), Level.WARN, "is too slow, 1,200 waiting -> let it answer first"),
        (
            glimpse(failing_since=NOW, waiting=3),
            Level.WARN,
            "nothing since 2027-01-15 08:00 UTC, 3 waiting -> see what",
        ),
        (glimpse(disabled_why=Off.HAND), Level.OK, "switched off by hand"),
        (glimpse(disabled_why=Off.GONE), Level.WARN, "it answered 410 -> mend the application, then switch it on"),
        (glimpse(disabled_why=Off.FAILING, waiting=5), Level.WARN, "for five days, 5 waiting -> mend"),
        (glimpse("https://10.1.2.3/secret"), Level.FAIL, "may not be called: its URL must not lead to a private"),
        (glimpse("http://example.com/secret"), Level.FAIL, "its URL must begin with https://"),
        (glimpse("https://nowhere.invalid/secret"), Level.FAIL, "its host is not found -> has this machine a network"),
    ],
)
async def test_a_callback_that_cannot_be_told_is_named(callback: Glimpse, level: Level, words: str) -> None:
    found = await callbacks.judge(callback, Guard(["127.0.0.1"]))

    assert found.level is level
    assert words in f"{found.found} -> {found.fix}"
    assert "secret" not in f"{found}"


async def test_a_name_that_leads_inside_is_told_and_offline_no_name_is_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked = []

    def lookup(host: str, *_: Any, **__: Any) -> list[Any]:
        looked.append(host)
        return [(None, None, None, "", ("10.0.0.7", 0))]

    monkeypatch.setattr("socket.getaddrinfo", lookup)
    callback = glimpse("https://hooks.example.com/x")
    found = await callbacks.judge(callback, Guard())
    offline = await callbacks.judge(callback, Guard(), offline=True)
    allowed = await callbacks.judge(callback, Guard(["10.0.0.0/8"]))

    assert (found.level, offline.level, allowed.level) == (Level.FAIL, Level.OK, Level.OK)
    assert "leads to 10.0.0.7, which is inside" in found.found
    assert looked == ["hooks.example.com"] * 2


def issued(begin: float, end: float, *names: str) -> x509.Certificate:
    """A certificate for these names; without any, its common name counts. `begin` and `end` are days from NOW."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "old.example.com")])
    now = datetime.fromtimestamp(NOW, UTC)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now + timedelta(begin)).not_valid_after(now + timedelta(end))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(map(x509.DNSName, names)), critical=False)
    return builder.sign(key, SHA256())


@pytest.mark.parametrize(
    ("given", "known", "level", "words"),
    [
        (
            issued(-1, 90, "mail.example.com"),
            {"mail.example.com"},
            Level.OK,
            "is for mail.example.com, until 2027-04-15",
        ),
        (issued(-1, 90, "*.example.com"), {"mail.example.com"}, Level.OK, "*.example.com"),
        (issued(-1, 90, "*.example.com"), {"a.mail.example.com"}, Level.WARN, "and not for a.mail.example.com"),
        (issued(-1, 90, "www.example.com"), set(), Level.OK, "www.example.com"),
        (issued(-1, 90), {"old.example.com"}, Level.OK, "old.example.com"),
        (issued(-1, 13, "mail.example.com"), set(), Level.WARN, "ends on 2027-01-28 -> renew it"),
        (issued(-9, -1, "mail.example.com"), set(), Level.FAIL, "ended on 2027-01-14 -> renew it"),
        (issued(1, 90, "mail.example.com"), set(), Level.FAIL, "is not good yet -> is the clock right?"),
    ],
)
def test_a_certificate_is_judged_by_its_time_and_its_names(
    given: x509.Certificate, known: set[str], level: Level, words: str
) -> None:
    found = certificate.judge(given, NOW, frozenset(known))

    assert found.level is level
    assert words in f"{found.found} -> {found.fix}"


async def test_templates_that_the_start_would_refuse_are_named_and_those_it_takes_counted(tmp_path: Path) -> None:
    def folder(text: str) -> None:
        (tmp_path / "welcome").mkdir(exist_ok=True)
        (tmp_path / "welcome" / "subject.txt").write_text("Hi")
        (tmp_path / "welcome" / "text.txt").write_text(text)

    async def said(path: Path) -> list[tuple[Level, str]]:
        found = await templates.check(Config.from_environ({"MAILSVC_TEMPLATES": str(path)}))
        return [(each.level, each.found) for each in found]

    ((missing, why),) = await said(tmp_path / "nowhere")
    folder("{% for")
    ((broken, place),) = await said(tmp_path)
    folder("Hello {{ name }}")

    assert (missing, broken) == (Level.CONFIG, Level.CONFIG)
    assert "cannot be read" in why
    assert f"{tmp_path / 'welcome'}: text" in place
    assert await said(tmp_path) == [(Level.OK, f"1 read from {tmp_path}")]
    assert await templates.check(Config.from_environ({})) == []
