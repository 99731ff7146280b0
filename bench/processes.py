"""The processes of a run: started, pinned, measured, ended."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TICK = os.sysconf("SC_CLK_TCK")
SERVER_CORE, LOAD_CORE = 0, (os.cpu_count() or 1) - 1


class Server:
    """A running server: its port, its CPU seconds and its memory."""

    def __init__(self, process: subprocess.Popen[str], port: int, folder: Path) -> None:
        self.process, self.port, self.folder = process, port, folder

    @property
    def cpu(self) -> float:
        """CPU seconds so far, all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK

    @property
    def rss(self) -> float:
        """Resident memory in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024

    def call(self, path: str, method: str = "GET") -> Any:
        """JSON of an answer."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    @property
    def sent(self) -> int:
        """Mails that a provider has accepted."""
        return sum(provider["sent"] for provider in self.call("/providers"))


@contextmanager
def _started(arguments: list[str], ready: str, core: int, **settings: str) -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="mailsvc-bench-") as name:
        folder = Path(name)
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOST": "127.0.0.1", "PORT": "0"} | settings
        with (folder / "err").open("w") as err:
            process = subprocess.Popen(
                [sys.executable, *arguments], cwd=folder, env=environ, text=True, stdout=subprocess.PIPE, stderr=err
            )
        os.sched_setaffinity(process.pid, {core})
        try:
            assert process.stdout is not None
            line = next((line for line in process.stdout if ready in line), "")
            if not line:
                raise RuntimeError((folder / "err").read_text()[-2000:])
            found = re.search(r":(\d+)\s*$", line.strip())
            yield Server(process, int(found[1]) if found else 0, folder)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()


@contextmanager
def noop() -> Iterator[Server]:
    """The ceiling."""
    port = _free_port()
    with _started(["-m", "bench.noop", str(port)], "ready", SERVER_CORE) as server:
        server.port = port
        yield server


@contextmanager
def mailsvc(**settings: str) -> Iterator[Server]:
    """The service."""
    with _started(
        ["-m", "mailsvc", "serve"], "mailsvc is serving at", SERVER_CORE, MAILSVC_LOG="warning", **settings
    ) as server:
        yield server


@contextmanager
def provider(tls: bool = False, delay: float = 0.0) -> Iterator[tuple[str, dict[str, str]]]:
    """A fake SendGrid on the other core: its URL, and what the service must be set to."""
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="mailsvc-bench-") as name:
        arguments = ["-m", "tests.fakes", "--port", str(port), *(["--tls", "--certificate", name] if tls else [])]
        with _started(arguments, str(port), LOAD_CORE):
            url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
            if delay:
                _fault(url, name, {"kind": "delay", "seconds": delay})
            settings = {"MAILSVC_FROM": "shop@example.com", "SENDGRID_API_KEY": "SG.x", "SENDGRID_URL": url}
            yield url, settings | ({"SSL_CERT_FILE": f"{name}/fake.pem"} if tls else {})


def _fault(url: str, folder: str, fault: dict[str, object]) -> None:
    import ssl

    context = ssl.create_default_context(cafile=f"{folder}/fake.pem") if url.startswith("https") else None
    request = urllib.request.Request(f"{url}/_fault", json.dumps(fault).encode())
    urllib.request.urlopen(request, timeout=10, context=context).close()


@contextmanager
def beside(module: str, server: Server, *arguments: object) -> Iterator[dict[str, Any]]:
    """Another load on a server, from the same core as the first; what it has to tell is there after the block."""
    found: dict[str, Any] = {}
    command = [sys.executable, "-m", module, str(server.port), *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE)
    os.sched_setaffinity(process.pid, {LOAD_CORE})
    yield found
    out, _ = process.communicate(timeout=300)
    found |= json.loads(out)


def load(server: Server, clients: int, **how: float) -> dict[str, Any]:
    """Put load on a server from the other core."""
    options = [word for name, value in how.items() for word in (f"--{name}", str(value))]
    arguments = [sys.executable, "-m", "bench.load", str(server.port), str(clients), *options]
    process = subprocess.Popen(arguments, cwd=ROOT, text=True, stdout=subprocess.PIPE)
    os.sched_setaffinity(process.pid, {LOAD_CORE})
    out, _ = process.communicate(timeout=300)
    result: dict[str, Any] = json.loads(out)
    if set(result["statuses"]) != {"202"}:
        raise RuntimeError(f"answers other than 202: {result['statuses']}")
    return result


def fsyncs(server: Server, clients: int, mails: int) -> float:
    """Syncs of the disk for each mail, counted by strace."""
    with tempfile.NamedTemporaryFile("r") as report:
        tracer = subprocess.Popen(
            ["strace", "-f", "-c", "--seccomp-bpf", "-e", "trace=fsync,fdatasync"]  # noqa: RUF005 - reads as a command
            + ["-o", report.name, "-p", str(server.process.pid)],
            stderr=subprocess.DEVNULL,
        )
        time.sleep(0.5)
        load(server, clients, mails=mails)
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
        calls = re.findall(r"\s(\d+)\s+(?:\d+\s+)?f(?:data)?sync$", report.read(), re.MULTILINE)
    if not calls:
        raise RuntimeError("strace counted nothing: may it trace other processes here?")
    return sum(map(int, calls)) / mails


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
