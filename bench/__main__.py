"""`python -m bench` (or `make bench`): measures, prints a table, and writes JSON to the file named by BENCH_JSON.

A B A B …, medians, ratios within the run. The server runs on one core, load and provider on the other.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import growth
from .processes import Server, beside, fsyncs, load, mailsvc, noop, provider

CLIENTS = (1, 32, 256)
GOOD, NEIGHBOURS = 32, 8  # clients
QUIET = 2.5  # the load of two cores by the benchmark itself, and a bit
Figures = dict[str, Any]


def say(text: str) -> None:
    """Progress, for whoever waits."""
    print(text, file=sys.stderr, flush=True)


def fdatasync_ms() -> float:
    """What this disk takes for one sync, in milliseconds: at one client it decides."""
    took = []
    with tempfile.TemporaryFile() as file:
        file.write(b"x" * 1024 * 1024)
        for turn in range(100):
            os.pwrite(file.fileno(), b"y" * 4096, turn * 4096)
            start = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - start)
    return statistics.median(took) * 1000


def accept(turns: int, seconds: float) -> Figures:
    """Durable accept against the no-op handler."""
    found: Figures = {}
    with noop() as ceiling, mailsvc() as service:
        service.call("/providers/capture/pause", "POST")
        memory = {"idle": service.rss}
        for server in (ceiling, service):
            load(server, 32, seconds=1)
        for clients in CLIENTS:
            say(f"  accept at {clients} clients …")
            runs = [[_loaded(server, clients, seconds) for server in (ceiling, service)] for _ in range(turns)]
            found[str(clients)] = _compared(runs)
            memory[f"{clients} clients"] = service.rss
        found["memory_mb"] = memory
        found["fsyncs_per_mail_32"] = fsyncs(service, 32, 3000)
    return found


def _loaded(server: Server, clients: int, seconds: float) -> Figures:
    """A run, with the processor's microseconds for each answer: these hold on a machine that is not quiet, too."""
    before = server.cpu
    result = load(server, clients, seconds=seconds)
    return result | {"cpu_us": (server.cpu - before) / result["answers"] * 1e6}


def _compared(runs: list[list[Figures]]) -> Figures:
    noops, accepts = zip(*runs, strict=True)

    def middle(results: tuple[Figures, ...], name: str) -> float:
        return statistics.median(result[name] for result in results)

    return {
        "noop_per_s": middle(noops, "per_second"),
        "accept_per_s": middle(accepts, "per_second"),
        "ratio": statistics.median(a["per_second"] / n["per_second"] for n, a in runs),
        "noop_cpu_us": middle(noops, "cpu_us"),
        "accept_cpu_us": middle(accepts, "cpu_us"),
        "cpu_ratio": statistics.median(n["cpu_us"] / a["cpu_us"] for n, a in runs),
        "noop_p99_ms": middle(noops, "p99_ms"),
        "accept_p99_ms": middle(accepts, "p99_ms"),
        "p99_ratio": middle(accepts, "p99_ms") / middle(noops, "p99_ms"),
    }


def hostile(turns: int, seconds: float) -> Figures:
    """Good mails beside hostile requests, against the same beside as many more clients with good ones."""
    runs: list[tuple[Figures, Figures]] = []
    answered: Counter[str] = Counter()
    with mailsvc() as service:
        service.call("/providers/capture/pause", "POST")
        load(service, GOOD, seconds=1)
        for _ in range(turns):
            # Those beside begin earlier and end later.
            with beside("bench.load", service, NEIGHBOURS, "--seconds", seconds + 2):
                time.sleep(1)
                among_good = load(service, GOOD, seconds=seconds)
            with beside("bench.hostile", service, NEIGHBOURS, seconds + 2) as told:
                time.sleep(1)
                runs.append((among_good, load(service, GOOD, seconds=seconds)))
            answered.update(told["statuses"])
    found: Figures = {"answered": dict(answered)}
    for name in ("per_second", "p99_ms"):
        found[name] = statistics.median(run[1][name] for run in runs)
        found[f"{name}_ratio"] = statistics.median(bad[name] / good[name] for good, bad in runs)
    return found


def end_to_end(turns: int, mails: int) -> Figures:
    """Every accepted mail delivered: against the ceiling, over TLS and plain, at once and after 50 ms."""
    ways: dict[str, Callable[[], Any]] = {
        "plain": provider,
        "tls": lambda: provider(tls=True),
        "tls_50ms": lambda: provider(tls=True, delay=0.05),
    }
    found: Figures = {name: [] for name in ways}
    ceilings = []
    for turn in range(turns):
        with noop() as ceiling:
            load(ceiling, 32, seconds=0.5)
            ceilings.append(load(ceiling, 32, mails=mails)["per_second"])
        for name, opened in ways.items():
            say(f"  end to end, {name}, run {turn + 1} of {turns} …")
            with opened() as (_, settings):
                wide = {"MAILSVC_CONCURRENCY": "256"} if name == "tls_50ms" else {}
                with mailsvc(**settings, **wide) as service:
                    found[name].append(_delivered(service, 256 if wide else 32, mails))
    results: Figures = {"noop_per_s": statistics.median(ceilings)}
    for name in ways:
        results[name] = {
            "per_s": statistics.median(run["per_s"] for run in found[name]),
            "ratio": statistics.median(run["per_s"] / top for run, top in zip(found[name], ceilings, strict=True)),
            "cpu_s_per_1000": statistics.median(run["cpu"] for run in found[name]),
            "memory_mb": statistics.median(run["memory"] for run in found[name]),
        }
    results["50ms_to_instant"] = results["tls_50ms"]["per_s"] / results["tls"]["per_s"]
    return results


def _delivered(service: Server, clients: int, mails: int) -> Figures:
    load(service, clients, mails=200)
    _wait(service, 200)
    cpu, start, before = service.cpu, time.perf_counter(), service.sent
    load(service, clients, mails=mails)
    _wait(service, before + mails)
    took = time.perf_counter() - start
    return {"per_s": mails / took, "cpu": (service.cpu - cpu) / mails * 1000, "memory": service.rss}


def _wait(service: Server, sent: int) -> None:
    deadline = time.monotonic() + 120
    while service.sent < sent:
        if time.monotonic() > deadline:
            raise RuntimeError(f"only {service.sent} of {sent} mails were delivered")
        time.sleep(0.02)


def cold_start() -> Figures:
    """Seconds from the start of the process to its first answer, and what was imported for it."""
    took = []
    for _ in range(5):
        start = time.perf_counter()
        with mailsvc() as service:
            service.call("/healthz")
            took.append(time.perf_counter() - start)
    code = "import mailsvc.serve, sys; print(int('sendgrid' in sys.modules))"
    unused = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return {"first_answer_s": statistics.median(took), "imports_sendgrid": bool(int(unused))}


def machine() -> Figures:
    """What this was measured on, and what else ran."""
    cpu = next((line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ": ?")
    return {
        "cores": os.cpu_count(),
        "cpu": cpu.partition(": ")[2],
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
        "fdatasync_ms": fdatasync_ms(),
    }


def rows(figures: Figures) -> list[tuple[str, str, str]]:
    """What was measured, the figure, the goal."""
    found, ways, grown = figures["accept"], figures["end_to_end"], figures["growth"]
    memory, start = found["memory_mb"], figures["cold_start"]
    goals = {1: "≥ 0.35", 32: "≥ 0.65", 256: "≥ 0.75"}
    table = [
        (f"accept ÷ no-op, {clients} clients", f"{found[str(clients)]['ratio']:.2f}", goals[clients])
        for clients in CLIENTS
    ]
    claim = grown[-1]["claim_ms"] / grown[0]["claim_ms"]
    table += [
        (f"processor time of no-op ÷ of accept, {clients} clients", f"{found[str(clients)]['cpu_ratio']:.2f}", "")
        for clients in CLIENTS
    ]
    return [
        *table,
        ("p99 of accept ÷ p99 of no-op, 256 clients", f"{found['256']['p99_ratio']:.2f}", "≤ 1.6"),
        ("syncs of the disk per accepted mail, 32 clients", f"{found['fsyncs_per_mail_32']:.3f}", "≤ 0.2"),
        ("end to end over TLS ÷ no-op, 32 clients", f"{ways['tls']['ratio']:.2f}", "≥ 0.22"),
        ("CPU s per 1,000 mails, end to end, plain HTTP", f"{ways['plain']['cpu_s_per_1000']:.2f}", "≤ 1.1"),
        ("provider after 50 ms ÷ at once, 256 in flight", f"{ways['50ms_to_instant']:.2f}", "≥ 0.85"),
        (f"claim at {grown[-1]['rows']:,} ÷ at {grown[0]['rows']:,} rows", f"{claim:.2f}", "≤ 1.5"),
        (f"slowest list of 20 at {grown[-1]['rows']:,} rows, ms", f"{grown[-1]['list_ms']:.1f}", ""),
        ("good mails beside hostile requests ÷ beside good", f"{figures['hostile']['per_second_ratio']:.2f}", ""),
        ("the same, p99", f"{figures['hostile']['p99_ms_ratio']:.2f}", ""),
        ("memory idle, MB", f"{memory['idle']:.0f}", "≤ 65"),
        ("memory after 32 clients, MB", f"{memory['32 clients']:.0f}", "≤ 110"),
        ("memory after 256 clients, MB", f"{memory['256 clients']:.0f}", "≤ 140"),
        ("start to first answer, s", f"{start['first_answer_s']:.2f}", "≤ 1"),
        ("pick with 5 providers, µs", f"{figures['pick_us']:.1f}", "≤ 20"),
    ]


def show(figures: Figures) -> None:
    """The table for people."""
    about = figures["machine"]
    print(f"{about['cpu']}, {about['cores']} cores, Python {about['python']}")
    print(f"load before the run {about['load_before']:.2f}, one fdatasync {about['fdatasync_ms']:.2f} ms")
    if max(about["load_before"], about["load_after"]) > QUIET:
        print("THIS MACHINE WAS NOT QUIET: ratios of rates say little, those of processor time a little more")
    print()
    for what, figure, goal in rows(figures):
        print(f"{what:50} {figure:>9}{goal and f'   goal {goal}'}")
    print("\nabsolute figures of this run (they drift with the machine):")
    for clients in CLIENTS:
        line = figures["accept"][str(clients)]
        print(
            f"  {clients:3} clients: no-op {line['noop_per_s']:6.0f}/s (p99 {line['noop_p99_ms']:6.1f} ms)"
            f"   accept {line['accept_per_s']:6.0f}/s (p99 {line['accept_p99_ms']:6.1f} ms)"
            f"   {line['noop_cpu_us']:.0f} and {line['accept_cpu_us']:.0f} µs of processor time"
        )
    for name in ("plain", "tls", "tls_50ms"):
        line = figures["end_to_end"][name]
        print(
            f"  end to end, {name:9} {line['per_s']:6.0f} mails/s, {line['cpu_s_per_1000']:.2f} CPU s per 1,000,"
            f" {line['memory_mb']:.0f} MB, {line['ratio']:.2f} of no-op"
        )
    for line in figures["growth"]:
        print(
            f"  {line['rows']:9,} rows: claim of 64 in {line['claim_ms']:.2f} ms,"
            f" accept of 32 in {line['accept_ms']:.2f} ms"
        )
        print("             lists of 20:", ", ".join(f"{what} {took:.2f} ms" for what, took in line["lists"].items()))
    told = figures["hostile"]["answered"]
    print(f"  hostile requests answered beside good ones, by status: {told}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one turn of each, small outbox: half a minute")
    quick = parser.parse_args().quick
    turns, seconds, mails = (1, 2.0, 1000) if quick else (3, 4.0, 4000)
    figures: Figures = {"machine": machine()}
    say("accepting …")
    figures["accept"] = accept(turns, seconds)
    say("good mails beside hostile requests …")
    figures["hostile"] = hostile(turns, seconds)
    say("end to end …")
    figures["end_to_end"] = end_to_end(turns, mails)
    say("cold start …")
    figures["cold_start"] = cold_start()
    say("growth …")
    figures["growth"] = growth.measured((10_000, 30_000) if quick else (10_000, 100_000, 1_000_000))
    figures["pick_us"] = growth.pick_microseconds()
    figures["machine"]["load_after"] = os.getloadavg()[0]
    show(figures)
    if target := os.environ.get("BENCH_JSON"):
        Path(target).write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
