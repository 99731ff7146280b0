"""/metrics of the real process: it tells what happened, to those who may know, whatever the database does."""

import platform
from pathlib import Path

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

from mailsvc import __version__
from tests.e2e.process import FORM, Mailsvc
from tests.e2e.test_main_path import live
from tests.fakes import FakeProvider
from tests.postgres import PostgresServer

KEY = "k" * 32
BEARER = {"Authorization": f"Bearer {KEY}"}


async def scrape(service: Mailsvc) -> dict[tuple[str, ...], float]:
    """Every sample of mailsvc by its name and the values of its labels, in the order of the labels' names, but for its
    process.
    """
    status, headers, text = await service.call("GET", "/metrics", headers=BEARER)
    assert (status, headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    families = parser.text_string_to_metric_families(text)
    return {
        (
            sample.name.removeprefix("mailsvc_"),
            *(value for label, value in sorted(sample.labels.items()) if label != "process"),
        ): sample.value
        for family in families
        for sample in family.samples
    }


async def test_a_failover_can_be_read_from_the_metrics(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid, FakeProvider() as mandrill:
        sendgrid.fault("answer", status=503)
        async with Mailsvc(tmp_path, **live(sendgrid, mandrill, MAILSVC_API_KEY=KEY)) as service:
            before = await scrape(service)
            status, _, body = await service.call("POST", "/email", json=FORM, headers=BEARER)
            await service.call("GET", f"/email/{body['id']}?wait=settled", headers=BEARER)
            await service.call("POST", "/email", json={"to": "nobody"}, headers=BEARER)
            found = await scrape(service)
            database = "postgres" if service.database else "sqlite"

    assert status == 202
    assert (before["accepted_mails_total",], found["accepted_mails_total",]) == (0, 1)
    assert found["attempts_total", "down", "sendgrid"] == found["attempts_total", "accepted", "mandrill"] == 1
    assert found["attempt_duration_seconds_count", "sendgrid"] == 1
    assert found["provider_score", "sendgrid"] == pytest.approx(45.0, abs=0.5)
    assert found["provider_state", "mandrill", "open"] == 1
    assert found["mails", "sent"] == 1
    assert found["refused_requests_total", "invalid"] == 1
    assert [found["group_commit_rows_sum", batch] for batch in ("accept", "begin", "settle")] == [1, 2, 2]
    assert found["oldest_due_seconds",] == 0
    assert found["storage_up",] == 1
    assert found["database_bytes",] > 0
    if database == "sqlite":
        assert found["wal_bytes",] > 0
        assert found["disk_free_bytes",] > 0
    assert found["process_resident_memory_bytes",] > 10_000_000
    assert ("build_info", database, platform.python_version(), "guarded", __version__) in found


async def test_a_mail_that_nobody_may_be_asked_for_grows_old(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        await service.call("POST", "/providers/capture/pause", headers=BEARER)
        await service.call("POST", "/email", json=FORM, headers=BEARER)
        young = await scrape(service)
        while (old := await scrape(service))["oldest_due_seconds",] <= young["oldest_due_seconds",]:
            pass

    assert old["mails", "queued"] == 1
    assert old["provider_state", "capture", "paused"] == 1
    assert old["oldest_due_seconds",] > 0


async def test_the_metrics_need_a_key_that_may_read(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        _, _, reader = await service.call("POST", "/keys", json={"name": "r", "scopes": ["read"]}, headers=BEARER)
        _, _, sender = await service.call("POST", "/keys", json={"name": "s", "scopes": ["send"]}, headers=BEARER)
        answers = [
            (await service.call("GET", "/metrics", headers={"Authorization": f"Bearer {key}"}))[0]
            for key in (KEY, reader["key"], sender["key"], "wrong")
        ]
        without = await service.call("GET", "/metrics")

    assert answers == [200, 200, 403, 401]
    assert without[0] == 401
    assert "mailsvc_" not in str(without[2])


async def test_openmetrics_is_spoken_to_those_who_ask_for_it(tmp_path: Path) -> None:
    accept = {"Accept": "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;q=0.5"}
    async with Mailsvc(tmp_path) as service:
        await service.settled(await service.post())
        _, headers, text = await service.call("GET", "/metrics", headers=accept)
    names = {family.name for family in openmetrics.text_string_to_metric_families(text)}

    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert {"mailsvc_attempts", "mailsvc_mails", "mailsvc_build"} <= names


async def test_no_secret_is_in_the_metrics(tmp_path: Path) -> None:
    async with FakeProvider() as sendgrid:
        async with Mailsvc(tmp_path, **live(sendgrid, MAILSVC_API_KEY=KEY)) as service:
            await service.call("POST", "/email", json=FORM, headers=BEARER)
            _, _, text = await service.call("GET", "/metrics", headers=BEARER)

    assert [word for word in (KEY, "SG.key-of-sendgrid", FORM["to"], FORM["subject"]) if word in text] == []


async def test_a_database_that_is_down_takes_nothing_from_the_rest(tmp_path: Path, postgres: PostgresServer) -> None:
    async with Mailsvc(tmp_path, DATABASE_URL=postgres.create(), MAILSVC_API_KEY=KEY) as service:
        up = await scrape(service)
        async with postgres.down():
            down = await scrape(service)

    assert (up["storage_up",], down["storage_up",]) == (1, 0)
    assert up["mails", "queued"] == 0
    assert ("mails", "queued") not in down
    assert down["provider_state", "capture", "open"] == 1
    assert up["database_bytes",] > 0
    assert ("wal_bytes",) not in up
