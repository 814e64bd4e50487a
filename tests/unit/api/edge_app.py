"""A small service of its own, so that the edge is tested without a noun."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

import httpx
from fastapi import Query
from pydantic import Field

from app.api.app import LiveMemory, create_app
from app.core.errors import Conflict, InvalidInput, NotFound, StoreUnavailable
from app.core.identity import Caller, Everywhere, Only, Permission
from app.core.ids import SpaceID
from app.core.operation import Effect
from app.core.routing import CurrentCaller, Operations
from app.core.schema import Body, Result, Text

T = TypeVar("T")

READER = Caller("reader", frozenset({Permission.READ}), Only(frozenset({"alpha"})), "reader")
WRITER = Caller("writer", frozenset({Permission.READ, Permission.WRITE}), Everywhere(), "writer")
TOKENS = {"reader-token": READER, "writer-token": WRITER}
AS_READER = {"Authorization": "Bearer reader-token"}
AS_WRITER = {"Authorization": "Bearer writer-token"}


class ThingLost(NotFound):
    """There is no such thing."""


class ThingBusy(Conflict):
    """Somebody holds the thing."""


class Handle(Body):
    """Where a thing is held."""

    length: int
    """In centimetres."""


class ThingCreate(Body):
    """A thing to be made."""

    name: Annotated[Text, Field(min_length=1, max_length=20, description="What it is called.")]
    size: Annotated[int, Field(ge=0, le=10, description="How large it is.")] = 1
    handles: list[Handle] = []
    """Where it is held."""
    extra: Any = None
    """Whatever else."""


class Thing(Result):
    """A thing."""

    status: str = "ok"
    """`ok`."""
    name: str
    """What it is called."""
    by: str = ""
    """Who made it."""


def make_operations() -> Operations:
    """A fresh noun: an application keeps what it is given."""
    operations = Operations("things", "Things to try the edge with.")

    @operations.declare(
        "thing_health",
        method="GET",
        path="/things/health",
        permission=Permission.PUBLIC,
        effect=Effect.READS,
        example={},
    )
    async def health() -> Thing:
        """Say that things are well."""
        return Thing(name="health")

    @operations.declare(
        "thing_create",
        method="POST",
        path="/spaces/{space_id}/things",
        status_code=201,
        permission=Permission.WRITE,
        effect=Effect.ADDS,
        example={"space_id": "alpha", "name": "cup", "size": 2},
        errors=(InvalidInput, ThingBusy),
    )
    async def create(space_id: SpaceID, request: ThingCreate, caller: CurrentCaller) -> Thing:  # noqa: ARG001 - the guard reads it
        """Make a thing.

        It is kept nowhere.
        """
        if request.name == "busy":
            raise ThingBusy("The thing 'busy' is held.")
        return Thing(name=request.name, by=caller.name)

    @operations.declare(
        "thing_list",
        method="GET",
        path="/spaces/{space_id}/things",
        permission=Permission.READ,
        effect=Effect.READS,
        example={"space_id": "alpha", "limit": 3},
        core=False,
    )
    async def things(space_id: SpaceID, limit: Annotated[int, Query(ge=0, le=5, description="How many.")] = 5) -> Thing:
        """List things."""
        return Thing(name=f"{space_id} {limit}")

    @operations.declare(
        "thing_read",
        method="GET",
        path="/spaces/{space_id}/files/{filename:path}",
        permission=Permission.READ,
        effect=Effect.READS,
        example={"space_id": "alpha", "filename": "a/b.md"},
        errors=(ThingLost, StoreUnavailable),
    )
    async def read(space_id: SpaceID, filename: str) -> Thing:  # noqa: ARG001 - the guard reads it
        """Read a thing."""
        match filename:
            case "lost":
                raise ThingLost("No thing 'lost'.")
            case "away":
                raise StoreUnavailable
            case "bug":
                raise RuntimeError("the secret is lm_live_abcdefghijklmnopqrstuvwxyz")
        return Thing(name=filename)

    return operations


class StandInServices:
    """Services that have nothing to give, and say what they are told about the store."""

    def __init__(self, checks: Mapping[str, str] | None = None) -> None:
        self.checks = dict(checks or {"store": "ok"})
        self.outage: StoreUnavailable | None = None

    def of(self, kind: type[T], /) -> T:
        raise LookupError(kind)

    async def ready(self) -> Mapping[str, str]:
        if self.outage:
            raise self.outage
        return self.checks


class KnownTokens:
    """An authenticator that knows two tokens, and can be out of reach."""

    def __init__(self) -> None:
        self.outage = False
        self.asked: list[str] = []

    async def authenticate(self, token: str) -> Caller | None:
        self.asked.append(token)
        if self.outage:
            raise StoreUnavailable
        return TOKENS.get(token)


def make_app(**settings: Any) -> LiveMemory:
    services = settings.pop("services", None) or StandInServices()
    authenticator = settings.pop("authenticator", None) or KnownTokens()
    return create_app(services, [make_operations()], authenticator, version="1.2.3", **settings)


@asynccontextmanager
async def asking(app: LiveMemory, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
        yield client


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The one shape of every error."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["status"] == status
    assert problem["code"] == code
    assert problem["type"] == f"urn:live-memory:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem
