"""How the answer of each operation is shown to a person; an operation without a view of its own is shown as it is."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from rich.text import Text

from app.cli import revision_views as revisions
from app.cli.render import Screen, cell, counted, excerpt, generic, instant, panel, size, table

Body = Mapping[str, Any]
View = Callable[[Screen, Body], None]

COLOURS: Final = {
    "observation": "green",
    "decision": "yellow",
    "todo": "red",
    "insight": "magenta",
    "question": "cyan",
    "progress": "blue",
    "issue": "red",
}
_EXCERPT: Final = 60
_GOOD: Final = frozenset({"ok", "healthy"})


def show(screen: Screen, operation: str, body: Body) -> None:
    """Show the answer of the operation."""
    try:
        VIEWS.get(operation, generic)(screen, body)
    except (KeyError, TypeError, AttributeError):
        generic(screen, body)  # a service of another release says it in other words
    if cursor := body.get("next_cursor"):
        screen.note(f"There are more: repeat the command with `--cursor {cursor}`.")


def failure(body: Body) -> str:
    """What went wrong although the service answered; empty when nothing did.

    A run that ends at its limit of notes did what it was asked: it is told, and is no failure.
    """
    match body.get("status"):
        case "degraded":
            return "The service is degraded."
        case "partial" if body.get("code") == "limit":
            return ""
        case "partial" | "error":
            if body.get("conflicts"):
                return f"{counted(len(body['conflicts']), 'place')} could not be undone, and stayed as it is."
            return str(body.get("message") or "Not everything could be done.")
        case _:
            return ""


def _health(screen: Screen, body: Body) -> None:
    word = str(body["status"])
    rows = [
        (
            service,
            _status(found.get("status", "")),
            " · ".join(
                part
                for part in (
                    found.get("kind") or found.get("model") or "",
                    f"{found['latency_ms']:g} ms" if "latency_ms" in found else "",
                    found.get("message") or "",
                )
                if part
            ),
        )
        for service, found in body["services"].items()
    ]
    heading = f"{body['service_name']} {body['version']} is {'healthy' if word in _GOOD else word}."
    screen.say(heading, "bold green" if word in _GOOD else "bold red")
    screen.show(table("service", "status", "", rows=rows))
    spaces = body["spaces_count"]
    screen.say(f"up {_duration(body['uptime_seconds'])}" + (f", {counted(spaces, 'space')}" if spaces >= 0 else ""))


def _status(word: str) -> Text:
    colour = {"ok": "green", "warning": "yellow"}.get(word, "red")
    return cell(word, colour)


def _duration(seconds: float) -> str:
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {left} s" if minutes else f"{left} s"


def _about(screen: Screen, body: Body) -> None:
    facts = {
        "version": body["version"],
        "Python": f"{body['python_version']} on {body['platform']}",
        "operations": body["tools_count"],
        "documentation": body["documentation"],
    }
    screen.show(panel(body["name"], facts))
    rows = [(tool["name"], tool["description"]) for tool in body["tools"]]
    screen.show(table("operation", "what it does", rows=rows))


def _space_created(screen: Screen, body: Body) -> None:
    facts = {
        "description": body["description"],
        "rules": size(body["rules_size"]),
        "created": instant(body["created_at"]),
        "token": "reaches the space from now on" if body.get("token_auto_updated") else "",
    }
    screen.show(panel(f"space {body['space_id']}", facts, "green"))
    for warning in body.get("warnings", []):
        screen.warn(warning)


def _spaces(screen: Screen, body: Body) -> None:
    rows = [
        (one["space_id"], excerpt(one["description"], _EXCERPT), one["owner"], one["live_notes_count"],
         one["bank_files_count"])
        for one in body["spaces"]
    ]  # fmt: skip
    screen.show(table("space", "description", "owner", "notes", "bank files", rows=rows, numbers=(3, 4)))
    _counted(screen, body, "space")
    for space_id in body.get("damaged", []):
        screen.note(f"'{space_id}' is there and cannot be read: an operator has to look at its _bank.json.")


def _space(screen: Screen, body: Body) -> None:
    live, bank = body["live"], body["bank"]
    waiting = f"{live['notes_count']} ({size(live['total_size'])})"
    facts = {
        "description": body["description"],
        "owner": body["owner"],
        "created": instant(body["created_at"]),
        "rules": size(body["rules_size"]),
        "waiting notes": waiting + (f", oldest {instant(live['oldest_note'])}" if live["oldest_note"] else ""),
        "bank": f"{counted(bank['files_count'], 'file')} ({size(bank['total_size'])}), version {body['version']}",
        "files": "\n".join(bank["files"]),
        "consolidations": f"{body['consolidation_count']}, {counted(body['total_notes_processed'], 'note')} filed",
        "last": instant(body["last_consolidation"]),
    }
    screen.show(panel(f"space {body['space_id']}", facts))


def _rules(screen: Screen, body: Body) -> None:
    screen.text(body["rules"], title=f"rules of {body['space_id']}")


def _summary(screen: Screen, body: Body) -> None:
    live = body["live"]
    facts = {
        "description": body["description"],
        "owner": body["owner"],
        "bank": f"{counted(body['bank_file_count'], 'file')}, version {body['version']}",
        "waiting notes": live["notes_count"],
        "synthesis": body["synthesis"] or "",
    }
    screen.show(panel(f"space {body['space_id']}", facts))
    screen.text(body["rules"], title="rules")
    for file in body["bank_files"]:
        _file(screen, file)


def _space_deleted(screen: Screen, body: Body) -> None:
    screen.say(f"Space {body['space_id']} is deleted ({counted(body['files_deleted'], 'object')}).", "green")
    if left := body.get("files_remaining"):
        screen.warn(f"The store kept {left} objects; the service removes them by itself.")


def _noted(screen: Screen, body: Body) -> None:
    screen.say(f"{body['filename']} ({body['category']}, by {body['agent']})", "green")


def _notes(screen: Screen, body: Body) -> None:
    rows = [
        (
            instant(note["timestamp"]),
            note["agent"],
            cell(note["category"], COLOURS.get(note["category"], "")),
            excerpt(note["content"], _EXCERPT) if screen.is_terminal else excerpt(note["content"], 10 * _EXCERPT),
            note["tags"],
        )
        for note in body["notes"]
    ]
    screen.show(table("time", "agent", "category", "content", "tags", rows=rows))
    screen.say(f"{body['total']} of {counted(body['matched'], 'note')}", "dim")


def _file(screen: Screen, body: Body) -> None:
    if not screen.is_terminal:
        screen.say(f"==> {body['filename']} <==")
    screen.text(body["content"], title=body["filename"], markdown=True)


def _bank_file(screen: Screen, body: Body) -> None:
    screen.text(body["content"], title=body["filename"], markdown=True)


def _bank(screen: Screen, body: Body) -> None:
    for file in body["files"]:
        _file(screen, file)
    said = f"{counted(body['file_count'], 'file')}, {size(body['total_size'])}, version {body['version']}"
    screen.note(said + (f", consolidated {instant(body['last_consolidation'])}" if body["last_consolidation"] else ""))


def _bank_files(screen: Screen, body: Body) -> None:
    rows = [(one["filename"], size(one["size"]), instant(one["last_modified"])) for one in body["files"]]
    screen.show(table("file", "size", "changed", rows=rows, numbers=(1,)))
    screen.say(f"{counted(body['file_count'], 'file')}, version {body['version']}", "dim")


def _consolidated(screen: Screen, body: Body) -> None:
    match body["status"]:
        case "accepted":
            screen.say(body["job_id"])
            screen.note(f"The work goes on: `live-memory job events {body['job_id']}` follows it.")
        case "planned":
            _planned(screen, body)
        case _:
            _filed(screen, body)


def _planned(screen: Screen, body: Body) -> None:
    rows = [
        (number, one["notes"], one["mode"], one["prompt_tokens"], one["completion_tokens"])
        for number, one in enumerate(body["plan"], start=1)
    ]
    if rows:
        heads = ("batch", "notes", "filed by", "tokens to read", "tokens to write")
        screen.show(table(*heads, rows=rows, numbers=(0, 1, 3, 4)))
    cost = f", about {body['estimated_cost']:g} in all" if body["estimated_cost"] else ""
    screen.say(f"{counted(body['notes_remaining'], 'note')} would be filed{cost}; nothing was done", "yellow")


def _filed(screen: Screen, body: Body) -> None:
    by_model = body["notes_processed"] - body["notes_extracted"]
    facts = {
        "notes filed": body["notes_processed"],
        "by the model": f"{by_model}, the others word for word" if body["mode"] == "llm" else "",
        "still waiting": body["notes_remaining"],
        "files": f"{body['bank_files_created']} new, {body['bank_files_updated']} changed, "
        f"{body['bank_files_unchanged']} as before",
        "synthesis": f"{body['synthesis_size']} characters",
        "edits": f"{body['operations_applied']} made, {body['operations_failed']} of the model refused, "
        f"{counted(body['repairs'], 'answer')} mended"
        if body["mode"] == "llm"
        else "",
        "made harmless": body["flagged"],
        "model": _model(body),
        "took": f"{body['duration_seconds']:g} s",
        "version": body["version"],
        "message": body["message"],
    }
    screen.show(panel(f"bank of {body['space_id']}", facts, "green" if body["status"] == "ok" else "yellow"))
    if body["operations_refused"]:
        rows = [
            (one["batch"], one["verb"], one["target"], one["code"], one["reason"]) for one in body["operations_refused"]
        ]
        screen.show(table("batch", "refused", "where", "", "why", rows=rows, numbers=(0,)))
    for fault in body["errors"]:
        screen.note(f"batch {fault['batch']}: {fault['message']} ({fault['code']})")


def _model(body: Body) -> str:
    if body["mode"] != "llm":
        return str(body["mode"])
    about = "about " if body["llm_usage_estimated"] else ""
    cost = f", {body['llm_cost']:g} in the currency of the prices" if body["llm_cost"] else ""
    return f"{counted(body['llm_calls'], 'call')}, {about}{body['llm_tokens_used']} tokens{cost}"


def _backup_created(screen: Screen, body: Body) -> None:
    screen.say(f"{body['backup_id']} ({counted(body['files_backed_up'], 'file')}, {size(body['total_size'])})", "green")


def _backups(screen: Screen, body: Body) -> None:
    rows = [
        (
            one["backup_id"],
            one["description"],
            instant(one["created_at"]),
            one["files_count"],
            size(one["total_size"]),
            "" if one["current"] else "of a deleted space",
        )
        for one in body["backups"]
    ]
    screen.show(table("backup", "description", "made", "files", "size", "", rows=rows, numbers=(3, 4)))
    _counted(screen, body, "backup")
    if body["filtered_by_token"]:
        screen.note("Only backups of the spaces that the token reaches are shown.")


def _restored(screen: Screen, body: Body) -> None:
    restored = (
        f"Space {body['space_id']} is restored from {body['backup_id']} ({counted(body['files_restored'], 'file')})."
    )
    screen.say(restored, "green")


def _backup_deleted(screen: Screen, body: Body) -> None:
    screen.say(f"Backup {body['backup_id']} is deleted ({counted(body['files_deleted'], 'file')}).", "green")
    if left := body.get("files_remaining"):
        screen.warn(f"The store kept {left} files: delete the backup again.")


def _token_created(screen: Screen, body: Body) -> None:
    facts = {
        "token": cell(body["token"], "bold"),
        "hash": body["hash"],
        "permissions": body["permissions"],
        "spaces": body["space_ids"] or "all",
        "expires": instant(body["expires_at"]) or "never",
        "warning": cell(body["warning"], "bold red"),
    }
    screen.show(panel(f"token of {body['name']}", facts, "red"))


def _tokens(screen: Screen, body: Body) -> None:
    rows = [
        (
            one["name"],
            one["permissions"],
            one["space_ids"] or "all",
            one["token_hash"][: len("sha256:") + 16],
            instant(one["expires_at"]) or "never",
            instant(one["last_used_at"]),
            cell("revoked", "red") if one["revoked"] else "",
        )
        for one in body["tokens"]
    ]
    screen.show(table("name", "permissions", "spaces", "hash", "expires", "last used", "", rows=rows))
    _counted(screen, body, "token")


def _space_updated(screen: Screen, body: Body) -> None:
    automatic = body["automatic"]
    facts = {
        "description": body["description"],
        "owner": body["owner"],
        "automatic": automatic if automatic and automatic.get("enabled") else "never consolidated unasked",
    }
    screen.show(panel(f"space {body['space_id']}", facts, "green" if body["updated_fields"] else ""))
    screen.say(body["message"], "green" if body["updated_fields"] else "dim")


def _rules_updated(screen: Screen, body: Body) -> None:
    screen.say(body["message"], "green")
    if body["previous_sha256"]:
        earlier = f"live-memory space rules {body['space_id']} --sha256 {body['previous_sha256']}"
        screen.note(f"`{earlier}` shows the former ones.")
    for warning in body["warnings"]:
        screen.warn(warning)


def _whoami(screen: Screen, body: Body) -> None:
    facts = {
        "kind": "the administrator's first key" if body["auth_type"] == "bootstrap" else "token",
        "permissions": body["permissions"],
        "spaces": body["space_ids"] or "all",
        "hash": body["token_hash"],
        "made": instant(body["created_at"]),
        "expires": instant(body["expires_at"]) or "never",
        "last used": instant(body["last_used_at"]),
        "note": body["note"],
    }
    screen.show(panel(body["name"], facts))


def _purged(screen: Screen, body: Body) -> None:
    rows = [
        (one["name"], one["token_hash"][: len("sha256:") + 16], "revoked" if one["revoked"] else "expired",
         instant(one["expires_at"]))
        for one in body["tokens"]
    ]  # fmt: skip
    if rows:
        screen.show(table("name", "hash", "", "expires", rows=rows))
    screen.say(body["message"], "yellow" if body["mode"] == "dry-run" else "green")
    if body["mode"] == "dry-run" and rows:
        screen.note("Nothing was removed: repeat the command with `--no-dry-run`.")


def _message(screen: Screen, body: Body) -> None:
    screen.say(body["message"], "green")


def _collected(screen: Screen, body: Body) -> None:
    details: Mapping[str, Body] = body["consolidation_details"]
    rows = []
    for space, found in body["spaces"].items():
        outcome = details.get(space, {})
        said = " ".join(filter(None, (outcome.get("status", ""), outcome.get("message", ""))))
        rows.append((space, found["old_notes"], found["total_notes"], size(found["old_notes_size"]), said))
    if rows:
        screen.show(table("space", "old notes", "of", "size", "", rows=rows, numbers=(1, 2, 3)))
    screen.say(body["message"], "green" if body["status"] != "partial" else "yellow")


def _counted(screen: Screen, body: Body, noun: str) -> None:
    screen.say(counted(body["total"], noun), "dim")


VIEWS: Final[Mapping[str, View]] = {
    "system_health": _health,
    "system_about": _about,
    "space_create": _space_created,
    "space_list": _spaces,
    "space_info": _space,
    "space_rules": _rules,
    "space_summary": _summary,
    "space_delete": _space_deleted,
    "live_note": _noted,
    "live_read": _notes,
    "live_search": _notes,
    "bank_read": _bank_file,
    "bank_read_all": _bank,
    "bank_list": _bank_files,
    "bank_consolidate": _consolidated,
    "backup_create": _backup_created,
    "backup_list": _backups,
    "backup_restore": _restored,
    "backup_delete": _backup_deleted,
    "admin_create_token": _token_created,
    "admin_list_tokens": _tokens,
    "admin_revoke_token": _message,
    "admin_update_token": _message,
    "admin_delete_token": _message,
    "admin_purge_tokens": _purged,
    "admin_gc_notes": _collected,
    "system_whoami": _whoami,
    "space_update": _space_updated,
    "space_update_rules": _rules_updated,
    "bank_history": revisions.history,
    "bank_diff": revisions.diff,
    "bank_note": revisions.filed_note,
    "bank_write": revisions.written,
    "bank_delete": revisions.file_deleted,
    "bank_revert": revisions.reverted,
    "bank_repair": revisions.repaired,
    "bank_compact": revisions.compacted,
    "job_get": revisions.job,
    "job_cancel": _message,
}
