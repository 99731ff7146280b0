"""What the doctor makes of disks, providers and clocks that no test machine has."""

from pathlib import Path

import pytest

from mailsvc.doctor import clock, disk
from mailsvc.doctor.base import Level
from mailsvc.doctor.network import SAMPLE, where
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
