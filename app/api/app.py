"""The HTTP application: every operation of the catalogue behind one edge."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol, TypeVar

from fastapi import FastAPI
from starlette.middleware import Middleware

from app.api.authentication import Authentication
from app.api.body import BODY_SECONDS, MAX_BODY, BodyGuard, JSONGuard
from app.api.docs import add_docs
from app.api.middleware import ErrorBoundary, HostGuard, RequestContext, SecurityHeaders
from app.api.openapi import refined
from app.api.probes import add_probes
from app.api.problems import install
from app.api.table import RouteTable
from app.core.identity import Authenticator
from app.core.operation import Operation
from app.core.routing import Operations

T = TypeVar("T")
Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]

_DESCRIPTION: Final = (
    "Shared working memory for AI agents. Agents write live notes into a space; consolidation turns them into a bank "
    "of Markdown files that every agent reads. Each operation is also an MCP tool of the same name at `/mcp`.\n\n"
    "Every error is an `application/problem+json` object whose `code` is stable."
)


class Services(Protocol):
    """What the operations ask for, by type, and what the probes ask."""

    def of(self, kind: type[T], /) -> T:
        """The service of that type."""
        ...

    async def ready(self) -> Mapping[str, str]:
        """Each thing that was checked, with `ok` or the reason why not."""
        ...


class LiveMemory(FastAPI):
    """The application, which knows its operations."""

    def __init__(self, *, operations: Sequence[Operation], **settings: Any) -> None:  # noqa: ANN401 - FastAPI's own keywords, passed on
        super().__init__(**settings)
        self.operations = operations
        self._document: dict[str, Any] | None = None

    def openapi(self) -> dict[str, Any]:
        """The OpenAPI document, made once: what is served is fixed by the catalogue."""
        if self._document is None:
            self._document = refined(copy.deepcopy(super().openapi()), self.operations)
        return self._document


def create_app(
    services: Services,
    catalogue: Iterable[Operations],
    authenticator: Authenticator,
    *,
    name: str = "Live Memory",
    version: str = "0",
    hosts: Sequence[str] = ("*",),
    origins: Sequence[str] = (),
    max_body: int = MAX_BODY,
    body_seconds: float = BODY_SECONDS,
    lifespan: Lifespan | None = None,
) -> LiveMemory:
    """The application over these services. Nothing is opened until its lifespan begins."""
    nouns = list(catalogue)
    operations = [operation for noun in nouns for operation in noun.declared]
    app = LiveMemory(
        operations=operations,
        title=name,
        version=version,
        summary="Shared working memory for AI agents, over REST and MCP.",
        description=_DESCRIPTION,
        contact={"name": "Live Memory"},
        license_info={"name": "Apache License 2.0", "identifier": "Apache-2.0"},
        servers=[{"url": "/"}],
        openapi_tags=[{"name": noun.tag, "description": noun.description} for noun in nouns],
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    app.state.services = services
    table = RouteTable(operations, app.router.routes)
    # From the outside in; the last one stands right before the router.
    app.user_middleware = [
        Middleware(RequestContext, table=table),
        Middleware(SecurityHeaders),
        Middleware(ErrorBoundary, table=table),
        Middleware(HostGuard, hosts=hosts, origins=origins),
        Middleware(Authentication, authenticator=authenticator, table=table),
        Middleware(BodyGuard, limit=max_body, seconds=body_seconds),
        Middleware(JSONGuard),
    ]
    install(app, table)
    for noun in nouns:
        app.include_router(noun.router)
    add_probes(app, services, version=version)
    add_docs(app)
    return app
