"""What can be wrong about a space."""

from app.core.errors import Conflict, NotFound


class SpaceNotFound(NotFound):
    """There is no memory space of that name."""

    def __init__(self, space_id: str) -> None:
        super().__init__(f"No space '{space_id}': it was never created, or has been deleted.")


class RulesNotFound(NotFound):
    """The rules of the space have been removed by hand."""

    def __init__(self, space_id: str) -> None:
        super().__init__(f"Space '{space_id}' is there, but its rules are not: an operator has to put them back.")


class SpaceExists(Conflict):
    """There is already a memory space of that name."""

    word = "already_exists"

    def __init__(self, space_id: str) -> None:
        super().__init__(f"Space '{space_id}' exists already: choose another name, or use it as it is.")


class SpaceChanging(Conflict):
    """The space was changed by others again and again while it was being read: try again."""

    def __init__(self, space_id: str) -> None:
        super().__init__(f"Space '{space_id}' changed while it was being read: try again.")


class RulesVersionNotFound(NotFound):
    """The space never had rules with that digest, or they are no longer kept."""

    def __init__(self, space_id: str, digest: str) -> None:
        super().__init__(f"Space '{space_id}' has no rules '{digest}': space_rules lists those it had.")


class SpaceContended(Conflict):
    """Others kept changing the space at the same moment: try again."""

    def __init__(self, space_id: str) -> None:
        super().__init__(f"Space '{space_id}' was changed by others again and again meanwhile: try again.")


class SpaceBusy(Conflict):
    """The space is being restored, or what was left of a deleted one is still being removed."""

    def __init__(self, space_id: str) -> None:
        super().__init__(f"Space '{space_id}' is being restored or removed at this moment: try again in half a minute.")
