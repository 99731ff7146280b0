"""The form of the page: its mail as a request in three languages, and faults that come back beside their fields."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidMail
from .base import Handler
from .body import fields
from .problem import problem
from .session import FIELD

FIELDS = ("to", "to_name", "subject", "content")
EXAMPLE = {
    "to": "ann@example.com",
    "to_name": "Ann Lee",
    "subject": "Your order has shipped",
    "content": """Hello **Ann**,

your order is on its way: [track it](https://example.com/1042).

- one teapot
- two cups
""",
}
_UNSEEN = re.compile(r"[\x7f-\xa0\xad\u061c\u200b-\u200f\u2028-\u202f\u2060-\u206f\ufeff]")
ONCE = (
    "_once"  # a field of the form, new with each page: one page sends the same mail once, however often it is clicked
)


@dataclass(frozen=True, slots=True)
class Form:
    """What stands in the form, and what is wrong with it: `beside` by field, `above` for all else."""

    values: Mapping[str, str]
    beside: Mapping[str, str] = field(default_factory=dict)
    above: Sequence[str] = ()

    @property
    def first(self) -> str | None:
        """The first field with a fault."""
        return next((name for name in FIELDS if name in self.beside), None)


def form(values: Mapping[str, Any] | None = None, error: BaseException | None = None) -> Form:
    """The form with these values, and with the faults of what was tried."""
    shown = {name: _text((values or {}).get(name)) for name in FIELDS}
    if error is None:
        return Form(shown)
    if not isinstance(error, InvalidMail):
        return Form(shown, above=[problem(error, 500).detail])
    beside: dict[str, str] = {}
    above = []
    for fault in error.faults:
        name = fault.field.partition("[")[0]
        if name in FIELDS:
            beside.setdefault(name, fault.message)
        else:
            above.append(f"{fault.field} {fault.message}")
    return Form(shown, beside, above)


def given(handler: Handler) -> tuple[dict[str, Any], str]:
    """The fields of a mail from a form, and what makes it go out once. Raises Problem and InvalidMail."""
    headers = handler.request.headers
    found = fields(headers.get("Content-Type"), headers.get("Content-Encoding"), handler.body)
    found.pop(FIELD, None)
    if isinstance(found.get("content"), str):
        found["content"] = found["content"].replace("\r\n", "\n")  # how browsers write line breaks of a form
    return found, _text(found.pop(ONCE, ""))[:64]


def requests(handler: Handler, values: Mapping[str, str]) -> dict[str, str]:
    """The same mail as a request that can be copied: curl, Python and JavaScript. An example if the form is empty."""
    config = handler.service.config
    base = config.public_url or f"{handler.protocol}://{handler.request.host}"
    mail = {name: values[name] for name in FIELDS if values[name]} or EXAMPLE
    locked = not handler.service.keys.ring.empty
    return {
        "curl": _curl(f"{base}/email", mail, locked),
        "Python": _python(f"{base}/email", mail, locked),
        "JavaScript": _javascript(f"{base}/email", mail, locked),
    }


def _curl(url: str, mail: Mapping[str, str], key: bool) -> str:
    lines = [f"curl {shlex.quote(url)}"]
    if key:
        lines.append('-H "Authorization: Bearer $MAILSVC_API_KEY"')
    lines += ["-H 'Content-Type: application/json'", f"-d {shlex.quote(_json(mail))}"]
    return " \\\n  ".join(lines)


def _python(url: str, mail: Mapping[str, str], key: bool) -> str:
    more = '\n    "Authorization": "Bearer " + os.environ["MAILSVC_API_KEY"],' if key else ""
    return f"""import json{", os" if key else ""}
from urllib.request import Request, urlopen

mail = {_json(mail)}
headers = {{
    "Content-Type": "application/json",{more}
}}
request = Request({json.dumps(url)}, json.dumps(mail).encode(), headers)
print(urlopen(request).read().decode())"""


def _javascript(url: str, mail: Mapping[str, str], key: bool) -> str:
    more = "\n    Authorization: `Bearer ${process.env.MAILSVC_API_KEY}`," if key else ""
    return f"""const answer = await fetch({json.dumps(url)}, {{
  method: "POST",
  headers: {{
    "Content-Type": "application/json",{more}
  }},
  body: JSON.stringify({_json(mail)}),
}})
console.log(await answer.json())"""


def _json(mail: Mapping[str, str]) -> str:
    """JSON that is Python and JavaScript as well. What cannot be seen is written as its number."""
    text = json.dumps(dict(mail), indent=2, ensure_ascii=False)
    return _UNSEEN.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _text(value: Any) -> str:
    """A form field's value: the first one where a field came more than once."""
    if isinstance(value, list):
        value = value[0] if value else ""
    return value if isinstance(value, str) else ""
