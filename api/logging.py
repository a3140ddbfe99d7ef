"""Logs: one line of JSON an event, or coloured text at a terminal, with the ids of the request and without secrets.

Code logs by the standard library, `logging.getLogger(...)` with fields in `extra`, or by structlog; both, and uvicorn's
own loggers, end in the one handler that configure() sets.
"""

import logging
import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from api import correlation
from api.scrub import Scrubber, secrets_of
from api.settings import Settings

# These log below a warning what the access line says already, or what no operator asks for.
QUIET = ("uvicorn.access", "httpx", "httpcore", "botocore", "boto3", "urllib3", "apscheduler", "alembic", "asyncio")
OWN_HANDLERS = ("uvicorn", "uvicorn.error", "uvicorn.access")


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to what stderr is at the time, which changes under tests and redirections."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, value: TextIO) -> None:
        raise AttributeError("the stream is always sys.stderr")


def with_ids(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The event with the ids of the request or job; what it brings itself stays."""
    error = event.get("exc_info")
    for name, value in correlation.fields_for(error[1] if isinstance(error, tuple) else error).items():
        event.setdefault(name, value)
    return event


def to_json(event: EventDict, **_: Any) -> str:
    return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The event with what one reads first in front."""
    # The message a second time: uvicorn's with colours, and what another handler has left on the record.
    for name in ("color_message", "message", "asctime"):
        event.pop(name, None)
    first = {name: event.pop(name) for name in ("timestamp", "level", "logger", "event") if name in event}
    return {**first, **event}


def scrubbing(scrubber: Scrubber) -> Processor:
    def scrub(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        found: EventDict = scrubber.value(event)
        return found

    return scrub


# What a record has of itself; all else was put on it as a field, but for what the chain drops.
OF_RECORDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message", "taskName"}
OF_LINES = frozenset({"timestamp", "level", "logger", "event", "exc_info", "stack_info", "positional_args"})


def plain_event(record: logging.LogRecord) -> EventDict | None:
    """The event that the chain would make of a record, in order; none of one that it has to look at more closely."""
    if record.exc_info or record.exc_text or record.stack_info or type(record.msg) is not str:
        return None
    at = datetime.now(tz=UTC).replace(tzinfo=None).isoformat() + "Z"
    event = {"timestamp": at, "level": record.levelname.lower(), "logger": record.name, "event": record.getMessage()}
    for name, value in record.__dict__.items():
        if name not in OF_RECORDS:
            if name in OF_LINES or name[0] == "_":
                return None
            event[name] = value
    return {**event, **{name: value for name, value in correlation.fields.get().items() if name not in event}}


class JsonFormatter(structlog.stdlib.ProcessorFormatter):
    """The chain, but for flat events without a trace of a secret, which most are: those are written straight away."""

    def __init__(self, scrubber: Scrubber, **chain: Any) -> None:
        super().__init__(**chain)
        self.scrubber = scrubber

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        event = plain_event(record)
        if event is not None and self.scrubber.is_clean(event):
            return to_json(event)
        return super().format(record)


def formatter(scrubber: Scrubber, as_json: bool, colors: bool = False) -> structlog.stdlib.ProcessorFormatter:
    """The formatter of every line. Tracebacks carry no values of variables."""
    render: Processor
    if as_json:
        render = structlog.processors.JSONRenderer(serializer=to_json)
    else:
        render = structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=structlog.dev.plain_traceback)
    chain: dict[str, Any] = {
        "foreign_pre_chain": [
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            with_ids,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            scrubbing(scrubber),
            in_order,
            render,
        ],
    }
    return JsonFormatter(scrubber, **chain) if as_json else structlog.stdlib.ProcessorFormatter(**chain)


def wants_json(settings: Settings) -> bool:
    """Whether lines are JSON: as LOG_FORMAT says, and of itself unless a developer looks at a terminal."""
    if settings.log_format != "auto":
        return settings.log_format == "json"
    return settings.env == "production" or not sys.stderr.isatty()


def log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Logs what ends the process; the interpreter would print it as it is, secrets included."""
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
    else:
        logging.getLogger("api").critical("uncaught error", exc_info=(kind, error, trace))


def configure(settings: Settings) -> None:
    """Sends every logger through the one handler of these settings; called again, it takes the place of the last."""
    handler = StderrHandler()
    handler.setFormatter(formatter(Scrubber(secrets_of(settings)), wants_json(settings), sys.stderr.isatty()))
    sys.excepthook = log_uncaught
    root = logging.getLogger()
    for other in [old for old in root.handlers if isinstance(old, StderrHandler)]:
        root.removeHandler(other)
    root.addHandler(handler)
    root.setLevel(settings.log_level.upper())
    for name in OWN_HANDLERS:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
    # No line tells a place in the code, a thread or a process, and finding them takes as long as writing the line.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    # structlog's own loggers hand over to the standard library, where Sentry and the tests listen too.
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, structlog.stdlib.render_to_log_kwargs],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
