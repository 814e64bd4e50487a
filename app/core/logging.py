"""Structured logs: one line per fact, on standard error, without any secret."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, TextIO

import structlog

_SECRET_KEYS: Final = frozenset({
    "authorization", "proxy-authorization", "cookie", "set-cookie", "token", "secret", "password", "api_key",
    "admin_bootstrap_key", "s3_secret_access_key", "llmaas_api_key",
})  # fmt: skip
_SECRET_TEXT: Final = re.compile(r"(?i:bearer\s+[^\s'\",]+)|lm_[A-Za-z0-9_-]{16,}")
_HIDDEN: Final = "[hidden]"
_TRACEBACKS: Final = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
"""Local variables stay out of tracebacks: one of them may hold a token."""


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Hide what looks like a credential, however deep it is nested."""
    return {
        key: value if key.startswith("_") else _HIDDEN if key.lower() in _SECRET_KEYS else _redacted(value)
        for key, value in event.items()
    }


def _redacted(value: object) -> object:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return _SECRET_TEXT.sub(_HIDDEN, value)
        case Mapping():
            return {
                str(key): _HIDDEN if str(key).lower() in _SECRET_KEYS else _redacted(item)
                for key, item in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_redacted(item) for item in value]
        case _:
            # The renderer would write `repr` of it, behind our back.
            return _SECRET_TEXT.sub(_HIDDEN, repr(value))


def configure_logging(*, level: str = "INFO", human: bool = False, stream: TextIO | None = None) -> None:
    """Send our logs and the libraries' through one renderer. Called once, before anything else logs."""
    stream = stream or sys.stderr
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info if human else structlog.processors.ExceptionRenderer(_TRACEBACKS),
        redact,
    ]
    renderer: Any = (
        structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
        if human
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.captureWarnings(capture=True)
    for chatty in ("uvicorn.access", "httpx", "mcp", "httpcore", "sse_starlette", "asyncio"):
        logging.getLogger(chatty).setLevel("WARNING")
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers[:] = []
        logging.getLogger(name).propagate = True
