"""The names several nouns share, and the only randomness."""

import platform
import re
import secrets
from typing import Annotated, Final

from pydantic import Field, StringConstraints

SPACE_ID_PATTERN: Final = r"^[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}$"
"""1 to 64 letters, digits, `-` and `_`, starting with a letter or digit."""

SpaceID = Annotated[
    str,
    StringConstraints(pattern=SPACE_ID_PATTERN, max_length=64),
    Field(description="Identifier of the memory space.", examples=["project-alpha"]),
]
"""Identifier of a memory space. Pydantic's `$` matches at the very end only, so a trailing newline is refused."""


JobID = Annotated[
    str,
    StringConstraints(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}\.[0-9a-f]{16}$", max_length=81),
    Field(
        description="Identifier of the job, as the operation that started it gave it.",
        examples=["project-alpha.0123456789abcdef"],
    ),
]
"""Identifier of a job: its space, a dot and 16 hex digits."""


OptionalSpaceID = Annotated[
    str,
    StringConstraints(pattern=r"^([a-zA-Z0-9][a-zA-Z0-9_-]{0,63})?$", max_length=64),
    Field(description="The memory space; empty: every space that the token reaches.", examples=["project-alpha"]),
]


def new_commit_id() -> str:
    """16 random hex digits that name one commit."""
    return secrets.token_hex(8)


def new_incarnation() -> str:
    """16 random hex digits that tell a space from an earlier one of the same name."""
    return secrets.token_hex(8)


def new_nonce() -> str:
    """16 random hex digits that make a stored document unlike any other, so that no ETag ever comes back."""
    return secrets.token_hex(8)


def new_note_suffix() -> str:
    """8 random hex digits that tell two notes of one second apart."""
    return secrets.token_hex(4)


def new_request_id() -> str:
    """32 random hex digits that name one request in answers and logs."""
    return secrets.token_hex(16)


def new_job_id(space_id: str | None = None) -> str:
    """16 random hex digits that name one job; with its space before them, so that the job is found by its id alone."""
    digits = secrets.token_hex(8)
    return digits if space_id is None else f"{space_id}.{digits}"


def space_of_job(job_id: str) -> str:
    """The space that a job works for: no space id holds a dot."""
    return job_id.partition(".")[0]


def new_secret() -> int:
    """256 random bits."""
    return secrets.randbits(256)


def replica_name() -> str:
    """Names this machine among those that share a store; the same after a restart."""
    return re.sub(r"[^A-Za-z0-9-]", "-", platform.node())[:63] or "replica"
