"""What a template may say: the Jinja2 of mailsvc, its filters, its bounds, and how each part shows a value.

What a variable says is shown as text, wherever it stands. In HTML it is escaped. In markdown there is no good way to
escape: so a slot stands for it, a word that nobody can guess, until the markdown has become HTML.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
from jinja2 import StrictUndefined, Undefined, UndefinedError, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.filters import make_attrgetter
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing
from jinja2.visitor import NodeTransformer
from markupsafe import Markup, escape

OUTPUT = 1 << 20  # characters of a part
ROUNDS = 10_000  # of one `range`
LONGEST_NUMBER = 4096  # bits
CALLS = 50  # macros within macros

FILTERS = (
    *("abs", "batch", "capitalize", "center", "count", "d", "default", "dictsort", "filesizeformat", "first", "float"),
    *("groupby", "indent", "int", "items", "last", "length", "list", "lower", "map", "max", "min", "reject"),
    *("rejectattr", "reverse", "round", "select", "selectattr", "slice", "sort", "string", "striptags", "sum", "title"),
    *("trim", "truncate", "unique", "upper", "urlencode", "wordcount", "wordwrap"),
)
# What may be done to text that is put together already: by a macro, in a block, or called `safe`.
HARMLESS = ("count", "d", "default", "e", "escape", "length", "safe", "string", "trim")


class Faulty(Exception):
    """The template, or what it was given, cannot be used: `args` are a code and the end of a sentence."""


class Absent(Exception):
    """There is no `name` in the variables, or in an object of theirs."""

    def __init__(self, within: object, name: object) -> None:
        self.within, self.name = within, name
        super().__init__(name)


class _Missing(StrictUndefined):
    """What is not there. Nothing can be done with it but to ask whether it is there."""

    __slots__ = ()

    def __init__(
        self, hint: str | None = None, obj: Any = missing, name: Any = None, exc: Any = UndefinedError
    ) -> None:
        absent = hint is None and exc is UndefinedError
        raised: Any = (lambda _: Absent(obj, name)) if absent else exc
        super().__init__(hint, obj, name, raised)


class Part(ImmutableSandboxedEnvironment):
    """How one part of a mail is rendered: as plain text."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})
    escapes = False

    def __init__(self) -> None:
        super().__init__(
            autoescape=self.escapes,
            undefined=_Missing,
            finalize=_shown,
            keep_trailing_newline=True,
            optimized=False,  # nothing is worked out before there is a limit to it
            cache_size=0,
        )
        self.filters = {name: self.filters[name] for name in FILTERS} | _OWN_FILTERS
        self.globals = {name: self.globals[name] for name in ("namespace", "joiner")} | {"range": _range}
        self.begin("")

    def begin(self, slot: str) -> None:
        """Forget what was rendered before. `slot` is how slots begin."""
        self.slot, self.size, self.depth = slot, 0, 0
        self.values: list[str] = []

    def grow(self, characters: int) -> None:
        """There is so much more of it. Raises Faulty."""
        self.size += characters
        if self.size > OUTPUT:
            raise Faulty("too_large", f"makes more than {OUTPUT} characters")

    def mark(self, value: Any) -> Any:
        """A value as text of this part."""
        return str(value)

    def together(self, values: Iterable[Any], between: Any = "") -> str:
        """Values as one text. If one of them is text of this part already, all are made so."""
        parts, between = [_printable(value) for value in values], _printable(between)
        if any(isinstance(part, Markup) for part in (between, *parts)):
            return Markup(str(self.marked(between)).join(str(self.marked(part)) for part in parts))  # noqa: S704 - marked
        return str(between).join(map(str, parts))

    def marked(self, value: Any) -> Any:
        """The same, unless it is text of this part already."""
        return value if isinstance(value, Markup) else self.mark(value)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """`order.items` is what the caller gave by that name; a method only if there is no such thing."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        _refuse_methods(obj)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """The same for `order["items"]`."""
        _refuse_methods(obj)
        return super().getitem(obj, argument)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Macros call macros, but not for ever."""
        if not self.is_safe_callable(obj):
            raise SecurityError("this cannot be called")
        if self.depth >= CALLS:
            raise Faulty("too_costly", f"calls macros within macros, more than {CALLS} deep")
        self.depth += 1
        try:
            return context.call(obj, *args, **kwargs)
        finally:
            self.depth -= 1

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """What grows is bounded before it does."""
        if isinstance(left, Markup) or isinstance(right, Markup):
            if operator != "+":
                raise Faulty("failed", f"text that is put together cannot be used with {operator}")
            return self.together((left, right))
        if operator in ("*", "**"):
            _bound(operator, left, right)
        return super().call_binop(context, operator, left, right)


class HtmlPart(Part):
    """As HTML: values are escaped."""

    escapes = True

    def mark(self, value: Any) -> Any:
        """Escaped."""
        return escape(value)


class MarkdownPart(Part):
    """As markdown: a slot stands for each value."""

    escapes = True

    def mark(self, value: Any) -> Any:
        """A slot; a number is harmless, and may begin a list."""
        if isinstance(value, int | float):
            return Markup(value)  # noqa: S704 - a number
        self.grow(len(value))
        self.values.append(str(value))
        return Markup(f"{self.slot}{len(self.values) - 1}z")  # noqa: S704 - letters and digits


@pass_context
def _shown(context: Context, value: Any) -> Any:
    part: Any = context.environment
    return part.marked(_printable(value))


def _printable(value: Any) -> Any:
    """Nothing for null, and the words of JSON for true and false. Raises Faulty for what is no text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, StrictUndefined):
        return str(value)  # which raises
    if isinstance(value, Undefined):
        return ""  # `x if y` without an else
    if isinstance(value, str | int | float):
        return value
    kind = "an object" if isinstance(value, dict) else "a list" if isinstance(value, list | tuple) else "this"
    raise Faulty("not_text", f"{kind} is not a text; loop over it, or use `join` or `tojson`")


def _range(*args: int) -> range:
    found = range(*args)
    if len(found) > ROUNDS:
        raise Faulty("too_costly", f"range() is for at most {ROUNDS} numbers")
    return found


def _refuse_methods(obj: Any) -> None:
    if isinstance(obj, Markup):
        raise Faulty("failed", "text that is put together has no methods")


def _bound(operator: str, left: Any, right: Any) -> None:
    for many, number in ((left, right), (right, left)):
        if isinstance(many, str | list | tuple) and isinstance(number, int) and len(many) * number > OUTPUT:
            raise Faulty("too_costly", f"makes more than {OUTPUT} of something by *")
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length() + right.bit_length()
        if bits > LONGEST_NUMBER:
            raise Faulty("too_costly", f"makes a number of more than {LONGEST_NUMBER} bits")


@pass_context
def _join(context: Context, values: Iterable[Any], d: Any = "", attribute: Any = None) -> str:
    part: Any = context.environment
    if attribute is not None:
        values = map(make_attrgetter(part, attribute), values)
    joined: str = part.together(values, d)
    return joined


@pass_context
def _escape(context: Context, value: Any) -> Any:
    part: Any = context.environment
    return part.marked(_printable(value))


@pass_context
def _safe(context: Context, value: Any) -> Any:
    part: Any = context.environment
    return Markup(_printable(value)) if part.escapes else _printable(value)  # noqa: S704 - by the author's word


@pass_context
def _whole(context: Context, value: Any) -> Any:
    """What a filter would take apart must not hold slots."""
    if isinstance(value, Markup):
        raise Faulty("failed", "a filter is for a value, not for text that is put together: use it within")
    return value


def _format(value: Any, *args: Any, **kwargs: Any) -> str:
    return str(_printable(value)) % (kwargs or tuple(map(_printable, args)))


def _replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    return str(_printable(value)).replace(str(old), str(_printable(new)), -1 if count is None else count)


def _tojson(value: Any, indent: int | None = None) -> str:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 if indent else 0).decode()


_OWN_FILTERS: dict[str, Callable[..., Any]] = {
    "e": _escape,
    "escape": _escape,
    "format": _format,
    "join": _join,
    "replace": _replace,
    "safe": _safe,
    "tojson": _tojson,
    "_whole": _whole,
}


class Rewriting(NodeTransformer):
    """`~` as `join`, which knows what text of this part is; and filters that look first at what they get."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: D102, N802 - the visitor's way
        self.generic_visit(node)
        values = nodes.List(node.nodes, lineno=node.lineno)
        return nodes.Filter(values, "join", [], [], None, None, lineno=node.lineno)

    def visit_Filter(self, node: nodes.Filter) -> nodes.Node:  # noqa: D102, N802 - the visitor's way
        self.generic_visit(node)
        if node.name not in HARMLESS and node.node is not None:
            node.node = nodes.Filter(node.node, "_whole", [], [], None, None, lineno=node.lineno)
        return node


PARTS: Mapping[str, Part] = {"subject": Part(), "text": Part(), "html": HtmlPart(), "content": MarkdownPart()}
