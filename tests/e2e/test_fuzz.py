"""Thousands of generated requests: by the service's own description, and by none."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.e2e.process import FORM, Mailsvc, environment

KEY = "a-key-for-generated-requests-0123456789"
SIGNED = {"Authorization": f"Bearer {KEY}"}
# That what the description allows is accepted is not among them: no schema tells a good address, or an id that exists.
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance"),
    *("response_schema_conformance", "negative_data_rejection", "unsupported_method", "allow_header_conformance"),
    "ignored_auth",
)
# The same cases each time, so that a red run tells of a change; FUZZ_SEED=random or a number looks for new ones.
SEED = str(secrets.randbelow(2**31)) if os.environ.get("FUZZ_SEED") == "random" else os.environ.get("FUZZ_SEED", "")
BY_DESCRIPTION, BY_NONE = 30, 2000  # cases for each operation and phase; in all


def config(mail: str, callback: str) -> str:
    """So that there is something by the ids that are asked for: who asks for much that is not there is made to wait."""
    return f"""
[[operations]]
include-path-regex = "^/email/"
parameters = {{ "path.id" = "{mail}" }}

[[operations]]
include-path-regex = "^/callbacks/"
exclude-method = "DELETE"
parameters = {{ "path.id" = "{callback}" }}

[[operations]]
include-path-regex = "^/providers/"
parameters = {{ "path.name" = "capture" }}

[[operations]]
include-path-regex = "^/templates/"
exclude-method = "DELETE"
parameters = {{ "path.name" = "welcome" }}

[[operations]]
include-path = "/events"
enabled = false
"""


async def test_requests_made_from_the_description_are_answered_as_it_says(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY, MAILSVC_CALLBACK_ALLOW="127.0.0.1") as service:
        service.http.headers.update(SIGNED)
        mail = await service.post()
        _, _, made = await service.call("POST", "/callbacks", json={"url": "https://127.0.0.1:9/"})
        parts = {"subject": "Hi {{ name }}", "content": "Hello"}
        assert (await service.call("PUT", "/templates/welcome", json=parts))[0] == 200
        (tmp_path / "schemathesis.toml").write_text(config(mail, made["id"]))

        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json", "--no-color"),
            *("-H", f"Authorization: {SIGNED['Authorization']}", "--continue-on-failure", "--no-shrink"),
            *("--phases", "examples,coverage,fuzzing,stateful", "--max-examples", str(BY_DESCRIPTION)),
            *("--checks", ",".join(CHECKS), "--report", "json", "--report-json-path", "report.json"),
            *(("--seed", SEED, "--generation-database", "none") if SEED else ("--generation-deterministic",)),
            cwd=tmp_path,
            env=environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        told, _ = await process.communicate()
        log = list(service.log)

    assert process.returncode == 0, told.decode()
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["operations"]["tested"] == report["operations"]["total"] - 1  # the stream of events has no end
    assert {phase["status"] for phase in report["phases"].values()} == {"success"}
    assert report["test_cases"]["generated"] >= 2000
    assert [line for line in log if '"level":"error"' in line] == []


TEXTS = st.text(max_size=40) | st.sampled_from(
    ["", " ", "a@b.c", "\ud800", "\x00", "\r\nBcc: x@example.com", "é" * 999]
)
NUMBERS = st.integers(-(2**70), 2**70) | st.integers().map(lambda n: n * 10**300) | st.floats()
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
NAMES = (
    *("to", "to_name", "from", "cc", "bcc", "reply_to", "subject", "content", "html", "text", "headers", "tags"),
    *("metadata", "attachments", "ignore_suppression", "on_uncertain", "name", "scopes", "domains", "rate", "url"),
    *(
        "events",
        "description",
        "address",
        "reason",
        "expires_at",
        "as",
        "send_at",
        "priority",
        "sensitive",
        "status",
        "since",
        "until",
        "limit",
        "template",
        "variables",
        "version",
    ),
)
FILES = st.lists(
    st.dictionaries(st.sampled_from(["filename", "content", "content_type", "content_id"]), TEXTS, max_size=4),
    max_size=3,
)
FIELDS = st.dictionaries(st.sampled_from(NAMES) | TEXTS, VALUES | FILES, max_size=5)
OBJECTS = FIELDS | FIELDS.map(lambda found: FORM | found)  # of which the second differ from a good mail in a few fields
DEEP = st.integers(1, 3000).map(lambda depth: b'{"to":' * depth + b"1" + b"}" * depth)
BODIES = (
    OBJECTS.map(lambda found: json.dumps(found).encode())
    | st.tuples(OBJECTS, st.integers(0, 200)).map(lambda pair: json.dumps(pair[0]).encode()[: pair[1]])
    | DEEP
    | st.binary(max_size=60)
)
KINDS = ("application/json",) * 6 + (
    *("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/csv", "text/plain", ";", "é"),
)
PATHS = ("/email",) * 6 + (
    "/email/batch",
    "/email/retry",
    "/keys",
    "/suppressions",
    "/callbacks",
    "/erase",
    "/hooks/capture",
    "/templates/welcome/preview",
)


def answered(port: int, path: str, kind: str, body: bytes) -> tuple[int, Any]:
    """Status and JSON of the answer to a POST."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, body, SIGNED | {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


async def test_whatever_is_posted_the_answer_is_no_fault_of_the_server(tmp_path: Path) -> None:
    async with Mailsvc(tmp_path, MAILSVC_API_KEY=KEY) as service:
        port, statuses = service.address[1], set()

        @settings(
            max_examples=BY_NONE,
            deadline=None,
            derandomize=not SEED,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.explicit, Phase.generate, Phase.shrink),
        )
        @given(st.sampled_from(PATHS), st.sampled_from(KINDS), BODIES)
        def check(path: str, kind: str, body: bytes) -> None:
            status, told = answered(port, path, kind, body)
            statuses.add(status)
            assert status < 500, told
            if status >= 400:
                assert told["status"] == status
                assert status != 422 or all(fault.keys() == {"field", "code", "message"} for fault in told["errors"])

        await asyncio.to_thread(check)
        log = list(service.log)

    assert {202, 400, 415, 422} <= statuses  # they come as far as they should
    assert [line for line in log if '"level":"error"' in line] == []
