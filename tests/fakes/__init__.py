"""Stand-ins for the world outside: a provider over HTTP(S) and a mail server, both on real sockets."""

from .faults import Fault
from .ledger import Entry
from .provider import FakeProvider
from .tls import Certificate

__all__ = ["Certificate", "Entry", "FakeProvider", "Fault"]
