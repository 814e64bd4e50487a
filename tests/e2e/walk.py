"""One walk through all the operations, in an order in which each finds what it needs."""

from typing import Any, NamedTuple

from app.catalogue import CATALOGUE

RULES = (
    "# Rules\n\n## activeContext.md\nCurrent work.\n\n## decisions.md\nDecisions and reasons.\n\n"
    "## progress.md\nWhat is done.\n"
)
NAMES = frozenset(one.name for noun in CATALOGUE for one in noun.declared if one.core)


class Step(NamedTuple):
    """One operation on both faces; `{backup}` and `{token}` stand for what an earlier step answered."""

    operation: str
    method: str
    path: str
    body: dict[str, Any] | None
    arguments: dict[str, Any]
    status: int
    word: str
    """`status` of the answer."""


def _step(
    operation: str,
    method: str,
    path: str,
    *,
    body: dict[str, Any] | None = None,
    named: dict[str, Any] | None = None,
    status: int = 200,
    word: str = "ok",
) -> Step:
    return Step(operation, method, path, body, {**(named or {}), **(body or {})}, status, word)


ALPHA = {"space_id": "alpha"}
NOTE = {"category": "decision", "content": "We chose PostgreSQL 15 (#42).", "tags": "db,api"}
BACKUP = {"backup_id": "{backup}"}
TOKEN = {"token_hash": "{token}"}

STEPS = [
    _step("system_health", "GET", "/system/health"),
    _step("system_about", "GET", "/system/about"),
    _step(
        "space_create", "POST", "/spaces", body={**ALPHA, "description": "A walk", "rules": RULES},
        status=201, word="created",
    ),
    _step("space_list", "GET", "/spaces"),
    _step("space_rules", "GET", "/spaces/alpha/rules", named=ALPHA),
    _step("live_note", "POST", "/spaces/alpha/notes", body=NOTE, named=ALPHA, status=201, word="created"),
    _step("live_read", "GET", "/spaces/alpha/notes?limit=5", named={**ALPHA, "limit": 5}),
    _step("live_search", "GET", "/spaces/alpha/notes/search?query=postgresql", named={**ALPHA, "query": "postgresql"}),
    _step("admin_gc_notes", "POST", "/admin/gc", body={**ALPHA, "max_age_days": 7}),
    _step("bank_consolidate", "POST", "/spaces/alpha/bank/consolidate", body={"agent": ""}, named=ALPHA),
    _step("bank_list", "GET", "/spaces/alpha/bank/files", named=ALPHA),
    _step(
        "bank_read", "GET", "/spaces/alpha/bank/files/decisions.md", named={**ALPHA, "filename": "decisions.md"}
    ),
    _step("bank_read_all", "GET", "/spaces/alpha/bank", named=ALPHA),
    _step("space_info", "GET", "/spaces/alpha", named=ALPHA),
    _step("space_summary", "GET", "/spaces/alpha/summary", named=ALPHA),
    _step("space_export", "GET", "/spaces/alpha/export", named=ALPHA),
    _step(
        "backup_create", "POST", "/spaces/alpha/backups", body={"description": "On the way"}, named=ALPHA,
        status=201, word="created",
    ),
    _step("backup_list", "GET", "/backups?space_id=alpha", named=ALPHA),
    _step("backup_download", "GET", "/backups/{backup}/download", named=BACKUP),
    _step(
        "space_delete", "DELETE", "/spaces/alpha?confirm=true", named={**ALPHA, "confirm": True}, word="deleted"
    ),
    _step("backup_restore", "POST", "/backups/{backup}/restore?confirm=true", named={**BACKUP, "confirm": True}),
    _step(
        "backup_delete", "DELETE", "/backups/{backup}?confirm=true", named={**BACKUP, "confirm": True}, word="deleted"
    ),
    _step(
        "admin_create_token", "POST", "/admin/tokens",
        body={"name": "walker", "permissions": "read", "space_ids": "alpha", "expires_in_days": 1},
        status=201, word="created",
    ),
    _step("admin_list_tokens", "GET", "/admin/tokens"),
    _step("admin_update_token", "PATCH", "/admin/tokens/{token}", body={"permissions": "read,write"}, named=TOKEN),
    _step("admin_revoke_token", "POST", "/admin/tokens/{token}/revoke", named=TOKEN),
]  # fmt: skip


class Found:
    """What the steps so far have answered that later ones need."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def remember(self, step: Step, said: dict[str, Any]) -> None:
        if step.operation == "backup_create":
            self._names["backup"] = said["backup_id"]
        if step.operation == "admin_create_token":
            self._names["token"] = said["hash"]

    def path(self, step: Step) -> str:
        return step.path.format(**self._names)

    def arguments(self, step: Step) -> dict[str, Any]:
        return {
            name: value.format(**self._names)
            if isinstance(value, str) and name in {"backup_id", "token_hash"}
            else value
            for name, value in step.arguments.items()
        }
