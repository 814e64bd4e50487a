"""The registry of 0.2 and 1.3: every token in one object, `_system/tokens.json`."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import structlog
from pydantic import ValidationError

from app.core.identity import Permission
from app.core.schema import parse_instant
from app.storage.document import DamagedDocument
from app.storage.store import ObjectStore, PreconditionFailed, Stored
from app.tokens.models import ALL_SPACES, Token
from app.tokens.store import TokenStore

REGISTRY: Final = "_system/tokens.json"
_USES: Final = "_adopted"
"""In place of a replica's name, which never begins like this."""
_LONG_AGO: Final = "1970-01-01T00:00:00+00:00"
_RIGHTS: Final = frozenset({Permission.READ.value, Permission.WRITE.value, Permission.ADMIN.value})

log = structlog.get_logger(__name__)


async def split_registry(store: ObjectStore) -> None:
    """Give each token of the old registry an object of its own. Those that have one keep it; the registry stays.

    Doing it again, or from two processes at once, changes nothing more.

    Raises:
        DamagedDocument: the registry cannot be understood, so nobody can say whom it let in.
    """
    found = await store.get(REGISTRY)
    if not isinstance(found, Stored):
        return
    tokens = TokenStore(store)
    uses = {}
    for number, entry in enumerate(_entries(found.body)):
        try:
            token = _token(entry)
        except ValidationError as error:
            # No hash, no way to present it: such an entry let nobody in.
            log.warning("token_entry_unreadable", number=number, fields=[str(e["loc"]) for e in error.errors()])
            continue
        try:
            await tokens.add(token)
        except PreconditionFailed:
            log.info("token_is_there", name=token.name)
        if used := _instant(entry.get("last_used_at")):
            uses[token.hash] = parse_instant(used)
    if uses:
        await tokens.add_uses(_USES, uses)


def _entries(body: bytes) -> list[Mapping[str, Any]]:
    try:
        registry = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DamagedDocument(f"'{REGISTRY}' is not JSON.") from error
    entries = registry.get("tokens") if isinstance(registry, dict) else None
    if not isinstance(entries, list):
        raise DamagedDocument(f"'{REGISTRY}' holds no list of tokens.")
    return [entry if isinstance(entry, dict) else {} for entry in entries]


def _token(entry: Mapping[str, Any]) -> Token:
    """The entry as a token. Whatever of it cannot be understood gives no right.

    Raises:
        ValidationError: not even the hash is one.
    """
    ends = entry.get("expires_at")
    return Token.model_validate(
        {
            "hash": entry.get("hash"),
            "name": _text(entry.get("name")),
            "permissions": [right for right in _texts(entry.get("permissions")) if right in _RIGHTS],
            "spaces": _spaces(entry.get("space_ids")),
            "created_at": _instant(entry.get("created_at")) or _LONG_AGO,
            "expires_at": None if ends is None else _instant(ends) or _LONG_AGO,
            "revoked": entry.get("revoked", False) is not False,
            **({"email": _text(entry["email"])} if "email" in entry else {}),
        }
    )


def _spaces(value: object) -> str | list[str]:
    """An empty list meant every space; what is no list of names reaches none."""
    return ALL_SPACES if value == [] else _texts(value) or [""]


def _texts(value: object) -> list[str]:
    texts = [_text(item) for item in value if isinstance(item, str)] if isinstance(value, list) else []
    return list(dict.fromkeys(texts))


def _text(value: object) -> str:
    # JSON can spell halves of characters, which cannot be stored as UTF-8.
    return re.sub("[\ud800-\udfff]", "\ufffd", value) if isinstance(value, str) else ""


def _instant(value: object) -> str:
    """The instant as it was written, if it is one."""
    try:
        parse_instant(_text(value))
    except ValueError:
        return ""
    return _text(value)
