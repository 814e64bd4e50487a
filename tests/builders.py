"""Values with defaults, and keywords to differ."""

from app.bootstrap import Services
from app.core.identity import Caller, Everywhere, Only, Permission
from app.notes.models import Category, NoteCreate, NoteCreated
from app.spaces.models import SpaceCreate, SpaceCreated

RULES = (
    "# Memory\n\n## activeContext.md\nWhat is being worked on.\n\n"
    "## decisions.md\nDecisions and their reasons. Append-only.\n\n## progress.md\nWhat is done and what is left.\n"
)


def a_caller(name: str = "agent-a", *permissions: str, spaces: tuple[str, ...] | None = None) -> Caller:
    """Somebody with `read` and `write` everywhere, unless told otherwise."""
    return Caller(
        name=name,
        permissions=frozenset(map(Permission, permissions or ("read", "write"))),
        reach=Everywhere() if spaces is None else Only(frozenset(spaces)),
        credential=f"sha256:{name}",
    )


ADMIN = a_caller("admin", "read", "write", "admin")


async def a_space(services: Services, space_id: str = "alpha", *, rules: str = RULES) -> SpaceCreated:
    """A space with rules that name three files."""
    request = SpaceCreate(space_id=space_id, description="A project", rules=rules, owner="team")
    return await services.spaces.create(request, caller=ADMIN)


async def a_note(
    services: Services,
    content: str = "We chose PostgreSQL 15.",
    *,
    space_id: str = "alpha",
    category: str = "decision",
    agent: str = "",
    tags: str = "",
    caller: Caller | None = None,
) -> NoteCreated:
    """A decision by agent-a, unless told otherwise."""
    request = NoteCreate(category=Category(category), content=content, agent=agent, tags=tags)
    return await services.notes.write(space_id, request, caller=caller or a_caller())


async def silent(_done: float, _total: float | None, _message: str) -> None:
    """Nobody watches the progress."""
