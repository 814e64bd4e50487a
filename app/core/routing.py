"""Declares an operation once: a FastAPI path function plus the facts FastAPI has no word for."""

import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Annotated, Any, Final, TypeVar, cast

from fastapi import APIRouter, Depends, Request, Response
from fastapi.datastructures import Default
from fastapi.dependencies.models import Dependant
from fastapi.responses import JSONResponse, StreamingResponse
from fastapi.routing import APIRoute

from app.core.errors import FieldFault, InternalError, InvalidInput, NotFound, Situation, Unauthenticated, UnknownField
from app.core.identity import Caller, Permission
from app.core.ids import space_of_job
from app.core.operation import DEFAULT_TIMEOUT, Effect, Operation, Progress, ToolCall
from app.core.problem import PROBLEM_TYPE, Problem

API_PREFIX: Final = "/api/v1"
CALLER_KEY: Final = "live_memory.caller"
"""Scope key under which the authentication middleware leaves the caller."""
TOOL_CALL_KEY: Final = "live_memory.tool_call"
"""Scope key under which the MCP bridge leaves its `ToolCall`."""

_SHOWN: Final = 60
_FEW: Final = 5

T = TypeVar("T")
Endpoint = Callable[..., Awaitable[Any]]


class Operations:
    """The operations of one noun: a router that remembers what it was told."""

    def __init__(self, tag: str, description: str) -> None:
        self.tag = tag
        self.description = description
        self.router = APIRouter(prefix=API_PREFIX, tags=[tag])
        self.declared: list[Operation] = []

    def declare(
        self,
        name: str,
        *,
        method: str,
        path: str,
        permission: Permission,
        effect: Effect,
        example: Mapping[str, Any],
        errors: tuple[type[Situation], ...] = (),
        status_code: int = 200,
        core: bool = True,
        open_world: bool = False,
        timeout: timedelta = DEFAULT_TIMEOUT,
        response_model: Any = None,
        responses: Mapping[int | str, dict[str, Any]] | None = None,
        stream: type[StreamingResponse] | None = None,
    ) -> Callable[[Endpoint], Endpoint]:
        """Declare the decorated path function as an operation.

        Its docstring is the title (first line) and the description, its parameters and return annotation are the
        schemas. `permission` has no default, so it cannot be forgotten. `stream`: it answers with events as they
        happen, in a response of that class.
        """

        def register(endpoint: Endpoint) -> Endpoint:
            lines = inspect.cleandoc(endpoint.__doc__ or "").splitlines()
            operation = Operation(
                name=name,
                tag=self.tag,
                method=method,
                path=API_PREFIX + path,
                title=lines[0],
                description="\n".join(lines[1:]).strip(),
                permission=permission,
                effect=effect,
                errors=errors,
                status_code=status_code,
                core=core,
                example=example,
                timeout=timeout,
                endpoint=endpoint,
                is_stream=stream is not None,
            )
            self.declared.append(operation)
            guard = _Guard(operation)
            self.router.add_api_route(
                path,
                endpoint,
                methods=[method],
                operation_id=name,
                name=name,
                summary=operation.title,
                description=operation.description or operation.title,
                status_code=status_code,
                response_model=None if stream else response_model or inspect.signature(endpoint).return_annotation,
                dependencies=[Depends(guard)],
                responses={**_problems(operation), **(responses or {})},
                openapi_extra=_extra(operation, open_world=open_world),
                response_class=stream or Default(JSONResponse),
            )
            guard.learn(cast("APIRoute", self.router.routes[-1]))
            return endpoint

        return register


class _Guard:
    """Stands before an operation: who may call it, and with which words."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation
        self._in_query: AbstractSet[str] = frozenset()
        self._in_body: AbstractSet[str] = frozenset()

    def learn(self, route: APIRoute) -> None:
        """Take the names of the parameters from the route that was made of the operation."""
        body = route.body_field.field_info.annotation if route.body_field else None
        self._in_query = frozenset(_in_query(route.dependant))
        self._in_body = frozenset(getattr(body, "model_fields", {}))

    async def __call__(self, request: Request) -> None:
        operation = self._operation
        call: ToolCall | None = request.scope.get(TOOL_CALL_KEY)
        if call is not None and call.operation != operation.name:
            raise NotFound(f"The arguments of '{call.operation}' do not name one of its objects.")
        if operation.greedy_arguments and request.scope["path"].endswith("\n"):
            # The router forgives a line feed at the end of such a name.
            faults = [FieldFault(operation.greedy_arguments[-1], "a name holds no line feed")]
            raise InvalidInput("The address ends with a line feed.", faults=faults)
        if operation.permission is not Permission.PUBLIC:
            caller: Caller | None = request.scope.get(CALLER_KEY)
            if caller is None:
                raise Unauthenticated
            caller.demand(operation.permission, _space_of(request))
        self._refuse_unknown(request)

    def _refuse_unknown(self, request: Request) -> None:
        """Refuse parameters that the operation does not know: `?dry-run=true` must not run for real."""
        unknown = [name for name in dict.fromkeys(request.query_params) if name not in self._in_query]
        if not unknown:
            return
        known = f"; it knows {', '.join(sorted(self._in_query))}" if self._in_query else ""
        faults = [
            FieldFault(
                name[:_SHOWN],
                "this belongs in the JSON body, not in the address"
                if name in self._in_body
                else f"this operation knows no such parameter{known}",
            )
            for name in unknown[:_FEW]
        ]
        raise UnknownField("; ".join(f"{fault.field}: {fault.message}" for fault in faults) + ".", faults=faults)


def _in_query(dependant: Dependant) -> Iterator[str]:
    yield from (parameter.alias for parameter in dependant.query_params)
    for below in dependant.dependencies:
        yield from _in_query(below)


def _space_of(request: Request) -> str | None:
    """The space that the address names, by itself or in the first part of a backup's or a job's id."""
    named = request.path_params
    space_id: str = named.get("space_id") or named.get("backup_id", "").partition("/")[0]
    return space_id or space_of_job(named.get("job_id", "")) or None


def _problems(operation: Operation) -> dict[int | str, dict[str, Any]]:
    """A documented response per status the operation can answer with."""
    common: list[type[Situation]] = [InternalError]
    by_status: dict[int, list[type[Situation]]] = {}
    for situation in {*operation.errors, *common}:
        by_status.setdefault(situation.status, []).append(situation)
    if operation.permission is not Permission.PUBLIC:
        by_status.setdefault(Unauthenticated.status, []).append(Unauthenticated)
    documented: dict[int | str, dict[str, Any]] = {}
    for status, situations in sorted(by_status.items()):
        ordered = sorted(situations, key=lambda situation: situation.code())
        documented[status] = {
            "model": Problem,
            "description": " ".join(f"`{situation.code()}`: {situation.title()}" for situation in ordered),
            "content": {PROBLEM_TYPE: {}},
        }
    return documented


def _extra(operation: Operation, *, open_world: bool) -> dict[str, Any]:
    extra: dict[str, Any] = {
        "x-permission": operation.permission.value,
        "x-effect": operation.effect.value,
        "x-mcp": {
            "title": operation.title.rstrip("."),
            "annotations": {
                "readOnlyHint": operation.effect is Effect.READS,
                "destructiveHint": operation.effect in {Effect.DELETES, Effect.REWRITES},
                "idempotentHint": operation.idempotent,
                "openWorldHint": open_world,
            },
            "timeout": operation.timeout.total_seconds(),
            "greedy": list(operation.greedy_arguments),
        },
    }
    if operation.permission is Permission.PUBLIC:
        extra["security"] = []
    return extra


def provide(service: type[T]) -> Callable[[Request], Awaitable[T]]:
    """A dependency that answers with the service of that type."""

    async def provided(request: Request) -> T:
        found: T = request.app.state.services.of(service)
        return found

    return provided


async def _current_caller(request: Request) -> Caller:
    caller: Caller | None = request.scope.get(CALLER_KEY)
    if caller is None:
        raise Unauthenticated
    return caller


CurrentCaller = Annotated[Caller, Depends(_current_caller)]
"""The authenticated caller of this request."""


async def _silent(_done: float, _total: float | None, _message: str) -> None:
    """Nobody asked how far the work is."""


async def _progress(request: Request) -> Progress:
    call: ToolCall | None = request.scope.get(TOOL_CALL_KEY)
    return _silent if call is None else call.progress


ReportProgress = Annotated[Progress, Depends(_progress)]
"""Tells an MCP client how far the work is; silent for everybody else."""


def wants(request: Request, media_type: str) -> bool:
    """Does the request ask for that media type by name?"""
    return media_type in request.headers.get("accept", "")


def fresh(request: Request, etag: str) -> bool:
    """Does the caller already hold the version with that ETag?"""
    known = request.headers.get("if-none-match", "")
    return known.strip() == "*" or etag in {part.strip().removeprefix("W/") for part in known.split(",")}


def not_modified(etag: str) -> Response:
    """304: what the caller holds is still true."""
    return Response(status_code=304, headers={"ETag": etag, "Cache-Control": "private, no-cache"})


def archive_name(name: str) -> dict[str, str]:
    """The header that tells a browser under which name to save an archive."""
    return {"Content-Disposition": f'attachment; filename="{name.replace("/", "-")}.tar.gz"'}
