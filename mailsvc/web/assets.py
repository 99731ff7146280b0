"""The files of the page: style, scripts, icons. Read once; a digest of all is in their URLs, so they can be kept."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..errors import ConfigError
from .base import Handler
from .problem import Problem

ROOT = Path(__file__).parents[2]
KEEP = "public, max-age=31536000, immutable"
_KINDS = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".txt": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One file; `packed` is it compressed, where that helps."""

    kind: str
    body: bytes
    packed: bytes | None


class Assets:
    """All files below a folder by their path, with a version for them all."""

    def __init__(self, folder: Path) -> None:
        self._files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.suffix in _KINDS
        }
        digest = hashlib.sha256(repr([(name, body) for name, body in self._files.items()]).encode())
        self.version = digest.hexdigest()[:12]
        self._packed: dict[str, Asset] = {}

    def url(self, name: str) -> str:
        """Where the page finds a file. KeyError if there is none."""
        self._files[name]
        return f"/static/{self.version}/{name}"

    def get(self, name: str) -> Asset | None:
        """The file of that name."""
        if name not in self._packed and name in self._files:
            body = self._files[name]
            packed = gzip.compress(body, mtime=0)
            kind = _KINDS[Path(name).suffix]
            self._packed[name] = Asset(kind, body, packed if len(packed) < 0.9 * len(body) else None)
        return self._packed.get(name)


@cache
def assets() -> Assets:
    """The files of this installation."""
    return Assets(ROOT / "static")


def check_folders() -> None:
    """Raise ConfigError unless the folders of the page are where they belong."""
    missing = [name for name in ("static", "templates") if not (ROOT / name).is_dir()]
    if missing:
        names = " and ".join(missing)
        raise ConfigError(
            [f"the folder {names} is missing in {ROOT}: run mailsvc from its whole tree, or copy it there"]
        )


class Static(Handler):
    """`/static/<version>/<name>`, and the icon where browsers look for it by themselves."""

    public = True

    async def get(self, version: str = "", name: str = "icon.svg") -> None:
        """A file. One of another version is still served, as it is now, and not kept."""
        asset = await asyncio.to_thread(assets().get, name)  # a large one takes a while to compress, once
        if asset is None:
            raise Problem(404, "not_found", "There is no such file.")
        self.set_header("Content-Type", asset.kind)
        self.set_header("Vary", "Accept-Encoding")
        if version == assets().version:
            self.set_header("Cache-Control", KEEP)
        if asset.packed and "gzip" in self.request.headers.get("Accept-Encoding", ""):
            self.set_header("Content-Encoding", "gzip")
            self.finish(asset.packed)
        else:
            self.finish(asset.body)
