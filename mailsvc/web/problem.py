"""Errors as HTTP tells them: the status and the stable code of each, and the words. Problems as in RFC 9457."""

from __future__ import annotations

import math
from http import HTTPStatus

from tornado.httputil import HTTPInputError
from tornado.web import HTTPError

from ..errors import (
    Conflict,
    FieldFault,
    Forbidden,
    HookRefused,
    HookUnreadable,
    IdempotencyKeyReused,
    InvalidMail,
    MailsvcError,
    NotFound,
    Overloaded,
    QueueFull,
    RateLimited,
    ShuttingDown,
    StorageUnavailable,
    Unavailable,
)


class Problem(Exception):
    """An error that only HTTP knows: status, stable code, words, more headers."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        faults: tuple[FieldFault, ...] = (),
        headers: dict[str, str] | None = None,
    ):
        self.status, self.code, self.detail, self.faults = status, code, detail, faults
        self.headers = headers or {}
        super().__init__(detail)


def unsupported_media_type(detail: str) -> Problem:
    """415 with a hint."""
    return Problem(415, "unsupported_media_type", detail)


def invalid(field: str, code: str, message: str) -> InvalidMail:
    """422 for one field that is not part of a mail: a query parameter, a header."""
    return InvalidMail([FieldFault(field, code, message)])


def too_often(detail: str, wait: float) -> Problem:
    """429; `wait` is in seconds."""
    return Problem(429, "rate_limited", detail, headers={"Retry-After": str(max(1, math.ceil(wait)))})


# Where an error becomes an HTTP status; the first class that fits.
_PROBLEMS: tuple[tuple[type[MailsvcError], int, str], ...] = (
    (InvalidMail, 422, "invalid"),
    (IdempotencyKeyReused, 422, "idempotency_key_reused"),
    (Forbidden, 403, "forbidden"),
    (HookRefused, 401, "unauthorized"),
    (HookUnreadable, 400, "malformed"),
    (NotFound, 404, "not_found"),
    (QueueFull, 503, "queue_full"),
    (Overloaded, 503, "overloaded"),
    (ShuttingDown, 503, "shutting_down"),
    (StorageUnavailable, 503, "storage_unavailable"),
    (Unavailable, 503, "storage_unavailable"),
)
_BY_STATUS = {400: "malformed", 403: "forbidden", 404: "not_found", 405: "method_not_allowed", 413: "too_large"}


def problem(error: BaseException | None, status: int) -> Problem:
    """Any error as a problem; one that nobody foresaw says nothing about itself."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, InvalidMail):
        return Problem(422, "invalid", _sentence(error), error.faults)
    if isinstance(error, Conflict):
        return Problem(409, error.code, str(error))
    if isinstance(error, RateLimited):
        return too_often(str(error), error.wait)
    for kind, known, code in _PROBLEMS:
        if isinstance(error, kind):
            wait = {"Retry-After": str(error.retry_after)} if isinstance(error, Unavailable) else None
            return Problem(known, code, str(error), headers=wait)
    if isinstance(error, HTTPError | HTTPInputError) and status < 500:
        return Problem(status, _BY_STATUS.get(status, "malformed"), HTTPStatus(status).description or "Bad request")
    return Problem(500, "internal", "Something went wrong here, not with your request. It has been logged.")


def _sentence(error: InvalidMail) -> str:
    names = ", ".join(dict.fromkeys(fault.field for fault in error.faults))
    return f"The request cannot be accepted because of: {names}"
