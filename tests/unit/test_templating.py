"""The process in which templates are rendered: bounded in time and memory, knows nothing, is replaced when it ends."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailsvc import sandbox
from mailsvc.errors import InvalidMail, Overloaded, ShuttingDown, Unavailable
from mailsvc.templating import MAX_VARIABLES, READY, Templating

ENDLESS = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}"

# Two lists of so many lists are compared: nothing that Python does between two steps of its own.
KILLING = """{% set n = namespace(a=[1], b=[1]) %}
{% for i in range(60) %}{% set n.a = [n.a, n.a] %}{% set n.b = [n.b, n.b] %}{% endfor %}
{{ n.a == n.b }}"""


@asynccontextmanager
async def begun() -> AsyncIterator[Templating]:
    """One that has answered before."""
    templating = Templating()
    try:
        assert await text(templating, "{{ 1 + 1 }}") == "2"
        yield templating
    finally:
        await templating.close()


async def text(templating: Templating, source: str, **variables: object) -> str:
    made = await templating.render({"text": source}, variables)
    return str(made["texts"]["text"])


async def code(templating: Templating, source: str, **variables: object) -> str:
    with pytest.raises(InvalidMail) as raised:
        await text(templating, source, **variables)
    return raised.value.faults[0].code


def number(templating: Templating) -> int:
    assert templating._process
    return templating._process.pid


def environ(pid: int) -> bytes | None:
    """The environment of a process, None where there is none."""
    path = Path(f"/proc/{pid}/environ")
    return path.read_bytes() if path.exists() else None


async def test_endless_loops_end_and_the_process_goes_on() -> None:
    async with begun() as templating:
        before = number(templating)

        assert await code(templating, ENDLESS) == "too_costly"
        assert await text(templating, "{{ x }}", x="on") == "on"
        assert number(templating) == before


async def test_what_no_loop_of_ours_can_stop_is_killed_and_another_process_takes_over() -> None:
    async with begun() as templating:
        before = number(templating)

        assert await code(templating, KILLING) == "too_costly"
        assert await text(templating, "{{ x }}", x="on") == "on"
        assert number(templating) != before


@pytest.mark.parametrize(
    "source", ["{{ '%999999999d'|format(1)|length }}", "{{ ('a' * 999999)|replace('a', 'b' * 9999)|length }}"]
)
async def test_memory_has_a_bound(source: str) -> None:
    async with begun() as templating:
        assert await code(templating, source) == "too_costly"
        assert await text(templating, "{{ x }}", x="on") == "on"


async def test_a_process_that_was_killed_by_somebody_else_is_replaced_and_nobody_sees_it() -> None:
    async with begun() as templating:
        os.kill(number(templating), signal.SIGKILL)

        assert await text(templating, "{{ x }}", x="on") == "on"


async def test_it_knows_no_environment_and_ends_with_its_owner() -> None:
    async with begun() as templating:
        pid = number(templating)
        environment = environ(pid)

    assert environment == b""
    assert environ(pid) is None


async def test_once_it_is_closed_it_begins_no_other_process() -> None:
    async with begun() as templating:
        asking = asyncio.create_task(text(templating, ENDLESS))
        while templating._asked._running is None:
            await asyncio.sleep(0)
        await templating.close()

        with pytest.raises(ShuttingDown):
            await asking
        with pytest.raises(ShuttingDown):
            await text(templating, "x")
        assert templating._process is None


async def test_many_ask_at_a_time_and_each_gets_its_own_answer() -> None:
    async with begun() as templating:
        found = await asyncio.gather(*(text(templating, "{{ x }}", x=n) for n in range(300)))

    assert found == [str(n) for n in range(300)]


async def test_one_that_ends_the_process_spoils_no_other_that_was_asked_with_it() -> None:
    async with begun() as templating:
        asked = [text(templating, KILLING if n == 5 else "{{ x }}", x=n) for n in range(12)]
        found = await asyncio.gather(*asked, return_exceptions=True)

    assert [each for n, each in enumerate(found) if n != 5] == [str(n) for n in range(12) if n != 5]
    assert isinstance(found[5], InvalidMail)


async def test_who_waits_too_long_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with begun() as templating:
        monkeypatch.setattr("mailsvc.templating.WAIT", 0.01)
        with pytest.raises(Overloaded):
            await text(templating, ENDLESS)
        monkeypatch.undo()

        assert await text(templating, "{{ x }}", x="on") == "on"


async def test_who_goes_away_in_the_middle_leaves_no_answer_for_others() -> None:
    async with begun() as templating:
        asking = asyncio.create_task(text(templating, "{% for x in range(9999) %}{{ x }}{% endfor %}"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

        assert await text(templating, "{{ x }}", x="mine") == "mine"


async def test_variables_have_a_size_and_a_depth() -> None:
    deep: object = "x"
    for _ in range(300):
        deep = [deep]
    async with begun() as templating:
        assert await code(templating, "", x="x" * MAX_VARIABLES) == "too_large"
        assert await code(templating, "", x=deep) == "invalid"


async def test_where_no_process_can_be_made_there_are_no_templates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nonexistent/python")
    with pytest.raises(Unavailable):
        await text(Templating(), "x")
    monkeypatch.setattr("sys.executable", "/bin/false")
    with pytest.raises(Unavailable):
        await text(Templating(), "x")


WORDS = st.sampled_from(
    [
        *("{{", "}}", "{%", "%}", "{#", "#}", "-%}", "{%-", " ", "\n", "x", "xs", "o", "loop", "self", "range(99)"),
        *("if", "else", "endif", "for", "in", "endfor", "set", "endset", "macro m(a)", "endmacro", "m(x)", "call m(1)"),
        *(
            "endcall",
            "caller()",
            "raw",
            "endraw",
            "with",
            "endwith",
            "namespace(a=1)",
            "joiner()",
            "block b",
            "include",
        ),
        *("|", "upper", "join", "format", "'%999999s'", "replace('a','b'*999)", "map('upper')", "sort", "groupby('a')"),
        *("sum", "tojson", "safe", "e", "batch(99999999,1)", "slice(9999999)", "center(99999999)", "indent(9999999)"),
        *(".", "__class__", "items()", "format(x)", "[0]", "[x]", "['__init__']", "(", ")", "[", "]", "{", "}", ","),
        *("+", "*", "**", "~", "%", "//", "==", "<", "is defined", "not", "and", "99999999", "'a'", '"', "\\", "\x00"),
    ]
)
SOURCES = st.lists(WORDS, max_size=25).map(" ".join) | st.lists(WORDS, max_size=8).map(
    lambda words: "{{ " + " ".join(words) + " }}"
)


async def test_whatever_a_template_says_it_is_rendered_or_refused() -> None:
    variables = {"x": "<*>", "xs": [1, "b", None], "o": {"a": {"b": 1}}}
    async with begun() as templating:
        loop = asyncio.get_running_loop()

        @settings(
            max_examples=400, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(SOURCES, st.sampled_from(["subject", "content", "html", "text"]))
        def check(source: str, part: str) -> None:
            asked = asyncio.run_coroutine_threadsafe(_tried(templating, {part: source}, variables), loop)
            asked.result(60)

        await asyncio.to_thread(check)
        assert await text(templating, "{{ x }}", x="on") == "on"


async def _tried(templating: Templating, parts: dict[str, str], variables: dict[str, object]) -> None:
    with suppress(InvalidMail):
        await templating.render(parts, variables)


def test_both_sides_know_how_the_process_says_that_it_is_ready() -> None:
    assert READY == sandbox.READY
