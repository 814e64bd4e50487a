"""What can be wrong about a token."""

from app.core.errors import Conflict, Invalid, NotFound


class InvalidTokenHash(Invalid):
    """The text does not name a token: at least the first 16 characters of its hash are needed."""

    def __init__(self) -> None:
        super().__init__(
            "token_hash must be a hash as admin_list_tokens shows it, 'sha256:' included, "
            "or at least its first 16 characters."
        )


class AmbiguousTokenHash(Invalid):
    """Several tokens have a hash that starts like this: give more of it."""

    def __init__(self, selector: str) -> None:
        super().__init__(f"Several tokens start with '{selector}': give the whole 'token_hash' of admin_list_tokens.")


class TokenNotFound(NotFound):
    """There is no token with that hash."""

    def __init__(self, selector: str) -> None:
        super().__init__(f"No token '{selector}': admin_list_tokens shows those there are.")


class TokenBusy(Conflict):
    """Others keep changing this token at the same moment; try again."""
