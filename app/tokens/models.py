"""A token as it is written, stored and shown."""

import hashlib
import re
import unicodedata
import zlib
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from app.core.identity import Caller, Everywhere, Only, Permission
from app.core.ids import SPACE_ID_PATTERN, new_secret
from app.core.schema import Body, Record, Result, Text, parse_instant

ALL_SPACES: Final = "*"
MAX_NAME: Final = 64
MAX_DAYS: Final = 36_500
MAX_SPACES_TEXT: Final = 65_536
HASH_PREFIX: Final = "sha256:"

_PREFIX: Final = "lm_live_"
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_DIGITS: Final = 43
_CHECKSUM_DIGITS: Final = 6
_CHECKED_SHAPE: Final = re.compile(r"lm_live_[0-9A-Za-z]{49}")
_OLD_SHAPE: Final = re.compile(r"lm_[A-Za-z0-9_-]{43}")
_SHOWN_DIGITS: Final = 13
_GRANTED: Final = (Permission.READ, Permission.WRITE, Permission.ADMIN)
_RIGHTS: Final = tuple(permission.value for permission in _GRANTED)
_INVISIBLE: Final = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that turn the direction of writing: a name with one could be shown as another name."""


def new_token() -> str:
    """The text of a new token: a prefix, 256 random bits and a checksum."""
    text = _PREFIX + _base62(new_secret(), _SECRET_DIGITS)
    return text + _checksum(text)


def may_be_token(text: str) -> bool:
    """Has the text the shape of a token? A mistyped one has not, so it costs no look-up."""
    if _CHECKED_SHAPE.fullmatch(text):
        return text[-_CHECKSUM_DIGITS:] == _checksum(text[:-_CHECKSUM_DIGITS])
    return _OLD_SHAPE.fullmatch(text) is not None


def hash_of(text: str) -> str:
    """What is stored of a token instead of its text: `sha256:` and 64 hex digits."""
    return HASH_PREFIX + hashlib.sha256(text.encode()).hexdigest()


def shown_hash(token_hash: str) -> str:
    """The hash cut short for people: 13 hex digits and three dots."""
    return token_hash[: len(HASH_PREFIX) + _SHOWN_DIGITS] + "..."


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), _CHECKSUM_DIGITS)


def _base62(number: int, digits: int) -> str:
    text = ""
    for _ in range(digits):
        number, digit = divmod(number, len(_ALPHABET))
        text = _ALPHABET[digit] + text
    return text


def _instant(text: str) -> str:
    parse_instant(text)
    return text


def _hash(text: str) -> str:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", text):
        raise ValueError("not the hash of a token")
    return text


Instant = Annotated[str, AfterValidator(_instant)]
Right = Literal[Permission.READ, Permission.WRITE, Permission.ADMIN]


class Token(Record):
    """Everything that is kept about a token: `_system/tokens/{hex}.json`."""

    hash: Annotated[str, AfterValidator(_hash)]
    name: str
    permissions: list[Right]
    spaces: Literal["*"] | Annotated[list[str], Field(min_length=1)]
    created_at: Instant
    expires_at: Instant | None = None
    revoked: bool = False
    created_by: str = ""
    nonce: str = ""

    @property
    def space_ids(self) -> list[str]:
        """The spaces as the wire says them: an empty list is all of them."""
        return [] if isinstance(self.spaces, str) else self.spaces

    def caller(self) -> Caller:
        """Who presents this token."""
        reach = Everywhere() if isinstance(self.spaces, str) else Only(frozenset(self.spaces))
        return Caller(name=self.name, permissions=frozenset(self.permissions), reach=reach, credential=self.hash)


class Usage(Record):
    """When tokens were last used, as one replica has seen it: `_system/usage/{replica}.json`."""

    last_used_at: dict[str, Instant] = Field(default={})
    """Full hash, then ISO-8601."""


def listed(text: str) -> list[str]:
    """The parts of a comma list, in order, each once."""
    return list(dict.fromkeys(part for part in (part.strip() for part in text.split(",")) if part))


def rights_of(text: str) -> list[Right]:
    """The permissions that a checked comma list names."""
    named = listed(text)
    return [right for part in named for right in _GRANTED if right == part]


def spaces_of(text: str) -> Literal["*"] | list[str]:
    """The spaces that a checked comma list names; none means all."""
    return "*" if text in {"", ALL_SPACES} else listed(text)


def _check_name(name: str) -> str:
    if not name.strip():
        raise ValueError("the name is blank")
    if any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} or character in _INVISIBLE for character in name):
        raise ValueError("the name holds a control character")
    return name


def _check_rights(text: str) -> str:
    parts = listed(text)
    if not parts:
        raise ValueError(f"name at least one of {', '.join(_RIGHTS)}")
    if unknown := [part for part in parts if part not in _RIGHTS]:
        raise ValueError(f"unknown permission '{unknown[0][:64]}': choose from {', '.join(_RIGHTS)}")
    return text


def _check_spaces(text: str) -> str:
    if text in {"", ALL_SPACES}:
        return text
    parts = listed(text)
    if not parts:
        raise ValueError("the list names no space: leave it empty, or name the spaces")
    if wrong := [part for part in parts if not re.match(SPACE_ID_PATTERN, part)]:
        raise ValueError(f"'{wrong[0][:64]}' cannot be the name of a space")
    return text


def _check_new_rights(text: str) -> str:
    return text and _check_rights(text)


def _whole_number(value: object) -> object:
    # Pydantic takes `true` for 1, and a token that ends tomorrow for one that was meant never to end.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a whole number is wanted")  # noqa: TRY004 - pydantic makes answers of ValueErrors only
    return value


class TokenCreate(Body):
    """A token to be made."""

    name: Annotated[
        Text,
        Field(
            min_length=1,
            max_length=MAX_NAME,
            description="Name of the agent or person: it signs what they write. Several tokens may share one.",
            examples=["agent-one"],
        ),
        AfterValidator(_check_name),
    ]
    permissions: Annotated[
        Text,
        Field(
            max_length=256,
            description="What the token may do: a comma list of `read`, `write`, `admin`; `admin` includes the others.",
            examples=["read,write"],
        ),
        AfterValidator(_check_rights),
    ]
    space_ids: Annotated[
        Text,
        Field(
            max_length=MAX_SPACES_TEXT,
            description="Spaces the token may open, as a comma list; empty, or `*`: all, present and future.",
            examples=["project-alpha"],
        ),
        AfterValidator(_check_spaces),
    ] = ""
    expires_in_days: Annotated[
        int,
        Field(ge=0, le=MAX_DAYS, description="Days until the token ends by itself; 0: never.", examples=[90]),
        BeforeValidator(_whole_number),
    ] = 0


class TokenUpdate(Body):
    """What is to be different about a token."""

    space_ids: Annotated[
        Text,
        Field(
            max_length=MAX_SPACES_TEXT,
            description="Spaces the token may open instead, as a comma list; `*`: all; empty: no change.",
            examples=["project-alpha"],
        ),
        AfterValidator(_check_spaces),
    ] = ""
    permissions: Annotated[
        Text,
        Field(
            max_length=256,
            description="What the token may do instead: a comma list of `read`, `write`, `admin`; empty: no change.",
            examples=["read,write"],
        ),
        AfterValidator(_check_new_rights),
    ] = ""


class TokenCreated(Result):
    """A new token: the only answer that ever holds its text."""

    status: str = Field(default="created", examples=["created"])
    """`created`."""
    name: str
    """As given."""
    token: str
    """The token itself. It is not stored, and cannot be shown again."""
    hash: str
    """Names the token in the other operations."""
    permissions: list[str]
    """What the token may do."""
    space_ids: list[str]
    """Spaces it may open; empty: all."""
    created_at: str
    """When, in UTC."""
    expires_at: str | None
    """When it ends by itself, in UTC; null: never."""
    warning: str
    """What to do with the token now."""
    warnings: list[str] = []
    """What may not be as intended: spaces of the token that are not there."""


class TokenListed(Result):
    """A token without its text."""

    hash: str
    """The hash cut short; names the token in the other operations."""
    token_hash: str
    """The whole hash; names it as well."""
    name: str
    """Who uses it."""
    permissions: list[str]
    """What the token may do."""
    space_ids: list[str]
    """Spaces it may open; empty: all."""
    created_at: str
    """When it was made, in UTC."""
    created_by: str
    """Name of the token that made it."""
    expires_at: str | None
    """When it ends by itself, in UTC; null: never."""
    last_used_at: str | None
    """When it was last presented, in UTC, up to a minute late; null: not that we know."""
    revoked: bool
    """It is refused for ever."""


class TokenList(Result):
    """Tokens in the order of their creation, revoked and expired ones included."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    tokens: list[TokenListed]
    """At most `limit` of them."""
    total: int
    """How many there are."""
    has_more: bool
    """Are there more than are returned here?"""
    next_cursor: str
    """Give it as `cursor` for those that follow; empty at the end."""


class Purge(Body):
    """Which tokens to remove."""

    dry_run: Annotated[bool, Field(description="Only tell which tokens would be removed.", examples=[True])] = True
    revoked_only: Annotated[bool, Field(description="Leave those that have merely expired.", examples=[False])] = False


class TokenDeleted(Result):
    """A token that is gone."""

    status: str = Field(default="deleted", examples=["deleted"])
    """`deleted`."""
    name: str
    """Who used it."""
    token_hash: str
    """Its whole hash."""
    message: str
    """What was done to which token."""
    remaining: int
    """Tokens that there still are."""


class TokenPurged(Result):
    """A token that is of no use any more."""

    token_hash: str
    """Its whole hash."""
    name: str
    """Who used it."""
    revoked: bool
    """It was revoked."""
    expires_at: str | None
    """When it ended by itself, in UTC; null: never."""


class TokensPurged(Result):
    """Tokens that are gone, or would be."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    mode: str = Field(examples=["dry-run"])
    """`dry-run` or `applied`."""
    deleted: int
    """How many were removed; in a dry run, none."""
    remaining: int
    """Tokens that there still are."""
    tokens: list[TokenPurged]
    """Those that were removed, or would be."""
    message: str
    """What was done."""


class TokenChanged(Result):
    """A token that is different from now on."""

    status: str = Field(default="ok", examples=["ok"])
    """`ok`."""
    message: str
    """What was done to which token."""
    token_hash: str
    """Its whole hash."""
