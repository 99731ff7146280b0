"""The disk of an SQLite file: does it stay, may it be written, does it have room, how long does a sync take."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from statistics import median

from .base import Finding, fail, misconfigured, ok, warn

ROOM = 256 << 20  # bytes below which a busy day may fill the disk
SYNCS, SLOW_SYNC = 5, 0.05  # seconds
IN_MEMORY = ("tmpfs", "ramfs", "devtmpfs")
IN_CONTAINER = ("overlay", "aufs", "fuse.overlayfs")
REMOTE = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs", "fuse.glusterfs")


def check(file: Path) -> list[Finding]:
    """What there is to say of the disk on which the database `file` is, or will be."""
    folder = file.parent
    if not folder.is_dir():
        return [
            misconfigured("disk", f"the folder {folder} does not exist", f"mkdir -p {folder}, for the user of mailsvc")
        ]
    try:
        took = _sync_time(folder)
    except OSError as error:
        words = (error.strerror or str(error)).lower()
        return [
            misconfigured(
                "disk", f"{folder} cannot be written: {words}", f"make it writable for this user ({os.getuid()})"
            )
        ]
    return [kind(file, Path("/proc/self/mountinfo")), _room(folder), _pace(took)]


def kind(file: Path, mounts: Path) -> Finding:
    """Whether the disk stays. `mounts` is a file in the form of /proc/self/mountinfo."""
    try:
        name = file_system(file, mounts.read_text())
    except OSError:
        return ok("disk", f"{file.parent} can be written; what kind of disk it is cannot be told here")
    where = "put DATABASE_URL on a disk that stays"
    if name in IN_MEMORY:
        return fail("disk", f"{file} is in memory ({name}): all mail is gone when the machine ends", where)
    if name in IN_CONTAINER:
        return warn("disk", f"{file} is in the container ({name}), and gone with it", f"mount a volume and {where}")
    if name in REMOTE:
        return fail("disk", f"{file} is on a network disk ({name}), whose locks and syncs are not to be trusted", where)
    return ok("disk", f"{file.parent} is on {name} and can be written")


def file_system(file: Path, mounts: str) -> str:
    """The kind of file system that holds a path: that of the longest mount point above it, the last one if several."""
    place, found = os.path.realpath(file), ("", "unknown")
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = fields[4].replace("\\040", " ")
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(found[0]):
            found = (point, after.split(" ")[0])
    return found[1]


def _sync_time(folder: Path) -> float:
    """Median seconds of a write that is synced, to a file that is gone afterwards."""
    took = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for turn in range(SYNCS):
            began = time.perf_counter()
            os.pwrite(file.fileno(), b"mailsvc " * 512, turn * 4096)
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return median(took)


def _room(folder: Path) -> Finding:
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    words = f"{free / (1 << 20):,.0f} MiB are free"
    return ok("room", words) if free >= ROOM else fail("room", f"only {words}", "make room, or use a larger disk")


def _pace(took: float) -> Finding:
    words = f"a sync takes {took * 1000:.1f} ms"
    if took > SLOW_SYNC:
        return warn("sync", f"{words}, and every commit waits for one", "use a faster disk")
    return ok("sync", words)
