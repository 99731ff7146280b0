"""Run the fake provider by hand: `python -m tests.fakes --help`."""

from __future__ import annotations

import argparse
import asyncio
import signal
import tempfile
from pathlib import Path

from . import Certificate, FakeProvider
from .faults import KINDS, STEPS

EPILOG = """
watch a failover:
  python -m tests.fakes --port 9001 --ledger sendgrid.jsonl
  python -m tests.fakes --port 9002 --ledger mandrill.jsonl
  MAILSVC_FROM=shop@example.com SENDGRID_API_KEY=x MANDRILL_API_KEY=y \\
    SENDGRID_URL=http://127.0.0.1:9001 MANDRILL_URL=http://127.0.0.1:9002 python -m mailsvc serve
  curl -d to=ann@example.com -d subject=Hi -d content=hello localhost:8080/email
  curl localhost:9001/_ledger

control it while it runs:
  curl localhost:9001/_fault -d '{"kind": "answer", "status": 503}'
  curl localhost:9001/_fault -d '{"kind": "answer", "status": 429, "headers": {"Retry-After": "7"}, "times": 3}'
  curl localhost:9001/_fault -d '{"kind": "reset", "at": "half", "probability": 0.2}'
  curl localhost:9001/_fault -d '{"kind": "hang", "after": 10}'
  curl localhost:9001/_fault -d '{"kind": "kill", "pid": 4711, "at": "answer"}'
  curl localhost:9001/_fault                 # what is on
  curl localhost:9001/_fault -X DELETE       # everything is accepted again

a fault at step `accept` strikes every connection, also one that is meant to control.
"""


def arguments() -> argparse.Namespace:
    kinds = "\n".join(f"  {kind:9} {text}" for kind, text in KINDS.items())
    steps = "\n".join(f"  {step:9} {text}" for step, text in STEPS.items())
    parser = argparse.ArgumentParser(
        prog="python -m tests.fakes",
        description="A fake of every e-mail provider on one port of 127.0.0.1. Accepts everything.",
        epilog=f"{EPILOG}\nkinds of faults:\n{kinds}\n\nsteps (`at`):\n{steps}\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=0, help="default: any free one; it is printed")
    parser.add_argument("--ledger", type=Path, help="append a line of JSON for each request, before it is answered")
    parser.add_argument("--fsync", action="store_true", help="with fsync, to outlive a power cut")
    parser.add_argument("--tls", action="store_true", help="speak TLS with a self-signed certificate")
    parser.add_argument("--certificate", type=Path, help="folder for that certificate (fake.pem is what to trust)")
    parser.add_argument("--key", action="append", default=[], metavar="PROVIDER=KEY", help="accept this API key only")
    parser.add_argument("--forgetful", action="store_true", help="honour no idempotency key")
    parser.add_argument("--seed", type=int, default=0, help="of the faults with a probability")
    return parser.parse_args()


async def serve(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    certificate = None
    if options.tls:
        certificate = Certificate.make(options.certificate or Path(tempfile.mkdtemp(prefix="fake-provider-")))
    keys = dict(pair.split("=", 1) for pair in options.key)
    fake = FakeProvider(
        port=options.port,
        ledger=options.ledger,
        fsync=options.fsync,
        certificate=certificate,
        keys=keys,
        seed=options.seed,
        dedupes=not options.forgetful,
    )
    async with fake:
        trust = f" (trust {certificate.cafile}, e.g. by SSL_CERT_FILE)" if certificate else ""
        print(f"fake provider on {fake.url}{trust}", flush=True)
        await stop.wait()
    taken = sum(entry.accepted for entry in fake.ledger)
    print(f"{len(fake.ledger)} requests, {taken} mails accepted", flush=True)


if __name__ == "__main__":
    asyncio.run(serve(arguments()))
