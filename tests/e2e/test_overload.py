"""More than can be served: refused in words and in bounds, and nothing that was accepted is lost."""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp

from tests.e2e.process import FORM, Mailsvc
from tests.e2e.test_main_path import live
from tests.fakes import FakeProvider

MIB = 1 << 20
SLOW_SOCKETS, CLIENTS, SECONDS = 500, 700, 2.0
HEAD = b"POST /email HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


async def until_closed(reader: asyncio.StreamReader) -> bytes:
    """What is said until the connection is closed."""
    try:
        return await reader.read()
    except ConnectionResetError:
        return b""


async def test_five_hundred_slow_clients_are_closed_and_harm_nobody_meanwhile(tmp_path: Path) -> None:
    begun = [b"", b"POST /ema", HEAD, HEAD + b"Content-Length: 100\r\n\r\n", HEAD + b"Content-Length: 9\r\n\r\n{"]
    async with Mailsvc(tmp_path, MAILSVC_CLIENT_TIMEOUT="3") as service:
        sockets = [await asyncio.open_connection(*service.address) for _ in range(SLOW_SOCKETS)]
        for number, (_, writer) in enumerate(sockets):
            writer.write(begun[number % len(begun)])
        sent, still_open = [], []
        for _ in range(20):
            sent.append(await service.settled(await service.post()))
            still_open.append(sum(not reader.at_eof() for reader, _ in sockets))
        closed = await asyncio.wait_for(asyncio.gather(*(until_closed(reader) for reader, _ in sockets)), 30)
        for _, writer in sockets:
            writer.close()

    assert {mail["status"] for mail in sent} == {"sent"}
    assert max(still_open) > 0  # good requests were served while slow ones waited
    assert len(closed) == SLOW_SOCKETS


async def test_a_client_that_drips_its_request_is_closed_all_the_same(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_CLIENT_TIMEOUT="1") as service:
        reader, writer = await asyncio.open_connection(*service.address)
        begun = time.monotonic()
        with suppress(ConnectionError):
            for _ in range(1000):
                writer.write(b"G")
                await writer.drain()
                if reader.at_eof():
                    break
                await asyncio.sleep(0.02)
        took = time.monotonic() - begun
        writer.close()

    assert took < 15


async def test_a_connection_too_many_is_told_so_and_those_before_it_go_on(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_MAX_CONNECTIONS="10") as service:
        await service.post()  # over a connection that is kept
        held = [await asyncio.open_connection(*service.address) for _ in range(9)]
        reader, writer = await asyncio.open_connection(*service.address)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        told = await until_closed(reader)
        kept = await service.post()
        held[0][1].write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        served = await held[0][0].readline()
        for _, each in [*held, (reader, writer)]:
            each.close()
        again = b""
        while not again.startswith(b"HTTP/1.1 200"):  # as soon as the service has heard that the others have gone
            later_reader, later = await asyncio.open_connection(*service.address)
            later.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            again = await until_closed(later_reader)
            later.close()

    assert told.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 1\r\n" in told
    assert b'"code":"overloaded"' in told
    assert kept
    assert served.startswith(b"HTTP/1.1 200")


async def test_with_few_files_there_are_few_connections_and_mail_goes_out(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid:
        settings = live(sendgrid, MAILSVC_RETRY="0.1")
        async with Mailsvc(tmp_path, "prlimit", "--nofile=64:64", "--", **settings) as service:
            sockets = []
            for _ in range(60):
                with suppress(ConnectionError):
                    sockets.append(await asyncio.open_connection(*service.address))
            for _, writer in sockets:
                writer.close()
            ids = []
            while len(ids) < 40:
                with suppress(aiohttp.ClientError, AssertionError):
                    ids.append(await service.post())
            sent = [await service.until(mail_id, "sent") for mail_id in ids]

    assert len(sent) == 40
    assert any('"event":"few_files"' in line for line in service.log)


async def _flood(service: Mailsvc, end: float, answers: list[tuple[int, str | None, str]]) -> None:
    """Post as fast as the answers come, until the end."""
    while time.monotonic() < end:
        status, headers, body = await service.call("POST", "/email", json=FORM)
        answers.append((status, headers.get("Retry-After"), body["id"] if status == 202 else body["code"]))
        if status != 202:
            await asyncio.sleep(0.05)  # as polite as that


async def test_far_too_many_clients_get_202_or_503_and_every_accepted_mail_is_sent(tmp_path: Path) -> None:
    answers: list[tuple[int, str | None, str]] = []
    health = []
    settings = {"MAILSVC_LOG": "error", "MAILSVC_MAX_QUEUED": "100000", "MAILSVC_MAX_CONNECTIONS": "1000"}
    async with Mailsvc(tmp_path, **settings) as service:
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=60)) as crowd:
            service.http, quiet = crowd, service.http
            end = time.monotonic() + SECONDS
            floods = asyncio.gather(*(_flood(service, end, answers) for _ in range(CLIENTS)))
            while not floods.done():
                async with quiet.get(f"{service.url}/healthz") as answer:
                    health.append(answer.status)
                await asyncio.sleep(0.05)
            await floods
            service.http = quiet
        accepted = [told for status, _, told in answers if status == 202]
        for mail_id in accepted[-50:]:
            await service.settled(mail_id)
        memory = service.peak_memory
        counted = dict.fromkeys(("queued", "sending", "uncertain", "failed"), 0.0)
        for _ in range(600):
            _, _, metrics = await service.call("GET", "/metrics")
            lines = dict(line.rsplit(" ", 1) for line in metrics.splitlines() if line.startswith("mailsvc_mails{"))
            counted = {status: float(lines[f'mailsvc_mails{{status="{status}"}}']) for status in counted}
            if not any(counted.values()):
                break
            await asyncio.sleep(0.05)
        sent = float(lines['mailsvc_mails{status="sent"}'])

    refused = Counter((status, told) for status, _, told in answers if status != 202)
    assert set(refused) <= {(503, "overloaded"), (503, "queue_full")}
    assert refused[(503, "overloaded")] > 0
    assert all(wait and int(wait) > 0 for status, wait, _ in answers if status != 202)
    assert len(set(accepted)) == len(accepted) == sent
    assert not any(counted.values())
    assert set(health) == {200}
    assert memory < 256 * MIB


async def test_a_full_queue_takes_nothing_and_takes_again_when_it_has_drained(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid:
        async with Mailsvc(tmp_path, **live(sendgrid, MAILSVC_MAX_QUEUED="3")) as service:
            await service.call("POST", "/providers/sendgrid/pause")
            answers = [await service.call("POST", "/email", json=FORM) for _ in range(5)]
            ready = await service.call("GET", "/readyz")
            await service.call("POST", "/providers/sendgrid/resume")
            while (await service.call("POST", "/email", json=FORM))[0] != 202:
                await asyncio.sleep(0.05)

    assert [answer[0] for answer in answers] == [202, 202, 202, 503, 503]
    assert {answer[2]["code"] for answer in answers[3:]} == {"queue_full"}
    assert ready[0] == 200


async def test_a_repeated_request_gets_its_first_answer_although_the_queue_is_full_or_its_rate_is_used_up(
    tmp_path: Path,
) -> None:
    keyed = {"Idempotency-Key": "one"}
    async with FakeProvider() as sendgrid:
        sendgrid.fault("hang")
        settings = live(sendgrid, MAILSVC_MAX_QUEUED="2", MAILSVC_API_KEY="k" * 32)
        async with Mailsvc(tmp_path, **settings) as service:
            admin = {"Authorization": f"Bearer {'k' * 32}"}
            limited = {"name": "slow", "scopes": ["send"], "rate": 1}
            _, _, made = await service.call("POST", "/keys", json=limited, headers=admin)
            slow = {"Authorization": f"Bearer {made['key']}"}

            async def post(path: str, body: object, headers: dict[str, str]) -> tuple[int, Any, str | None]:
                status, told, answer = await service.call("POST", path, json=body, headers=headers)
                return status, answer, told.get("Idempotent-Replayed")

            first = await post("/email", FORM, slow | keyed)
            by_rate = [await post("/email", FORM, slow), await post("/email", FORM, slow | keyed)]
            batch = await post("/email/batch", [FORM], admin | keyed)
            full = [await post("/email", FORM, admin), await post("/email", FORM, slow | keyed)]
            batches = [await post("/email/batch", [FORM], admin), await post("/email/batch", [FORM], admin | keyed)]
            other = await post("/email", FORM | {"subject": "another"}, slow | keyed)

    assert (first[0], batch[0]) == (202, 202)
    assert (by_rate[0][0], by_rate[0][1]["code"]) == (429, "rate_limited")
    assert by_rate[1] == full[1] == (202, first[1], "true")
    assert (full[0][0], full[0][1]["code"], batches[0][0]) == (503, "queue_full", 503)
    assert batches[1] == (202, batch[1], "true")
    assert (other[0], other[1]["code"]) == (422, "idempotency_key_reused")


async def test_many_large_bodies_at_a_time_are_refused_before_memory_is_short(tmp_path: Path) -> None:
    body = b'{"to": "ann@example.com", "subject": "s", "content": "' + b"x" * (MIB - 200) + b'"}'
    head = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
    async with Mailsvc(tmp_path, MAILSVC_LOG="error") as service:
        await service.call("POST", "/providers/capture/pause")  # deliveries have bodies of their own
        sockets = [await asyncio.open_connection(*service.address) for _ in range(150)]
        for _, writer in sockets:
            writer.write(head + body[:-1])
            await writer.drain()
        small = await service.post()
        for _, writer in sockets:
            writer.write(body[-1:])
        answers = await asyncio.wait_for(asyncio.gather(*(until_closed(reader) for reader, _ in sockets)), 60)
        for _, writer in sockets:
            writer.close()
        memory = service.peak_memory
        later = await service.call("POST", "/email", data=BytesIO(body), headers={"Content-Type": "application/json"})

    statuses = Counter(answer[9:12] for answer in answers)
    assert set(statuses) == {b"202", b"503"}
    assert statuses[b"202"] >= 50
    assert all(b'"code":"overloaded"' in answer for answer in answers if answer[9:12] == b"503")
    assert small
    assert later[0] == 202
    assert memory < 256 * MIB


async def test_bodies_of_strangers_take_no_memory(tmp_path: Path) -> None:
    body = b"x" * (MIB - 1)
    async with Mailsvc(tmp_path, MAILSVC_API_KEY="k" * 32, MAILSVC_LOG="error") as service:
        before = service.peak_memory
        head = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % MIB
        sockets = [await asyncio.open_connection(*service.address) for _ in range(50)]
        for _, writer in sockets:
            writer.write(head + body)
            await writer.drain()
        grown = service.peak_memory - before
        for _, writer in sockets:
            writer.write(b"x")
        answers = await asyncio.gather(*(until_closed(reader) for reader, _ in sockets))
        for _, writer in sockets:
            writer.close()

    assert {answer[9:12] for answer in answers} == {b"401"}
    assert grown < 16 * MIB


async def test_hostile_markdown_does_not_stop_others(tmp_path: Path) -> None:
    hostile = [">" * 100_000, "[" * 200_000, "![[](" * 100_000, "*a_ " * 200_000, "`" * 300_000, "| a " * 200_000]
    async with Mailsvc(tmp_path, MAILSVC_LOG="error") as service:
        posts = asyncio.gather(*(service.call("POST", "/email", json=FORM | {"content": text}) for text in hostile))
        beside = 0
        while not posts.done():
            assert (await service.call("GET", "/healthz"))[0] == 200
            beside += 1
        answers = await posts
        ids = [body["id"] for status, _, body in answers if status == 202]
        ends = [(await service.until(mail_id, "sent", "failed"))["status"] for mail_id in ids]

    assert {answer[0] for answer in answers} <= {202, 422}
    assert len(ends) == len(ids)
    assert beside >= 3
