"""A project's shared memory: created, ruled, deleted."""

from typing import Annotated

from fastapi import Depends, Query

from app.core.errors import (
    AdminRequired,
    ConfirmationRequired,
    Forbidden,
    InvalidInput,
    ReadRequired,
    StoreUnavailable,
    UnknownField,
    WriteRequired,
)
from app.core.identity import Permission
from app.core.ids import SpaceID
from app.core.operation import Effect
from app.core.routing import CurrentCaller, Operations, provide
from app.spaces.errors import (
    RulesNotFound,
    RulesVersionNotFound,
    SpaceBusy,
    SpaceContended,
    SpaceExists,
    SpaceNotFound,
)
from app.spaces.models import (
    SpaceCreate,
    SpaceCreated,
    SpaceDeleted,
    SpaceRules,
    SpaceRulesUpdate,
    SpaceRulesUpdated,
    SpaceUpdate,
    SpaceUpdated,
)
from app.spaces.service import SpaceService
from app.storage.document import DamagedDocument

operations = Operations("spaces", "A project's shared memory: its rules, its notes and its bank.")

Spaces = Annotated[SpaceService, Depends(provide(SpaceService))]

EXAMPLE_RULES = (
    "# Memory of the project\n\n## activeContext.md\nWhat is being worked on now.\n\n"
    "## decisions.md\nDecisions and their reasons. Append-only.\n\n"
    "## progress.md\nWhat is done, and what is left.\n"
)


@operations.declare(
    "space_create",
    method="POST",
    path="/spaces",
    status_code=201,
    permission=Permission.WRITE,
    effect=Effect.ADDS,
    example={
        "space_id": "project-alpha",
        "description": "Rewrite of the public API",
        "rules": EXAMPLE_RULES,
        "owner": "team-api",
    },
    errors=(InvalidInput, WriteRequired, SpaceExists, SpaceBusy, StoreUnavailable, DamagedDocument),
)
async def create(request: SpaceCreate, spaces: Spaces, caller: CurrentCaller) -> SpaceCreated:
    """Create a memory space with its rules.

    The rules are free Markdown: they name the files of the bank and say what belongs in each. `warnings` tells what
    could not be understood of them. Instead of writing them, name some that are ready to use: `template:standard` for
    a software project, `template:book`, `template:journal` or `template:support`; with `-fr` at the end, in French.
    A token limited to some spaces gains the one it creates.
    """
    return await spaces.create(request, caller=caller)


@operations.declare(
    "space_rules",
    method="GET",
    path="/spaces/{space_id}/rules",
    permission=Permission.READ,
    effect=Effect.READS,
    example={"space_id": "project-alpha"},
    errors=(
        InvalidInput,
        Forbidden,
        ReadRequired,
        SpaceNotFound,
        RulesNotFound,
        RulesVersionNotFound,
        StoreUnavailable,
        DamagedDocument,
    ),
)
async def rules(
    space_id: SpaceID,
    spaces: Spaces,
    sha256: Annotated[
        str,
        Query(
            pattern="^([0-9a-f]{64})?$",
            max_length=64,
            description="Digest of rules that the space had, as `changes` or a commit names them; empty: the present.",
        ),
    ] = "",
) -> SpaceRules:
    """Read the rules of a space.

    They say how the bank is structured; an agent reads them to know what is worth a note.
    """
    return await spaces.rules(space_id, sha256=sha256)


@operations.declare(
    "space_update",
    method="PATCH",
    path="/spaces/{space_id}",
    permission=Permission.WRITE,
    effect=Effect.REWRITES,
    core=False,
    example={"space_id": "project-alpha", "description": "Rewrite of the public API, second part", "owner": "team-web"},
    errors=(
        InvalidInput,
        UnknownField,
        Forbidden,
        AdminRequired,
        WriteRequired,
        SpaceNotFound,
        SpaceBusy,
        SpaceContended,
        StoreUnavailable,
        DamagedDocument,
    ),
)
async def update(space_id: SpaceID, request: SpaceUpdate, spaces: Spaces, caller: CurrentCaller) -> SpaceUpdated:
    """Change the description of a space, who answers for it, or when it is consolidated without being asked.

    What is left empty stays as it is; `clear` empties it. Only an admin sets `automatic`: it files everybody's
    notes, and a model may cost money.
    """
    return await spaces.update(space_id, request, caller=caller)


@operations.declare(
    "space_update_rules",
    method="PUT",
    path="/spaces/{space_id}/rules",
    permission=Permission.ADMIN,
    effect=Effect.REWRITES,
    core=False,
    example={"space_id": "project-alpha", "rules": EXAMPLE_RULES + "\n## lessons.md\nWhat was learnt on the way.\n"},
    errors=(
        InvalidInput,
        UnknownField,
        Forbidden,
        AdminRequired,
        SpaceNotFound,
        SpaceBusy,
        SpaceContended,
        StoreUnavailable,
        DamagedDocument,
    ),
)
async def update_rules(
    space_id: SpaceID, request: SpaceRulesUpdate, spaces: Spaces, caller: CurrentCaller
) -> SpaceRulesUpdated:
    """Give a space other rules.

    Those before are kept, and `space_rules` tells them by their digest. The bank stays as it is: the next consolidation
    follows the new rules. `warnings` tells what could not be understood of them.
    """
    return await spaces.update_rules(space_id, request, caller=caller)


@operations.declare(
    "space_delete",
    method="DELETE",
    path="/spaces/{space_id}",
    permission=Permission.ADMIN,
    effect=Effect.DELETES,
    example={"space_id": "project-alpha", "confirm": True},
    errors=(
        InvalidInput,
        ConfirmationRequired,
        Forbidden,
        AdminRequired,
        SpaceNotFound,
        SpaceBusy,
        StoreUnavailable,
        DamagedDocument,
    ),
)
async def delete(
    space_id: SpaceID,
    spaces: Spaces,
    *,
    confirm: Annotated[bool, Query(description="Must be true: a deleted space cannot be brought back.")] = False,
) -> SpaceDeleted:
    """Delete a space with its notes, its bank and its history.

    Backups are kept, and can be restored under the same name.
    """
    return await spaces.delete(space_id, confirm=confirm)
