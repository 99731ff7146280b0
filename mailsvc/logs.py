"""Logs: one event a line; JSON when nobody looks at a terminal. No address and no content of a mail is ever logged."""

from __future__ import annotations

import logging
import sys

import orjson
import structlog

from . import process


def configure(level: str, *, named: bool = False) -> None:
    """Set the logging of the whole process up; `level` is debug, info, warning or error.

    `named`: each line says which process wrote it, for several may write into one log.
    """
    terminal = sys.stderr.isatty()
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    if named:
        processors.append(_named)
    if terminal:
        processors.append(structlog.dev.ConsoleRenderer(colors=False, pad_event_to=18))
    else:
        processors += [structlog.processors.format_exc_info, _json_line]
    number = getattr(logging, level.upper())
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    # Libraries speak up only when something is wrong; the HTTP server's complaints about broken requests are no news.
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    logging.getLogger("tornado.general").setLevel(logging.ERROR)
    logging.getLogger("tornado.access").setLevel(logging.CRITICAL)


def _named(logger: object, name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A child of the process that has set the logging up has a name of its own."""
    return {"event": event.pop("event"), "process": process.name(), **event}


def _json_line(logger: object, name: str, event: structlog.typing.EventDict) -> str:
    """One line of JSON, in the order in which a person reads it."""
    first = {key: event.pop(key) for key in ("at", "level", "event")}
    return orjson.dumps(first | dict(event), default=str).decode()
