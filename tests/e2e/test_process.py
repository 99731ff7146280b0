"""Starting, refusing to start, and ending without losing anything."""

import asyncio
import json
import signal
from pathlib import Path

import pytest

from tests.e2e.process import FORM, Mailsvc, run
from tests.e2e.test_main_path import live
from tests.e2e.test_overload import until_closed
from tests.fakes import FakeProvider


async def test_the_start_tells_where_in_which_mode_and_what_to_type(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        url = service.url
    said = "\n".join(service.out)

    database = service.database.get("DATABASE_URL", "sqlite:///mailsvc.db").rpartition("@")[2]
    for word in ("SANDBOX", "capture (50)", database, f"{url}/email", "curl"):
        assert word in said
    if not service.database:
        assert (tmp_path / "mailsvc.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.sqlite
async def test_a_second_process_on_the_same_file_ends_with_75_and_names_the_owner(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        code, _, err = await run(tmp_path, "serve")
        pid = service.process.pid

    assert code == 75
    assert str(pid) in err


async def test_a_wrong_configuration_ends_with_78_and_every_fault(tmp_path: Path) -> None:
    code, _, err = await run(tmp_path, SENDGRID_API_KEY="SG.secret", PORT="99999", MAILSVC_SELECTOR="x", HOST="0.0.0.0")

    assert code == 78
    for name in ("MAILSVC_FROM", "PORT", "MAILSVC_SELECTOR", "MAILSVC_API_KEY"):
        assert f"- {name}" in err
    assert "secret" not in err
    assert not (tmp_path / "mailsvc.db").exists()


async def test_mail_that_waits_to_be_sent_is_not_captured_because_a_key_got_lost(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid:
        sendgrid.fault("answer", status=503)
        async with Mailsvc(tmp_path, **live(sendgrid)) as service:
            mail_id = await service.post()
            await service.until(mail_id, "queued")
            service.terminate()
            await service.ended()
            refused = await run(tmp_path, "serve", **service.database)
            sendgrid.clear()
            await service.start()
            found = await service.until(mail_id, "sent")

    assert refused[0] == 78
    assert "1 mails wait" in refused[2]
    assert "sendgrid" in refused[2]
    assert found["provider"] == "sendgrid"


async def test_a_port_in_use_ends_with_75_and_says_so_before_the_database_is_touched(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        (tmp_path / "other").mkdir()
        port = service.url.rpartition(":")[2]
        code, _, err = await run(tmp_path / "other", PORT=port)

    assert code == 75
    assert f"PORT={port} on HOST=127.0.0.1 is used by another program" in err
    assert list((tmp_path / "other").iterdir()) == []


async def test_a_postgresql_that_is_starting_up_ends_the_start_with_75(tmp_path: Path) -> None:
    words = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0"

    async def starting_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big") - 4)
        writer.write(b"E" + (len(words) + 4).to_bytes(4, "big") + words)
        writer.close()

    server = await asyncio.start_server(starting_up, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        url = f"postgres://ann:secret@127.0.0.1:{port}/mail?sslmode=disable"
        code, _, err = await run(tmp_path, DATABASE_URL=url)

    assert code == 75
    assert "PostgreSQL is starting up" in err
    assert "Traceback" not in err


async def test_options_alone_are_those_of_the_usual_command(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        listed = await run(tmp_path, "providers", "--url", service.url)
        helped = await run(tmp_path, "providers", "--help")

    assert (listed[0], helped[0]) == (0, 0)
    assert "capture" in listed[1]
    assert "pause" in helped[1]


async def test_an_instance_that_may_wait_gets_the_port_of_the_one_before_it(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as old:
        new = Mailsvc(tmp_path, MAILSVC_LOCK_WAIT="60", PORT=old.url.rpartition(":")[2])
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(new.__aenter__())
            while new._process is None:
                await asyncio.sleep(0.01)
            await old.post()
            old.terminate()
            await old.ended()
            await starting
        accepted = await new.post()
        await new.__aexit__()

    assert accepted


async def test_sigterm_lets_what_is_in_flight_finish_and_takes_nothing_new(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid:
        sendgrid.fault("delay", seconds=3.0)
        async with Mailsvc(tmp_path, **live(sendgrid)) as service:
            ids = [await service.post() for _ in range(5)]
            await sendgrid.until(lambda: sendgrid.opened > 0)
            waiting = asyncio.create_task(service.settled(ids[0]))
            await service.until(ids[0], "sending")
            service.terminate()
            service.terminate()
            await service.logged("finishing_deliveries")
            refused = await service.call("POST", "/email", json=FORM)
            ready = await service.call("GET", "/readyz")
            answered = await waiting
            code = await service.ended()
            sendgrid.clear()
            await service.start()
            mails = [await service.until(mail_id, "sent") for mail_id in ids]

    assert (refused[0], refused[2]["code"], ready[0]) == (503, "shutting_down", 503)
    assert "Retry-After" in refused[1]
    assert refused[1]["Connection"] == "close"
    assert answered["id"] == ids[0]
    assert code == 0
    assert [len(mail["attempts"]) for mail in mails] == [1] * 5
    assert [sendgrid.accepted(mail_id) for mail_id in ids] == [1] * 5


async def test_two_interrupts_end_it_at_once(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid:
        sendgrid.fault("hang")
        async with Mailsvc(tmp_path, **live(sendgrid)) as service:
            await service.post()
            await sendgrid.until(lambda: sendgrid.opened > 0)
            service.process.send_signal(signal.SIGINT)
            await service.logged("finishing_deliveries")
            service.process.send_signal(signal.SIGINT)
            code = await asyncio.wait_for(service.ended(), 15)  # the mail in flight would have 25 s

    assert code == 130


@pytest.mark.parametrize("arguments", [("--help",), ("serve", "--help"), ("send", "--help"), ("providers", "--help")])
async def test_help_has_examples(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code, out, _ = await run(tmp_path, *arguments)

    assert code == 0
    assert "Examples:" in out


async def test_send_sends_and_prints_what_became_of_it(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        sendgrid.fault("answer", status=503)
        async with Mailsvc(tmp_path, **live(sendgrid, mandrill)) as service:
            sent = await run(
                tmp_path, "send", "ann@example.com", "-s", "Hi", "--wait", stdin="# Hello", MAILSVC_URL=service.url
            )
            wrong = await run(tmp_path, "send", "ann", "-s", "Hi", "-c", "x", "--url", service.url)
            silent = await run(tmp_path, "send", "a@b.co", "-s", "Hi", "-c", "x", "--url", "http://127.0.0.1:9")
            usage = await run(tmp_path, "send")

    assert (sent[0], wrong[0], silent[0], usage[0]) == (0, 1, 1, 2)
    for words in ("attempt 1  sendgrid down: 503", "attempt 2  mandrill accepted", "  sent"):
        assert words in sent[1]
    assert "to[0]: must be an address" in wrong[2]
    assert "Is the server running?" in silent[2]


async def test_providers_are_shown_paused_and_resumed_by_the_command_line(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY="k" * 32) as service:
        settings = {"MAILSVC_URL": service.url, "MAILSVC_API_KEY": "k" * 32}
        paused = await run(tmp_path, "providers", "pause", "capture", **settings)
        shown = await run(tmp_path, "providers", **settings)
        resumed = await run(tmp_path, "providers", "resume", "capture", **settings)
        as_json = await run(tmp_path, "providers", "list", "--json", **settings)
        unknown = await run(tmp_path, "providers", "pause", "nobody", **settings)
        no_key = await run(tmp_path, "providers", MAILSVC_URL=service.url)

    assert [answer[0] for answer in (paused, shown, resumed, as_json, unknown, no_key)] == [0, 0, 0, 0, 1, 1]
    assert (paused[1], resumed[1]) == ("capture is paused\n", "capture is open\n")
    assert "paused by hand" in shown[1]
    assert json.loads(as_json[1])[0]["state"] == "open"
    assert "there is capture" in unknown[2]
    assert "API key" in no_key[2]


async def test_the_command_line_follows_no_redirect_with_its_key(tmp_path: Path) -> None:
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 301 Moved\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        code, _, err = await run(tmp_path, "send", "a@b.co", "-s", "Hi", "-c", "x", "--url", url, "--key", "secret")

    assert code == 1
    assert "redirect to /elsewhere" in err
    assert len(asked) == 1


async def test_a_pause_is_written_down_before_it_is_confirmed(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        await service.call("POST", "/providers/capture/pause")
        await service.kill()
        await service.start()
        _, _, providers = await service.call("GET", "/providers")

    assert providers[0]["state"] == "paused"


async def test_programs_that_accept_html_unasked_get_json_and_their_idempotency(tmp_path: Path) -> None:
    headers = {"Accept": "text/html, image/gif, */*; q=0.2", "Idempotency-Key": "k"}
    async with Mailsvc(tmp_path) as service:
        first = await service.call("POST", "/email", json=FORM, headers=headers)
        again = await service.call("POST", "/email", json=FORM, headers=headers)
        plain = await service.call("POST", "/email", json=FORM, headers={"Accept": "text/html"})

    assert [answer[0] for answer in (first, again, plain)] == [202, 202, 202]
    assert first[2]["id"] == again[2]["id"]


async def test_monitors_may_ask_with_head(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        answers = [await service.call("HEAD", path) for path in ("/healthz", "/readyz")]

    assert [answer[0] for answer in answers] == [200, 200]


@pytest.mark.sqlite
async def test_a_database_that_is_gone_ends_the_process_with_74(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        (tmp_path / "mailsvc.db").unlink()
        code = await asyncio.wait_for(service.ended(), 20)

    assert code == 74


async def test_a_slow_client_is_cut_off_and_harms_nobody(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_CLIENT_TIMEOUT="1") as service:
        sockets = [await asyncio.open_connection(*service.address) for _ in range(200)]
        for _, writer in sockets:
            writer.write(b"POST /email HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n")
        found = await service.settled(await service.post())
        said = await asyncio.wait_for(asyncio.gather(*(until_closed(reader) for reader, _ in sockets)), 30)
        for _, writer in sockets:
            writer.close()

    assert found["status"] == "sent"
    assert set(said) == {b""}  # the end of the connection, and no word


async def test_a_caller_that_goes_away_leaves_nothing_behind(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path) as service:
        host, _, port = service.url.removeprefix("http://").rpartition(":")
        for _ in range(20):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"POST /email HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nto=")
            await writer.drain()
            writer.close()
        await service.post()
        service.terminate()
        code = await asyncio.wait_for(service.ended(), 30)

    assert code == 0
    assert not any('"level":"error"' in line for line in service.log)


async def test_a_full_queue_takes_no_more_and_says_when_to_come_back(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid:
        sendgrid.fault("hang")
        async with Mailsvc(tmp_path, **live(sendgrid, MAILSVC_MAX_QUEUED="3")) as service:
            answers = [await service.call("POST", "/email", json=FORM) for _ in range(5)]

    assert [answer[0] for answer in answers] == [202, 202, 202, 503, 503]
    assert answers[-1][2]["code"] == "queue_full"
    assert int(answers[-1][1]["Retry-After"]) > 0
