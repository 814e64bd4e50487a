"""Calls an operation of a service over REST, and says with which status the command ends."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final, Self
from urllib.parse import quote

import httpx

from app import __version__
from app.cli.connection import Target, is_local
from app.cli.table import ARCHIVE, EVENTS, Described

CONNECT: Final = 10.0
SILENCE: Final = 60.0
"""Seconds without a sign of life after which a stream of events is taken for broken."""
SPARE: Final = 10.0
"""Seconds that an answer gets on top of the time that the service gives itself."""
DOCUMENT: Final = "application/json"


class Exit(IntEnum):
    """The exit status of a command."""

    DONE = 0
    UNEXPECTED = 1
    USAGE = 2
    UNAUTHENTICATED = 3
    FORBIDDEN = 4
    NOT_FOUND = 5
    CONFLICT = 6
    INVALID = 7
    LIMITED = 8
    UNAVAILABLE = 9


_STATUS: Final = {
    401: Exit.UNAUTHENTICATED,
    403: Exit.FORBIDDEN,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    410: Exit.NOT_FOUND,
    412: Exit.CONFLICT,
    428: Exit.CONFLICT,
    429: Exit.LIMITED,
    502: Exit.UNAVAILABLE,
    503: Exit.UNAVAILABLE,
    504: Exit.UNAVAILABLE,
}


class Refused(Exception):
    """The call did not succeed: the message is a sentence, `exit` the status of the command."""

    def __init__(
        self,
        message: str,
        exit_status: Exit,
        *,
        code: str = "",
        request_id: str = "",
        faults: tuple[tuple[str, str], ...] = (),
        body: bytes = b"",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.exit = exit_status
        self.code = code
        """The stable name of the situation; empty when the service did not say one."""
        self.request_id = request_id
        self.faults = faults
        """Field, and what is wrong with it."""
        self.body = body
        """The problem document as the service sent it; empty when it sent none."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service said."""

    raw: bytes
    """The body as it was sent."""
    body: dict[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Download:
    """An archive that is being sent."""

    pieces: Iterator[bytes]


class Client:
    """One service, for one token."""

    def __init__(self, target: Target, *, transport: httpx.BaseTransport | None = None) -> None:
        headers = {"User-Agent": f"live-memory/{__version__}", "Accept": DOCUMENT}
        if target.token:
            headers["Authorization"] = f"Bearer {target.token}"
        self._url = target.url
        self._http = httpx.Client(
            headers=headers,
            transport=transport,
            follow_redirects=False,
            # A proxy of the environment must not stand between a machine and itself.
            trust_env=not is_local(target.url),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def call(self, operation: Described, arguments: Mapping[str, Any]) -> Answer:
        """The answer of the operation.

        Raises:
            Refused: it did not succeed.
        """
        with self._told(operation):
            response = self._http.send(self._request(operation, arguments))
        return _answer(response, self._url)

    def probe(self, path: str, *, timeout: float = CONNECT) -> Answer:
        """The answer of an address beside the operations.

        Raises:
            Refused: there is none, or it is no success.
        """
        with self._told(None):
            response = self._http.get(self._url + path, timeout=timeout)
        return _answer(response, self._url)

    @contextmanager
    def archive(self, operation: Described, arguments: Mapping[str, Any]) -> Iterator[Download]:
        """The archive that the operation sends, piece by piece.

        Raises:
            Refused: it sends none, or stops before the end.
        """
        request = self._request(operation, arguments)
        request.headers["Accept"] = ARCHIVE
        with self._told(operation):
            response = self._http.send(request, stream=True)
            try:
                if not response.is_success or not _is(response, ARCHIVE):
                    response.read()
                    _answer(response, self._url)
                    raise Refused(f"{self._url} sent something else than an archive.", Exit.UNEXPECTED)
                yield Download(response.iter_bytes())
            finally:
                response.close()

    @contextmanager
    def events(
        self, operation: Described, arguments: Mapping[str, Any], *, after: int
    ) -> Iterator[Iterator[bytes] | None]:
        """The bytes of the events behind the one of that number, as they come; None when there will be no more.

        Raises:
            Refused: it sends none, or stops in the middle.
        """
        request = self._request(operation, arguments)
        request.headers.update({"Accept": EVENTS, "Last-Event-ID": str(after)})
        request.extensions["timeout"]["read"] = SILENCE
        with self._told(operation):
            response = self._http.send(request, stream=True)
            try:
                if response.status_code == httpx.codes.NO_CONTENT:
                    yield None
                    return
                if not response.is_success or not _is(response, EVENTS):
                    response.read()
                    _answer(response, self._url)
                    raise Refused(f"{self._url} sent something else than events.", Exit.UNEXPECTED)
                yield response.iter_bytes()
            finally:
                response.close()

    def _request(self, operation: Described, arguments: Mapping[str, Any]) -> httpx.Request:
        places: dict[str, dict[str, Any]] = {"path": {}, "query": {}, "body": {}}
        takes_body = False
        for argument in operation.arguments:
            takes_body = takes_body or argument.place == "body"
            if argument.name in arguments:
                places[argument.place][argument.name] = arguments[argument.name]
        path = operation.path
        for name, value in places["path"].items():
            path = path.replace("{" + name + "}", _in_path(name, str(value), greedy=name in operation.greedy))
        return self._http.build_request(
            operation.method,
            self._url + path,
            params={name: _plain(value) for name, value in places["query"].items()} or None,
            content=json.dumps(places["body"], ensure_ascii=False).encode() if takes_body else None,
            headers={"Content-Type": DOCUMENT} if takes_body else None,
            timeout=httpx.Timeout(operation.timeout + SPARE, connect=CONNECT),
        )

    @contextmanager
    def _told(self, operation: Described | None) -> Iterator[None]:
        """What httpx raises, as what a person should know."""
        repeatable = operation is None or operation.method == "GET"
        doubt = "" if repeatable else " It may or may not have been carried out: look before you repeat it."
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise Refused(f"{self._url} cannot be reached ({_reason(error)}).", Exit.UNAVAILABLE) from None
        except httpx.TimeoutException:
            raise Refused(f"{self._url} did not answer in time.{doubt}", Exit.UNAVAILABLE) from None
        except httpx.TransportError as error:
            raise Refused(
                f"{self._url} stopped in the middle of the exchange ({_reason(error)}).{doubt}", Exit.UNAVAILABLE
            ) from None
        except httpx.InvalidURL as error:
            raise Refused(f"The request cannot be addressed ({error}).", Exit.INVALID) from None


def _in_path(name: str, value: str, *, greedy: bool) -> str:
    """The value as a part of a path that cannot become another path."""
    parts = value.split("/") if greedy else [value]
    if any(part in {"", ".", ".."} for part in parts) or (not greedy and "/" in value):
        raise Refused(f"{name}: '{value}' cannot be a name.", Exit.INVALID, code="invalid_input")
    return "/".join(quote(part, safe="") for part in parts)


def _plain(value: object) -> Any:  # noqa: ANN401 - whatever httpx takes for a query
    return str(value).lower() if isinstance(value, bool) else value


def _is(response: httpx.Response, media_type: str) -> bool:
    return str(response.headers.get("content-type", "")).partition(";")[0].strip() == media_type


def _answer(response: httpx.Response, url: str) -> Answer:
    try:
        body = response.json() if response.content else None
    except ValueError:
        body = None
    if response.is_success and isinstance(body, dict):
        return Answer(response.content, body, response.headers)
    if isinstance(body, dict) and isinstance(body.get("detail"), str) and isinstance(body.get("code"), str):
        raise Refused(
            body["detail"],
            exit_of(response.status_code),
            code=body["code"],
            request_id=str(body.get("request_id", "")),
            faults=_faults(body.get("errors")),
            body=response.content,
        )
    if response.is_redirect:
        where = response.headers.get("location", "elsewhere")
        raise Refused(f"{url} sends its callers to {where}: name that address instead.", Exit.UNEXPECTED)
    if response.is_success:
        raise Refused(f"{url} answers, but not as a Live Memory service does.", Exit.UNEXPECTED)
    said = f"{response.status_code} {response.reason_phrase}".strip()
    raise Refused(f"{url} answers {said}.", exit_of(response.status_code))


def exit_of(status: int) -> Exit:
    """The exit status for the status of an HTTP answer."""
    if status in _STATUS:
        return _STATUS[status]
    return Exit.INVALID if 400 <= status < 500 else Exit.UNEXPECTED  # noqa: PLR2004 - the client's faults


def _faults(errors: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(errors, list):
        return ()
    return tuple((str(one.get("field", "")), str(one.get("message", ""))) for one in errors if isinstance(one, dict))


def _reason(error: Exception) -> str:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__
