"""What this process is called among those that share a store. No other has the same name, not even its successor."""

from __future__ import annotations

import os
import socket
from functools import cache


def name() -> str:
    """Machine, process id and four digits at random, such as `web-1.4711.9f3a`."""
    return _name(os.getpid())


@cache
def _name(pid: int) -> str:
    return f"{socket.gethostname()[:100]}.{pid}.{os.urandom(2).hex()}"
