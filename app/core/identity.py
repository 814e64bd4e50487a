"""Who calls, and what they may do."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from app.core.errors import AdminRequired, Forbidden, ReadRequired, Situation, WriteRequired


class Permission(StrEnum):
    """What an operation asks of its caller."""

    PUBLIC = "public"
    ANY = "any"
    """A valid token, whatever it may do."""
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Everywhere:
    """Every space, present and future."""


@dataclass(frozen=True, slots=True)
class Only:
    """The named spaces and no other."""

    spaces: frozenset[str]


Reach = Everywhere | Only

_REFUSALS: dict[Permission, type[Situation]] = {
    Permission.READ: ReadRequired,
    Permission.WRITE: WriteRequired,
    Permission.ADMIN: AdminRequired,
}


@dataclass(frozen=True, slots=True)
class Caller:
    """The authenticated identity of one request."""

    name: str
    permissions: frozenset[Permission]
    reach: Reach
    credential: str
    """`bootstrap`, or the full hash of the token."""

    @property
    def is_admin(self) -> bool:
        return Permission.ADMIN in self.permissions

    def sees(self, space_id: str) -> bool:
        """Is the space in the caller's own list? This is what listings show, also to an admin."""
        match self.reach:
            case Everywhere():
                return True
            case Only(spaces=spaces):
                return space_id in spaces

    def may(self, permission: Permission) -> bool:
        """Does the caller hold the permission? An admin holds `write` and `read` too."""
        needs_no_right = permission in {Permission.PUBLIC, Permission.ANY}
        return needs_no_right or permission in self.permissions or self.is_admin

    def demand(self, permission: Permission, space_id: str | None = None) -> None:
        """Raise unless the caller may do this here: first the space, then the permission.

        The space is tested first, so a refused caller never learns whether a foreign space exists.
        An admin may open any space: it could give itself the right at any time.
        """
        if space_id is not None and not self.is_admin and not self.sees(space_id):
            raise Forbidden(f"Access refused: this token does not give access to space '{space_id}'.")
        if not self.may(permission):
            raise _REFUSALS[permission](
                f"The '{permission}' permission is required; this token has: {_listed(self.permissions)}."
            )


def _listed(permissions: Iterable[Permission]) -> str:
    return ", ".join(sorted(permissions)) or "none"


class Authenticator(Protocol):
    """Tells who presents a bearer token."""

    async def authenticate(self, token: str) -> Caller | None:
        """The caller, or None when the token is unknown, revoked or expired.

        Raises:
            Unavailable: the registry cannot be read, so nothing can be said about the token.
        """
        ...
