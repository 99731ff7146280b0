"""What a template may say, what becomes of variables in each part, and what it may cost."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailsvc import sandbox
from mailsvc.dialect import PARTS
from mailsvc.errors import InvalidMail
from mailsvc.render import typeset
from mailsvc.sandbox import ROOM, answer, compiled

HOSTILE = "*Ann* <b>_x_</b> [a](http://b.example) `c` # | 1. \\ &amp; ![i](x)"


def texts(part: str, source: str, **variables: Any) -> str:
    """A part that is rendered as it should be."""
    made = answer({"parts": {part: source}, "variables": variables})
    assert "faults" not in made, made
    return str(made["texts"][part])


def markdown(source: str, **variables: Any) -> tuple[str, str]:
    """Markdown as HTML, without the layout, and as text."""
    made = answer({"parts": {"content": source}, "variables": variables})
    assert "faults" not in made, made
    html, text = typeset("Hi", made["texts"]["content"], made["slot"], made["values"])
    return html.partition("<main>\n")[2].partition("</main>")[0], text


def fault(source: str, part: str = "text", **variables: Any) -> tuple[str, str, str]:
    """Field, code and message of what is wrong."""
    (found,) = answer({"parts": {part: source}, "variables": variables})["faults"]
    return found  # type: ignore[no-any-return]


def syntax(source: str) -> tuple[str, str, str]:
    """The same of a template that is only read."""
    (found,) = answer({"parts": {"text": source}})["faults"]
    return found  # type: ignore[no-any-return]


def test_a_value_is_shown_as_it_is_in_text_and_escaped_in_html() -> None:
    assert texts("text", "Hello {{ name }}", name="<b>&*") == "Hello <b>&*"
    assert texts("subject", "Hello {{ name }}", name="<b>&*") == "Hello <b>&*"
    assert texts("html", "<p title='{{ name }}'>{{ name }}</p>", name="<b>'\"&") == (
        "<p title='&lt;b&gt;&#39;&#34;&amp;'>&lt;b&gt;&#39;&#34;&amp;</p>"
    )


@pytest.mark.parametrize(
    "source",
    [
        "{{ name }}",
        "# {{ name }}",
        "- {{ name }}",
        "> {{ name }}",
        "    {{ name }}",
        "**{{ name }}**",
        "`{{ name }}`",
        "[{{ name }}](https://a.example)",
        "| a |\n|---|\n| {{ name }} |",
        "{% macro m(x) %}**{{ x }}**{% endmacro %}{{ m(name) }}",
        "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(name) ~ name }}",
        "{% macro m(x) %}{{ x }}{% endmacro %}{{ m(name) + name }}",
        "{% macro m(x) %}{{ x }}{% endmacro %}{{ [m(name), name]|join('') }}",
        "{% set x %}{{ name }}{% endset %}{{ x }}",
        "{% macro m() %}{{ caller(name) }}{% endmacro %}{% call(x) m() %}{{ x }}{% endcall %}",
        "{{ '%s'|format(name) }}",
        "{{ '{}'.format(name) }}",
        "{{ 'x'|replace('x', name) }}",
        "{{ name|e }}",
        "{{ [name]|map('string')|join }}",
        "{{ name|tojson }}",
    ],
)
def test_no_variable_is_markdown_or_html_wherever_it_stands(source: str) -> None:
    plain, _ = markdown(source, name="Ann")
    html, _ = markdown(source, name=HOSTILE)
    text = HOSTILE.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if "tojson" in source:
        text = text.replace("\\", "\\\\")

    assert html == plain.replace("Ann", text)


@given(st.text(max_size=30), st.sampled_from(["a {{ x }} b", "- {{ x }}\n", "*{{ x }}*", "`{{ x }}`", "[{{ x }}](#x)"]))
def test_whatever_a_variable_says_the_elements_are_those_of_the_template(value: str, source: str) -> None:
    value = value.replace("\x00", "")
    html, text = markdown(source, x=value)
    plain, _ = markdown(source, x="word")

    assert html.count("<") == plain.count("<")
    assert text == source.replace("{{ x }}", value)


def test_the_text_part_of_markdown_shows_values_without_any_escaping() -> None:
    _, text = markdown("**{{ name }}**: {{ url }}", name="a_b*c*", url="https://x.example/?a=1&b=_2_")

    assert text == "**a_b*c***: https://x.example/?a=1&b=_2_"


def test_a_link_of_a_variable_leads_where_links_may_lead_and_nowhere_else() -> None:
    good, _ = markdown("[go]({{ url }})", url='https://x.example/?a=1&b="2"')
    bad, _ = markdown("[go]({{ url }})", url="javascript:alert(1)")

    assert 'href="https://x.example/?a=1&amp;b=&quot;2&quot;"' in good
    assert "href" not in bad


@pytest.mark.parametrize("source", ["<{{ url }}>", "<b title='{{ url }}'>x</b>"])
def test_a_value_for_which_markdown_has_no_place_is_a_fault_and_not_lost(source: str) -> None:
    with pytest.raises(InvalidMail) as raised:
        markdown(source, url="https://x.example")

    assert raised.value.faults[0].code == "lost"


def test_what_the_author_calls_safe_is_html_and_markdown() -> None:
    assert texts("html", "{{ x|safe }}", x="<b>") == "<b>"
    assert markdown("{{ x|safe }}", x="**b**")[0] == "<p><strong>b</strong></p>\n"
    assert texts("text", "{{ x|safe }}", x="<b>") == "<b>"


def test_a_tag_alone_on_its_line_leaves_no_line_behind() -> None:
    source = "{# remark #}\n{% for x in xs %}\n- {{ x }}\n  {% if loop.last %}\nend\n{% endif %}\n{% endfor %}\n"

    assert texts("text", source, xs=["a", "b"]) == "- a\n- b\nend\n"
    assert texts("text", "Hi {% if x %}Ann{% endif %}\n\nBye", x=1) == "Hi Ann\n\nBye"
    assert texts("text", "a\n{%- if x %}\nb\n{%- endif %}\nc", x=1) == "a\nb\nc"
    assert fault("{% if 1 %}\n\n{{ x }}\n{% endif %}\n")[2] == "is needed by the template (text, line 3)"


@pytest.mark.parametrize("part", ["text", "html", "content"])
def test_what_is_raw_stays_as_it_is(part: str) -> None:
    raw = "{% if a %}\nx\n{# r #}\n"
    source = "{% if true %}\n" + "{% raw %}\n" + raw + "  {% endraw %}\n" + "{% endif %}\nend"

    assert texts(part, source) == "\n" + raw + "  \nend"


def test_a_condition_without_an_else_is_nothing() -> None:
    assert texts("text", "a{{ 'b' if x }}c", x=False) == "ac"
    assert fault("{{ 'b' if y }}")[:2] == ("variables.y", "missing")


def test_what_is_kept_compiled_has_a_bound() -> None:
    large = "x" * (ROOM // 8)
    for number in range(20):
        texts("text", f"{large}{number}")

    assert compiled.cache_info().currsize <= 8


def test_a_full_cache_takes_no_room_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    texts("text", "kept")

    def crowded(request: Any) -> dict[str, Any]:
        if compiled.cache_info().currsize:
            raise MemoryError
        return answer(request)

    monkeypatch.setattr(sandbox, "answer", crowded)

    assert sandbox.within_memory({"parts": {"text": "a"}, "variables": {}})["texts"] == {"text": "a"}


def test_null_is_nothing_and_booleans_are_said_as_in_json() -> None:
    assert texts("text", "[{{ none }}{{ x }}] {{ true }} {{ y }} {{ 1.5 }}", x=None, y=False) == "[] true false 1.5"


def test_a_field_is_found_before_a_method_of_the_same_name() -> None:
    assert texts("text", "{{ order.items }} {{ order.keys }}", order={"items": 3, "keys": "x"}) == "3 x"
    assert texts("text", "{% for k, v in o.items() %}{{ k }}={{ v }};{% endfor %}", o={"a": 1}) == "a=1;"


@pytest.mark.parametrize(
    ("source", "field"),
    [
        ("{{ name }}", "variables.name"),
        ("{{ config }}", "variables.config"),
        ("{% if name %}{% endif %}", "variables.name"),
        ("{{ name|upper }}", "variables.name"),
        ("{{ name.first }}", "variables.name"),
        ("{{ order.total }}", "variables.order.total"),
        ("{{ order['total'] }}", "variables.order.total"),
        ("{% for line in order.lines %}{{ line.price }}{% endfor %}", "variables.order.lines[1].price"),
        ("{{ order.lines[5] }}", "variables.order.lines[5]"),
        ("{{ order['\\ud800'] }}", "variables"),
        ("{{ order.word.length }}", "variables"),
    ],
)
def test_a_variable_that_is_missing_is_named(source: str, field: str) -> None:
    order = {"word": "x", "lines": [{"price": 1}, {"what": "tea"}]}

    assert fault(source, order=order)[:2] == (field, "missing")


def test_what_may_be_missing_is_asked_for() -> None:
    assert texts("text", "{{ name|default('you') }}{% if name is defined %}!{% endif %}") == "you"


@pytest.mark.parametrize(
    "source",
    [
        "{% include '/etc/passwd' %}",
        "{% import 'x' as y %}",
        "{% from 'x' import y %}",
        "{% extends 'x' %}",
        "{% block x %}{% endblock %}",
        "{% filter upper %}x{% endfilter %}",
        "{% autoescape false %}x{% endautoescape %}",
        "{% set x | upper %}x{% endset %}",
        "{% for x in [] recursive %}{% endfor %}",
        "{% do x() %}",
        "{% debug %}",
        "{{ ''.__class__ }}",
        "{{ ''['__class__'] }}",
        "{{ x|attr('__class__') }}",
        "{{ x|nonsense }}",
        "{% if false %}{{ x|nonsense }}{% endif %}",
        "{{ x is nonsense }}",
        "{{ x|_whole }}",
        "{{ x",
        "{% for %}",
        "{{ " + "(" * 2000 + " }}",
        "{{ " + "[" * 150 + "]" * 150 + " }}",
        "{% if 1 %}" * 300 + "{% endif %}" * 300,
    ],
)
def test_what_no_template_may_do_is_told_when_it_is_read(source: str) -> None:
    assert syntax(source)[:2] == ("text", "syntax")


def test_a_fault_of_syntax_names_its_line() -> None:
    assert syntax("a\n\n{{ b c }}")[2].startswith("line 3: ")
    assert syntax("{% if a %}\n{% include 'b' %}\n{% endif %}\n")[2] == "line 2: there is no {% include %} here"


@pytest.mark.parametrize(
    "source",
    [
        "{{ '{0.__class__}'.format(1) }}",
        "{{ '{x.__class__}'.format_map({'x': 1}) }}",
        "{{ ''[name] }}",
        "{{ [1]|map(attribute=name)|list|join }}",
        "{{ namespace[name] }}",
        "{{ self[name] }}",
        "{{ self._TemplateReference__context }}",
        "{{ loop }}",
        "{{ joiner[name] }}",
        "{% macro m() %}{% endmacro %}{{ m[name] }}",
        "{{ xs.append(1) }}",
        "{{ lipsum() }}",
        "{{ cycler }}",
        "{{ dict() }}",
        "{{ environment }}",
        "{{ range[name].mro() }}",
        "{{ 'x'|map('attr', name)|list }}",
    ],
)
def test_nothing_of_the_program_is_within_reach(source: str) -> None:
    for name in ("__class__", "__globals__", "_environment", "__init__"):
        assert fault(source, name=name, xs=[1])[1] in ("failed", "missing", "not_text")


@pytest.mark.parametrize(
    "source",
    [
        "{% for x in range(10001) %}{% endfor %}",
        "{{ 'a' * 10000000 }}",
        "{{ [1] * 10000000 }}",
        "{{ 2 ** 100000 }}",
        "{{ 2 ** 4000 ** 2 }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
        "{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(1) }}",
    ],
)
def test_what_would_grow_without_end_is_stopped(source: str) -> None:
    assert fault(source)[1] == "too_costly"


@pytest.mark.parametrize("part", ["text", "html", "content"])
def test_output_has_a_bound(part: str) -> None:
    source = "{% for x in range(9999) %}{{ word }}{% endfor %}"

    assert fault(source, part, word="x" * 1000)[1] == "too_large"


@pytest.mark.parametrize("source", ["{{ '\\x00' }}", "{{ '\\ud800' }}"])
@pytest.mark.parametrize("part", ["text", "content"])
def test_what_no_database_can_keep_is_refused(part: str, source: str) -> None:
    assert fault(source, part)[1] == "control_character"


@pytest.mark.parametrize("value", [["a"], {"a": 1}])
def test_lists_and_objects_are_not_printed_as_python_would(value: Any) -> None:
    assert fault("{{ x }}", x=value)[1] == "not_text"
    assert fault("{{ 'a' ~ x }}", x=value)[1] == "not_text"


@pytest.mark.parametrize("source", ["{{ b|upper }}", "{{ b % 1 }}", "{{ b.upper() }}", "{{ b * 2 }}", "{{ b[0] }}"])
def test_text_that_is_put_together_is_not_taken_apart(source: str) -> None:
    assert fault("{% set b %}{{ x }}{% endset %}" + source, "content", x="a")[1] == "failed"


def test_the_example_of_the_docs_is_right() -> None:
    page = (Path(__file__).parents[2] / "docs" / "templates.md").read_text()
    (source,) = re.findall(r"^```jinja\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    order = {"lines": [{"what": "Tea", "price": 2.5}, {"what": "A *pot*", "price": 12}], "gift": True}

    html, text = markdown(source, order=order, url="https://shop.example.com/1042")

    assert text == (
        "Hello there,\n\n- Tea: 2.50 EUR\n- A *pot*: 12.00 EUR\n\n"
        "It is wrapped as a **gift**.\n\n[Your order](https://shop.example.com/1042)\n"
    )
    assert "<li>A *pot*: 12.00 EUR</li>\n</ul>\n<p>It is wrapped as a <strong>gift</strong>.</p>" in html


def test_every_filter_of_the_docs_is_there_and_every_filter_is_in_the_docs() -> None:
    page = (Path(__file__).parents[2] / "docs" / "templates.md").read_text()
    (listed,) = re.findall(r"Filters: `([a-z\s]+)`", page)

    assert {*listed.split()} == {each for each in PARTS["text"].filters if each[0] != "_"} - {"d", "escape"}


def test_the_names_of_variables_are_told() -> None:
    parts = {"subject": "{{ a }}", "text": "{% for x in b %}{{ x.c }}{{ loop.index }}{{ range(3) }}{% endfor %}"}

    assert answer({"parts": parts}) == {"names": ["a", "b"]}


def test_slots_cannot_be_guessed() -> None:
    slots = {answer({"parts": {"content": "{{ x }}"}, "variables": {"x": "a"}})["slot"] for _ in range(20)}

    assert len(slots) == 20
    assert min(map(len, slots)) > 20
