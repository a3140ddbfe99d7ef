"""The ids that follow one request through the service, its job and the worker's log.

`request_id` names one request: X-Request-ID where the caller sends a well-formed one, else made here. `correlation_id`
names what the request belongs to: the trace of a W3C traceparent, else X-Correlation-ID, else the request itself. A job
stores correlation_id() in its row or message, and its worker runs it within correlated(...).
"""

import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

WELL_FORMED = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
# Source: W3C Trace Context, section 3.2: version, trace id, parent id, flags; later versions may add more fields.
TRACEPARENT = re.compile(rb"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
CARRIED = "_correlation"
NOTHING: Mapping[str, str] = {}

fields: ContextVar[Mapping[str, str]] = ContextVar("fields", default=NOTHING)


def well_formed(value: bytes | None) -> str | None:
    """An id as text, none if it is missing or could break a line of a log or a header."""
    return value.decode("ascii") if value is not None and WELL_FORMED.fullmatch(value) else None


def trace_of(traceparent: bytes | None) -> str | None:
    """The trace id of a traceparent header, none if it is missing or malformed."""
    found = TRACEPARENT.fullmatch(traceparent) if traceparent is not None else None
    if found is None or (found[1] == b"00" and found[3]):
        return None
    return found[2].decode("ascii")


def fields_for(error: object) -> Mapping[str, str]:
    """The fields to tell beside an error, or beside none: those it carries, else those of where we are."""
    carried: Mapping[str, str] | None = getattr(error, CARRIED, None)
    return fields.get() if carried is None else carried


def new_id() -> str:
    """A fresh id: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def ids_of(headers: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """`request_id` and `correlation_id` of a request with these headers."""
    given = dict(headers)
    request_id = well_formed(given.get(b"x-request-id")) or new_id()
    correlation = trace_of(given.get(b"traceparent")) or well_formed(given.get(b"x-correlation-id")) or request_id
    return {"request_id": request_id, "correlation_id": correlation}


def request_id() -> str:
    """The id of the request being answered, blank outside one."""
    return fields.get().get("request_id", "")


def correlation_id() -> str:
    """The id to store with a job or a message; a fresh one where nothing has begun."""
    return fields.get().get("correlation_id") or new_id()


@contextmanager
def correlated(correlation_id: str | None = None, **more: str) -> Iterator[None]:
    """Puts the correlation id and further fields, such as run_id, on every line logged within.

    Without an id it keeps the one there is, or makes one. An exception that leaves carries them along, for whoever logs
    it outside.
    """
    outer = fields.get()
    inner = {**outer, **more, "correlation_id": correlation_id or outer.get("correlation_id") or new_id()}
    token = fields.set(inner)
    try:
        yield
    except BaseException as error:
        error.__dict__.setdefault(CARRIED, inner)
        raise
    finally:
        fields.reset(token)
