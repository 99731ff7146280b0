"""Platforms as a service: the Procfile, run for real on both databases, and what Heroku, Fly and Render read."""

import json
import re
import tomllib
from pathlib import Path

import aiohttp
import pytest
import yaml

from mailsvc.config import Config
from tests.deploy.programs import DEPLOY, ROOT, procfile
from tests.e2e.process import FORM
from tests.postgres import PostgresServer

KEY = "k" * 32
POSTGRES = "postgres://user:secret@host/mail"


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_the_procfile_serves_and_ends_in_peace_when_the_platform_says_so(
    tmp_path: Path, database: str, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/mail.db"
    if database == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create()
    async with procfile(DATABASE_URL=url, MAILSVC_API_KEY=KEY, MAILSVC_CAPTURE="1") as served:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as http:
            async with http.post(f"http://127.0.0.1:{served.port}/email", json=FORM) as answer:
                status, location = answer.status, answer.headers["Location"]
            async with http.get(f"http://127.0.0.1:{served.port}{location}?wait=settled") as answer:
                mail = await answer.json()

    assert (status, mail["status"]) == (202, "sent")
    assert '"event":"stopped"' in "".join(served.said)


async def test_the_procfile_runs_as_many_processes_as_the_platform_says_and_ends_all_of_them_in_peace(
    postgres: PostgresServer,
) -> None:
    settings = {"DATABASE_URL": postgres.create(), "MAILSVC_API_KEY": KEY, "MAILSVC_CAPTURE": "1"}
    async with procfile(**settings, WEB_CONCURRENCY="2") as served:
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {KEY}"}) as http:
            ids, by = list[str](), set[str]()
            while len(by) < 2:  # each request on a connection of its own, so that either process may take it
                fresh = {"Connection": "close"}
                async with http.post(f"http://127.0.0.1:{served.port}/email", json=FORM, headers=fresh) as answer:
                    ids.append((await answer.json())["id"])
                async with http.get(f"http://127.0.0.1:{served.port}/metrics", headers=fresh) as answer:
                    by = accepting(await answer.text())
            states = set()
            for mail_id in ids:
                async with http.get(f"http://127.0.0.1:{served.port}/email/{mail_id}?wait=settled") as answer:
                    states.add((await answer.json())["status"])
    said = "".join(served.said)

    assert states == {"sent"}
    assert (said.count('"event":"serving"'), said.count('"event":"stopped"')) == (2, 2)
    assert '"event":"all_stopped"' in said
    assert "web.1 stopped (rc=0)" in said


def accepting(metrics: str) -> set[str]:
    """The processes that have accepted mails."""
    return set(re.findall(r'^mailsvc_accepted_mails_total\{process="([^"]+)"\} [1-9]', metrics, re.MULTILINE))


def test_a_platform_finds_one_python_version_and_locked_requirements_with_hashes() -> None:
    requirements = (ROOT / "requirements.txt").read_text()
    pins = re.findall(r"^[a-z0-9._-]+(?:\[[a-z,]+\])?==", requirements, re.MULTILINE)

    assert re.fullmatch(r"3\.\d+", (ROOT / ".python-version").read_text().strip())
    assert not (ROOT / "runtime.txt").exists()
    assert len(pins) > 20
    assert requirements.count("--hash=sha256:") >= len(pins)


def test_heroku_brings_a_database_that_stays_and_makes_a_key() -> None:
    described = json.loads((ROOT / "app.json").read_text())
    settings = {name: value["value"] for name, value in described["env"].items() if "value" in value}
    config = Config.from_environ(
        settings | {"DATABASE_URL": POSTGRES, "MAILSVC_API_KEY": KEY, "DYNO": "web.1", "PORT": "5000"}
    )

    assert [addon["plan"].partition(":")[0] for addon in described["addons"]] == ["heroku-postgresql"]
    assert described["env"]["MAILSVC_API_KEY"]["generator"] == "secret"
    assert "MAILSVC_EPHEMERAL" not in settings
    assert (config.host, config.live, config.notes) == ("0.0.0.0", False, ())
    assert described.keys() <= {
        "name",
        "description",
        "keywords",
        "website",
        "env",
        "addons",
        "formation",
        "buildpacks",
    }


def test_fly_keeps_a_machine_awake_and_asks_whether_mail_would_be_taken() -> None:
    described = tomllib.loads((DEPLOY / "fly.toml").read_text())
    http = described["http_service"]
    config = Config.from_environ(
        described["env"] | {"DATABASE_URL": POSTGRES, "MAILSVC_API_KEY": KEY, "FLY_APP_NAME": "x"}
    )

    assert (DEPLOY / described["build"]["dockerfile"]).is_file()
    assert (DEPLOY / described["build"]["ignorefile"]).is_file()
    assert http["internal_port"] == config.port
    assert (http["auto_stop_machines"], http["min_machines_running"]) == ("off", 1)
    assert [check["path"] for check in http["checks"]] == ["/readyz"]
    assert int(described["kill_timeout"].removesuffix("s")) > 28
    assert config.notes == ()


def test_render_brings_a_database_and_makes_a_key() -> None:
    described = yaml.safe_load((DEPLOY / "render.yaml").read_text())
    (service,) = described["services"]
    settings = {each["key"]: each for each in service["envVars"]}
    given = {name: each["value"] for name, each in settings.items() if "value" in each}
    config = Config.from_environ(
        given | {"DATABASE_URL": POSTGRES, "MAILSVC_API_KEY": KEY, "RENDER": "true", "PORT": "10000"}
    )

    assert settings["DATABASE_URL"]["fromDatabase"] == {
        "name": described["databases"][0]["name"],
        "property": "connectionString",
    }
    assert settings["MAILSVC_API_KEY"]["generateValue"] is True
    assert (ROOT / service["dockerfilePath"]).is_file()
    assert service["healthCheckPath"] == "/healthz"
    assert service["maxShutdownDelaySeconds"] > 28
    assert (config.port, config.notes) == (10000, ())
