"""The service itself: how it is, what it is."""

from typing import Annotated, Literal

from fastapi import Depends, Query, Request

from app.core.errors import AdminRequired, StoreUnavailable, Unauthenticated
from app.core.identity import Caller, Permission
from app.core.operation import Effect, ToolCall
from app.core.routing import CALLER_KEY, TOOL_CALL_KEY, CurrentCaller, Operations, provide
from app.system.models import About, Health, WhoAmI
from app.system.service import SystemService, who_is
from app.tokens.service import TokenService

operations = Operations("system", "The service itself: how it is, and what it can do.")

System = Annotated[SystemService, Depends(provide(SystemService))]
Tokens = Annotated[TokenService, Depends(provide(TokenService))]


@operations.declare(
    "system_health",
    method="GET",
    path="/system/health",
    permission=Permission.PUBLIC,
    effect=Effect.READS,
    example={},
    errors=(Unauthenticated, AdminRequired),
)
async def health(
    request: Request,
    system: System,
    *,
    deep: Annotated[
        bool,
        Query(description="Ask the language model a question to see that it answers, which is paid for: admins only."),
    ] = False,
) -> Health:
    """Tell whether the service can do its work.

    It answers 200 whatever it finds: `status` is `degraded` when the object store does not answer, or a configured
    language model cannot be used. A missing one is only noted, since notes are filed without it as well. Nobody needs a
    token to ask.
    """
    if deep:
        caller: Caller | None = request.scope.get(CALLER_KEY)
        if caller is None:
            raise Unauthenticated("Asking the model is paid for: send the token of an administrator.")
        caller.demand(Permission.ADMIN)
    call: ToolCall | None = request.scope.get(TOOL_CALL_KEY)
    # Clients of the streamable transport look for `healthy`, those of the others for `ok`.
    healthy: Literal["ok", "healthy"] = "healthy" if call is not None and call.transport == "mcp" else "ok"
    return await system.health(healthy=healthy, deep=deep)


@operations.declare(
    "system_about",
    method="GET",
    path="/system/about",
    permission=Permission.PUBLIC,
    effect=Effect.READS,
    example={},
)
async def about(system: System) -> About:
    """Tell what this service is: its version, the operations and the ready-made rules it offers."""
    return await system.about()


@operations.declare(
    "system_whoami",
    method="GET",
    path="/system/whoami",
    permission=Permission.ANY,
    effect=Effect.READS,
    core=False,
    example={},
    errors=(StoreUnavailable,),
)
async def whoami(caller: CurrentCaller, tokens: Tokens) -> WhoAmI:
    """Tell who calls and what they may do.

    Any valid token may ask, whatever its permissions: the answer says why something else was refused.
    """
    return who_is(caller, await tokens.known(caller))
