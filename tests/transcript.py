"""What the docs show, held against what really came.

An ellipsis (…) stands for any text within a text, and for whatever else there is within an object or an array. Ids,
secrets and times are others each time: what is shown must be of the same kind, and means the real one from then on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

MORE = "…"
_UUID, _TIME = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
# As it is shown, perhaps cut short, and as it really is.
KINDS = (
    (rf"{_UUID}|01a[0-9a-f-]+…", _UUID),
    (rf"{_TIME}|\d{{4}}-(?:[\dT:-]*)…Z?", _TIME),
    (r"\b(?:cb|mk|msg|whsec)_[A-Za-z0-9_+/=]*…?", r"(?:cb|mk|msg|whsec)_[A-Za-z0-9_+/=]+"),
)
_SHOWN = re.compile("|".join(f"({shown})" for shown, _ in KINDS) + f"|({MORE})")


@dataclass
class Transcript:
    """Remembers what stands for what: `names` are the ids and secrets as shown, with the real ones."""

    names: dict[str, str] = field(default_factory=dict)

    def real(self, text: str) -> str:
        """A command as it is to be given: the real ids in place of those that are shown."""
        for shown in sorted(self.names, key=len, reverse=True):
            text = text.replace(shown, self.names[shown])
        return text

    def faults(self, shown: str, came: str) -> list[str]:
        """Where the output of a command is not what is shown; nothing if it is."""
        if shown.startswith("HTTP/"):
            return self._answer(shown, came)
        if shown[:1] in ("{", "["):
            try:
                return self.differences(loose(shown), json.loads(came))
            except ValueError as error:
                return [f"no JSON ({error}): {came}"]
        return self._lines(shown, came)

    def differences(self, shown: Any, came: Any, place: str = "", *, shape: bool = False) -> list[str]:
        """Where a value is not what is shown; with `shape`, only names, types and what is null have to be the same."""
        return list(self._differences(shown, came, place or "$", shape))

    def _answer(self, shown: str, came: str) -> list[str]:
        """Of the head of an HTTP answer, what is shown has to be there."""
        head, _, body = shown.partition("\n\n")
        real_head, _, real_body = came.replace("\r\n", "\n").partition("\n\n")
        lines = real_head.splitlines()
        missing = [f"no line {each!r}" for each in head.splitlines() if all(self._lines(each, line) for line in lines)]
        return missing + (self.faults(body, real_body) if body else [])

    def _lines(self, shown: str, came: str) -> list[str]:
        pattern, ids = "", []
        last = 0
        for found in _SHOWN.finditer(shown):
            pattern += re.escape(shown[last : found.start()])
            last = found.end()
            if found.lastindex is not None and found.lastindex <= len(KINDS):
                pattern += f"({KINDS[found.lastindex - 1][1]})"
                ids.append(found[0])
            else:
                pattern += ".*"
        pattern += re.escape(shown[last:])
        match = re.fullmatch(pattern, came.strip(), re.DOTALL)
        if not match:
            return [f"shown {shown!r}, came {came.strip()!r}"]
        return [fault for name, real in zip(ids, match.groups(), strict=True) for fault in self._bind(name, real)]

    def _bind(self, shown: str, real: str) -> Iterator[str]:
        """A cut-off id may stand for several; one in full is always the same."""
        if shown.endswith(MORE) or re.fullmatch(_TIME, shown):
            return
        if self.names.setdefault(shown, real) != real:
            yield f"{shown} was {self.names[shown]} before, and is {real}"

    def _differences(self, shown: Any, came: Any, place: str, shape: bool) -> Iterator[str]:
        if isinstance(shown, dict) and isinstance(came, dict):
            yield from self._objects(shown, came, place, shape)
        elif isinstance(shown, list) and isinstance(came, list):
            items = [each for each in shown if each != MORE]
            if len(came) < len(items) or (len(items) == len(shown) and len(came) > len(items)):
                yield f"{place}: {len(came)} items"
            for n, (each, real) in enumerate(zip(items, came, strict=False)):
                yield from self._differences(each, real, f"{place}[{n}]", shape)
        elif isinstance(shown, str) and isinstance(came, str):
            yield from (f"{place}: {fault}" for fault in ([] if shape else self._lines(shown, came)))
        elif _kind(shown) != _kind(came) or (not shape and shown != came):
            yield f"{place}: shown {shown!r}, came {came!r}"

    def _objects(self, shown: dict[str, Any], came: dict[str, Any], place: str, shape: bool) -> Iterator[str]:
        names = shown.keys() - {MORE}
        if missing := names - came.keys():
            yield f"{place}: without {sorted(missing)}"
        if MORE not in shown and came.keys() - names:
            yield f"{place}: not shown: {sorted(came.keys() - names)}"
        for name in names & came.keys():
            yield from self._differences(shown[name], came[name], f"{place}.{name}", shape)


def loose(text: str) -> Any:
    """JSON in which an ellipsis may stand for members or items that are left out. Raises ValueError."""
    made, within, after = [""], [""], False
    for token in re.findall(rf'"(?:[^"\\]|\\.)*"|{MORE}|[^"\s]', text):
        if token == MORE and made[-1] not in ("{", "[", ","):
            made.append(",")
        if after and token not in (",", "}", "]"):
            made.append(",")
        after = token == MORE
        if token in ("{", "["):
            within.append(token)
        elif token in ("}", "]"):
            within.pop()
        marker = f'"{MORE}":"{MORE}"' if within[-1:] == ["{"] else f'"{MORE}"'
        made.append(marker if after else token)
    return json.loads("".join(made))


def steps(text: str) -> list[tuple[str, str]]:
    """A console as its commands, each with what it shows after them."""
    found: list[tuple[str, str]] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((line.removeprefix("$ "), ""))
        elif found and not found[-1][1] and found[-1][0].endswith("\\"):
            found[-1] = (f"{found[-1][0]}\n{line}", "")
        elif found:
            found[-1] = (found[-1][0], f"{found[-1][1]}{line}\n")
    return [(command, shown.strip()) for command, shown in found]


def _kind(value: Any) -> str:
    """Numbers are of one kind, whether they are whole or not."""
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__
