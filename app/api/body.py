"""What a request body may be: so large, so slow, and JSON without tricks."""

import asyncio
import json
import math
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.core.errors import FieldFault, InvalidInput, TooLarge
from app.core.routing import API_PREFIX

MAX_BODY: Final = 8 * 1024 * 1024
BODY_SECONDS: Final = 30.0
MAX_DEPTH: Final = 64

_JSON_TYPE: Final = re.compile(r"application/(?:[a-z0-9.+-]+\+)?json\Z")
_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


class BodyGuard:
    """Cuts a body that is too large or too slow, while it is read.

    It raises `HTTPException` inside `receive()`: any other kind would be taken for a bug of the reader.
    """

    def __init__(self, app: ASGIApp, *, limit: int = MAX_BODY, seconds: float = BODY_SECONDS) -> None:
        self._app = app
        self._limit = limit
        self._seconds = seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared) > self._limit:
            raise TooLarge(f"A request body holds {self._limit} bytes at most.")
        size, complete = 0, False
        deadline: float | None = None

        async def guarded_receive() -> Message:
            nonlocal size, complete, deadline
            if complete:
                return await receive()
            if deadline is None:
                deadline = asyncio.get_running_loop().time() + self._seconds
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise HTTPException(408) from None
            size += len(message.get("body", b""))
            if size > self._limit:
                raise HTTPException(413)
            complete = not message.get("more_body", False)
            return message

        await self._app(scope, guarded_receive, send)


class JSONGuard:
    """Refuses JSON that two readers could understand differently, before an operation sees it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(API_PREFIX + "/"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if "transfer-encoding" not in headers and headers.get("content-length", "0").strip("0") == "":
            await self._app(scope, receive, send)
            return
        chunks: list[bytes] = []
        message = await receive()
        while message["type"] == "http.request":
            chunks.append(message.get("body", b""))
            if not message.get("more_body", False):
                break
            message = await receive()
        else:
            # The client left in the middle of its body: there is nobody to answer.
            return
        body = b"".join(chunks)
        if body:
            media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
            if not _JSON_TYPE.match(media_type):
                raise _refused("a JSON object is expected, sent as application/json")
            check_json(body)
        replayed = False

        async def replay() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, replay, send)


def check_json(body: bytes) -> None:
    """Raise unless the bytes are JSON: UTF-8, no name twice, finite numbers, whole characters, at most 64 levels.

    Raises:
        InvalidInput: they are not.
    """
    try:
        value = json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_distinct,
            parse_constant=_no_constant,
            parse_float=_finite,
        )
    except InvalidInput:
        raise
    except UnicodeDecodeError:
        raise _refused("not valid UTF-8") from None
    except json.JSONDecodeError as error:
        raise _refused(f"not valid JSON at character {error.pos} ({error.msg})") from None
    except RecursionError:
        raise _too_deep() from None
    except ValueError:
        # Python refuses integers of thousands of digits with the plain kind.
        raise _refused("a number is too long") from None
    # The cheap counts settle nearly every request; the walk is for those that remain.
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH and _is_deep(value):
        raise _too_deep()
    if _SURROGATE.search(body):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise _refused("a lone surrogate, which is not a character") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _refused("a name appears twice in one object")
    return found


def _no_constant(_name: str) -> NoReturn:
    raise _refused("NaN and Infinity are not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _refused("a number is too large")
    return number


def _is_deep(value: object) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for container in level for item in _containers(container)]
        if not level:
            return False
    return True


def _containers(value: object) -> Iterator[object]:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (item for item in items if isinstance(item, dict | list))


def _too_deep() -> InvalidInput:
    return _refused(f"nested deeper than {MAX_DEPTH} levels")


def _refused(message: str) -> InvalidInput:
    return InvalidInput(f"The request body cannot be accepted: {message}.", faults=[FieldFault("body", message)])
