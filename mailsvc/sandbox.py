"""Templates rendered in a process of their own, without an environment, within bounds of time, memory and output.

templating.py runs it: a request is a line of JSON on the standard input, and its answer a line on the output.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any

import orjson
from jinja2 import Template, TemplateSyntaxError, meta, nodes
from jinja2.utils import missing

from .dialect import PARTS, Absent, Faulty, Part, Rewriting

COMPUTING = 0.5  # seconds of the processor for one request; who is not stopped by that is killed after
KILLED = 1.0
MEMORY = 128 << 20  # bytes of addresses
KEPT = 128  # templates that stay compiled
ROOM = 2 << 20  # characters of their sources; compiled, one takes many times that
READY = b"ready\n"

REFUSED: Mapping[type[nodes.Node], str] = {
    nodes.Block: "block",
    nodes.Extends: "extends",
    nodes.FilterBlock: "filter",
    nodes.FromImport: "from",
    nodes.Import: "import",
    nodes.Include: "include",
    nodes.ScopedEvalContextModifier: "autoescape",
}
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # in any database
# A tag or a remark alone on its line leaves no line behind: its line break moves into it, so that lines keep their
# numbers.
_RAW = r"(?:^[ \t]*)?\{%[-+]?\s*raw\s*-?%\}[\s\S]*?\{%[-+]?\s*endraw\s*[-+]?%\}"  # stays as it is
_ALONE = re.compile(rf"{_RAW}|^[ \t]*(\{{%(?![-+])(?:[^%\n]|%(?!\}}))*)(?<![-+])(%\}})[ \t]*\n", re.MULTILINE)
_REMARK_ALONE = re.compile(rf"{_RAW}|^[ \t]*(\{{#(?![-+])(?:[^#\n]|#(?!\}}))*)(?<![-+])(#\}})[ \t]*\n", re.MULTILINE)
MAX_NAME = 100  # characters of a name that a fault repeats

Fault = tuple[str, str, str]  # field, code, message


class TooLong(BaseException):
    """The time for computing is over; no `except Exception` on its way is to hold it up."""


@lru_cache(KEPT)
def compiled(name: str, source: str) -> tuple[Template, frozenset[str]]:
    """A part, ready to be rendered, and the variables that it names. Raises Faulty."""
    part = PARTS[name]
    _make_room(len(source))
    try:
        source = source.replace("\r\n", "\n")
        for alone in (_ALONE, _REMARK_ALONE):
            source = alone.sub(lambda found: f"{found[1]}\n{found[2]}" if found[1] else found[0], source)
        tree = part.parse(source)
        _check(part, tree)
        names = meta.find_undeclared_variables(tree)
        code = part.compile(Rewriting().visit(tree))
    except TemplateSyntaxError as error:
        raise Faulty("syntax", f"line {error.lineno}: {_words(error.message or 'cannot be read')}") from None
    except RecursionError:
        raise Faulty("syntax", "is nested too deep") from None
    except (ValueError, SyntaxError, OverflowError) as error:  # what Python itself will not have
        raise Faulty("syntax", f"cannot be read: {_words(error)}") from None
    return Template.from_code(part, code, part.make_globals(None)), frozenset(names)


_kept = 0  # characters of the sources of what is compiled


def _make_room(size: int) -> None:
    global _kept  # noqa: PLW0603 - goes with the cache, which is as global
    if _kept + size > ROOM:
        compiled.cache_clear()
        _kept = 0
    _kept += size


def _check(part: Part, tree: nodes.Template) -> None:
    """Raise Faulty for what no template may do, whether it comes to it or not."""

    def refuse(node: nodes.Node, words: str) -> None:
        raise Faulty("syntax", f"line {node.lineno}: {words}")

    looked_at: tuple[type[nodes.Node], ...] = (
        nodes.AssignBlock,
        nodes.For,
        nodes.Getattr,
        nodes.Getitem,
        nodes.Filter,
        nodes.Test,
    )
    node: Any
    for node in tree.find_all((*REFUSED, *looked_at)):
        if type(node) in REFUSED:
            refuse(node, f"there is no {{% {REFUSED[type(node)]} %}} here")
        if isinstance(node, nodes.AssignBlock) and node.filter is not None:
            refuse(node, "there is no filter for a whole block here")
        if isinstance(node, nodes.For) and node.recursive:
            refuse(node, "there is no recursive loop here; use a macro")
        if isinstance(node, nodes.Filter) and (node.name not in part.filters or node.name.startswith("_")):
            refuse(node, f"there is no filter {node.name[:50]!r}")
        if isinstance(node, nodes.Test) and node.name not in part.tests:
            refuse(node, f"there is no test {node.name[:50]!r}")
        within = node.attr if isinstance(node, nodes.Getattr) else getattr(getattr(node, "arg", None), "value", None)
        if isinstance(within, str) and within.startswith("__"):
            refuse(node, f"{within[:50]!r} is out of reach")


def rendered(name: str, source: str, variables: Mapping[str, Any], slot: str) -> tuple[str, Sequence[str]]:
    """A part with these variables, and what its slots stand for. Raises Faulty and Absent."""
    template, _ = compiled(name, source)
    part: Any = PARTS[name]
    part.begin(slot)
    pieces = []
    try:
        for piece in template.root_render_func(template.new_context(dict(variables))):
            part.grow(len(piece))
            pieces.append(piece)
    except (Faulty, Absent) as error:
        error.add_note(f"{_line(template, error)}")
        raise
    except RecursionError as error:
        raise Faulty("too_costly", "calls itself for ever") from error
    except MemoryError:
        raise
    except Exception as error:
        fault = Faulty("failed", _words(error))
        fault.add_note(f"{_line(template, error)}")
        raise fault from error
    text = "".join(pieces)
    for made in (text, *part.values):
        if found := _UNSTORABLE.search(made):
            raise Faulty("control_character", f"contains the character U+{ord(found[0]):04X}")
    return text, part.values


def _line(template: Template, error: BaseException) -> int | None:
    """Where in the template it happened."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_globals.get("__jinja_template__") is template:
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return line


def _words(error: object) -> str:
    """An error as the end of a sentence, in one line."""
    text = str(error).encode("utf-8", "backslashreplace").decode()
    return " ".join(re.sub(r" at 0x[0-9a-f]+", "", text).split())[:200] or type(error).__name__


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """`parts` without `variables` are only read: the answer is the names of all variables. With them they are rendered:
    the answer is the texts, the slot, and what stands in the slots. Either may be `faults` instead.
    """
    variables = request.get("variables")
    slot = f"m{os.urandom(12).hex()}n"
    texts: dict[str, str] = {}
    values: Sequence[str] = ()
    faults: list[Fault] = []
    names: set[str] = set()
    for name, source in request["parts"].items():
        try:
            if variables is None:
                names |= compiled(name, source)[1]
                continue
            texts[name], found = rendered(name, source, variables, slot)
            values = found or values
        except Absent as error:
            field, needed = _absent(variables, error)
            faults.append((field, "missing", f"{needed} by the template ({_place(name, error)})"))
        except Faulty as error:
            code, words = error.args
            faults.append((name, code, words if variables is None else f"{_place(name, error)}: {words}"))
    if faults:
        return {"faults": list({fault[:2]: fault for fault in reversed(faults)}.values())[::-1]}  # each field once
    return {"names": sorted(names)} if variables is None else {"texts": texts, "slot": slot, "values": list(values)}


def _place(name: str, error: Exception) -> str:
    line = next((note for note in getattr(error, "__notes__", ()) if note != "None"), None)
    return f"{name}, line {line}" if line else name


def _absent(variables: Any, error: Absent) -> tuple[str, str]:
    """The field that is missing as the template names it, and words; the variables as a whole if it has none."""
    path, wanted = _path(variables, error.within), error.name
    if path is not None and isinstance(wanted, int):
        return f"variables{path}[{wanted}]", "is needed"
    if path is not None and isinstance(wanted, str) and len(wanted) <= MAX_NAME and not _UNSTORABLE.search(wanted):
        return f"variables{path}.{wanted}", "is needed"
    return "variables", f"have no {_words(repr(wanted))}, which is needed"


def _path(variables: Any, wanted: object, path: str = "", depth: int = 20) -> str | None:
    """Where in the variables an object or a list stands: `.order.lines[1]`; the variables themselves are ``."""
    if wanted is missing or variables is wanted:
        return path
    if not depth or not isinstance(variables, dict | list):
        return None
    inner = variables.items() if isinstance(variables, dict) else enumerate(variables)
    for key, value in inner:
        if isinstance(value, dict | list):
            place = f"[{key}]" if isinstance(key, int) else f".{key}"
            if (found := _path(value, wanted, path + place, depth - 1)) is not None:
                return found
    return None


def _stop(*_: object) -> None:
    raise TooLong


def within_memory(request: Mapping[str, Any]) -> dict[str, Any]:
    """The answer, once more without what is kept compiled if that took the room that it needs."""
    with suppress(MemoryError):
        return answer(request)
    compiled.cache_clear()
    try:
        return answer(request)
    except MemoryError:
        return {"faults": [("template", "too_costly", "needs too much memory")]}


def _answered(line: bytes) -> dict[str, Any]:
    try:
        try:
            signal.setitimer(signal.ITIMER_VIRTUAL, COMPUTING, 0.1)
            signal.setitimer(signal.ITIMER_PROF, KILLED)
            return within_memory(orjson.loads(line))
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            signal.setitimer(signal.ITIMER_PROF, 0)
    except TooLong:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.setitimer(signal.ITIMER_PROF, 0)
        return {"faults": [("template", "too_costly", f"takes more than {COMPUTING:g} s to compute")]}


def main() -> None:
    """Answer requests until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever started this ends it
    signal.signal(signal.SIGVTALRM, _stop)
    with suppress(ValueError, OSError):  # not every system has it
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
        score.write("1000")  # where memory is short, it is this that goes, and not the service
    sys.stdout.buffer.write(READY)
    sys.stdout.buffer.flush()
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(orjson.dumps(_answered(line)) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
