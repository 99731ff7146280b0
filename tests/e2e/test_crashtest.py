"""`mailsvc crashtest`: what it finds here, what it prints, and that it can fail."""

import json
import os
from pathlib import Path

import pytest

from tests.e2e.process import run
from tests.postgres import PostgresServer, missing

MOMENTS = {"answer", "whole", "half", "connection", "commit", "request", "random", "start"}


async def crashtest(folder: Path, *arguments: str, **settings: str) -> tuple[int, dict[str, object], str]:
    """Exit code, result and errors."""
    code, out, err = await run(folder, "crashtest", "--json", *arguments, within=140, **settings)
    return code, json.loads(out), err


async def test_kills_at_every_moment_break_no_promise(tmp_path: Path) -> None:
    code, result, err = await crashtest(tmp_path, "--cycles", "12", TMPDIR=str(tmp_path))
    keyed, resend, hold = result["parts"]

    assert result["faults"] == []
    assert (code, err, result["good"], result["databases"]) == (0, "", True, ["ok", "ok"])
    assert sum(result["kills"].values()) == 12
    assert len(result["kills"].keys() & MOMENTS) >= 5
    assert sum(part["accepted"] for part in result["parts"]) == 12 * 30
    assert [part["lost"] + part["unexplained"] for part in result["parts"]] == [0, 0, 0]
    assert (keyed["doubled"], keyed["held"], keyed["handed_over"]) == (0, 0, keyed["accepted"])
    assert (resend["held"], resend["handed_over"]) == (0, resend["accepted"])
    assert resend["doubled"] <= resend["in_doubt"]
    assert hold["doubled"] == 0
    assert os.listdir(tmp_path) == []


async def test_a_provider_that_breaks_its_word_is_found_out(tmp_path: Path) -> None:
    code, result, _ = await crashtest(tmp_path, "--cycles", "1", "--mails", "10", "--forgetful")

    assert (code, result["good"]) == (1, False)
    assert result["parts"][0]["doubled"] > 0
    assert {fault.partition(":")[0] for fault in result["faults"]} == {"I6"}


async def test_the_database_that_is_named_is_not_touched_nor_are_the_settings_of_the_caller_used(
    tmp_path: Path,
) -> None:
    named = tmp_path / "data" / "mailsvc.db"
    named.parent.mkdir()
    named.write_bytes(b"not to be touched")
    mine = {"DATABASE_URL": f"sqlite:///{tmp_path}/mine.db", "MAILSVC_API_KEY": "k" * 32, "SENDGRID_API_KEY": "SG.mine"}
    short = ("--cycles", "1", "--mails", "5", "--seed", "7")
    code, out, err = await run(tmp_path, "crashtest", *short, "--database", f"sqlite:///{named}", **mine)

    assert (code, err) == (0, "")
    assert "Every promise was kept." in out
    assert "repeat with --seed 7" in out
    assert " ".join(out.split("\n")[0].split()) == "accepted handed over lost doubled in doubt unexplained held"
    assert os.listdir(tmp_path) == ["data"]
    assert os.listdir(named.parent) == ["mailsvc.db"]
    assert named.read_bytes() == b"not to be touched"


async def test_on_postgresql_it_makes_a_database_of_its_own_and_drops_it(tmp_path: Path) -> None:
    if reason := missing():
        pytest.skip(reason)
    with PostgresServer() as server:
        before = server.run("SELECT datname FROM pg_database")
        code, result, err = await crashtest(tmp_path, "--cycles", "4", "--mails", "20", "--database", server.url())

        assert result["faults"] == []
        assert (code, err, result["databases"]) == (0, "", ["ok", "ok"])
        assert server.run("SELECT datname FROM pg_database") == before


async def test_a_database_that_cannot_be_is_a_bad_configuration(tmp_path: Path) -> None:
    nowhere = f"sqlite:///{tmp_path}/nowhere/mailsvc.db"
    for url in ("mysql://x/y", nowhere, f"postgres://user:hidden@/x?host={tmp_path}"):
        code, out, err = await run(tmp_path, "crashtest", "--database", url)

        assert (code, out) == (78, "")
        assert "--database" in err
        assert "hidden" not in err
