"""How versions of a bank, edits by hand and jobs are shown to a person."""

from collections.abc import Mapping
from typing import Any, Final

from rich.text import Text

from app.cli.render import Screen, cell, clean, counted, excerpt, instant, panel, plain, size, table

Body = Mapping[str, Any]

_DIFF_STYLES: Final = {"@@": "cyan", "--": "bold", "++": "bold", "+": "green", "-": "red"}
"""By how a line of a unified diff begins; the first that fits."""
_EXCERPT: Final = 60


def history(screen: Screen, body: Body) -> None:
    """The versions of a bank."""
    rows = [
        (
            one["version"],
            instant(one["at"]),
            one["kind"] + (f" of {one['undoes']}" if one.get("undoes") is not None else ""),
            one["actor"],
            one["notes_filed"] or "",
            one["notes_requeued"] or "",
            one["files_changed"],
        )
        for one in body["versions"]
    ]
    heads = ("version", "made", "kind", "by", "notes filed", "put back", "files changed")
    screen.show(table(*heads, rows=rows, numbers=(0, 4, 5)))
    screen.say(f"version {body['version']} is the current one", "dim")


def diff(screen: Screen, body: Body) -> None:
    """What lies between two versions; in a pipe a patch, and nothing else."""
    between = f"{body['space_id']}: version {body['from_version']} to {body['to_version']}"
    for file in body["files"]:
        if not screen.is_terminal:
            screen.raw(file["diff"].encode("utf-8", "replace"))
            continue
        screen.say(f"{file['filename']} ({file['change']}, +{file['lines_added']} -{file['lines_removed']})", "bold")
        for line in file["diff"].splitlines():
            screen.show(_coloured(line))
    said = f"{between}, {counted(len(body['files']), 'file')}, +{body['lines_added']} -{body['lines_removed']}"
    filed = len(body["notes_filed"])
    screen.note(said + (f", {counted(filed, 'note')} filed" if filed else ""))


def _coloured(line: str) -> Text:
    style = next((style for start, style in _DIFF_STYLES.items() if line.startswith(start)), "")
    return Text(clean(line), style=style)


def reverted(screen: Screen, body: Body) -> None:
    """What was undone, or would be."""
    is_dry = body["mode"] == "dry-run"
    done = "goes back to" if body["kind"] == "restore" else "undoes"
    title = {
        "applied": f"version {body['version']} of {body['space_id']} {done} version {body['undone']}",
        "dry-run": f"a new version of {body['space_id']} that {done} version {body['undone']} would change",
    }.get(body["mode"], f"there is nothing left to undo of version {body['undone']}")
    facts = {
        "files changed": body["files_changed"],
        "notes that wait again": len(body["notes_requeued"]) or "",
        "no longer wait": len(body["notes_withdrawn"]) or "",
        "stay filed": len(body["notes_kept"]) or "",
    }
    screen.show(panel(title, facts, "yellow" if body["conflicts"] or is_dry else "green"))
    if body["conflicts"]:
        rows = [(one["filename"], " > ".join(one["section"]), one["reason"]) for one in body["conflicts"]]
        screen.show(table("stays as it is", "section", "why", rows=rows))


def written(screen: Screen, body: Body) -> None:
    """A file that was written by hand."""
    said = f"{body['filename']} is {body['action']} ({size(body['size'])}), version {body['version']}"
    screen.say(said, "dim" if body["action"] == "unchanged" else "green")


def file_deleted(screen: Screen, body: Body) -> None:
    """A file that was deleted by hand."""
    undo = f"live-memory bank revert {body['space_id']} --version {body['version']}"
    screen.say(f"{body['filename']} is deleted, version {body['version']}", "green")
    screen.note(f"`{undo}` brings it back.")


def repaired(screen: Screen, body: Body) -> None:
    """What is, or was, wrong with names and contents."""
    rows = [(one["action"], one["filename"], one["becomes"]) for one in body["repairs"]]
    rows += [
        (f"{one['kind']} twice", " > ".join([one["filename"], *one["section"]]), excerpt(one["text"], _EXCERPT))
        for one in body["duplicates"]
    ]
    rows += [("stays as it is", name, "cannot be joined without a loss") for name in body["left"]]
    if rows:
        screen.show(table("", "where", "", rows=rows))
    screen.say(body["message"], "yellow" if body["mode"] == "dry-run" and rows else "green")
    if body["mode"] == "dry-run" and (body["repairs"] or body["duplicates"]):
        screen.note("Nothing was changed: repeat the command with `--no-dry-run`.")


def compacted(screen: Screen, body: Body) -> None:
    """What a file has given up, or would."""
    name, before, after = body["filename"], size(body["size_before"]), size(body["size_after"])
    match body["action"]:
        case "moved":
            for line in body["diff"].splitlines():
                screen.show(_coloured(line))
            screen.say(f"{name} has {after} instead of {before}, version {body['version']}.", "green")
            screen.note(f"Moved to {', '.join(body['archives'])}")
        case "planned":
            screen.say(f"{name} has {before}, and should have {size(body['target_bytes'])}.")
            if body["estimated_prompt_tokens"]:
                tokens = f"{body['estimated_prompt_tokens']} tokens in, up to {body['estimated_completion_tokens']} out"
                screen.note(tokens + (f", {body['estimated_cost']:g} at most" if body["estimated_cost"] else ""))
        case "accepted":
            screen.say(body["job_id"])
        case _:
            screen.say(f"{name} stays as it is.", "dim")
    if body["status"] != "partial":
        screen.note(body["message"])


def filed_note(screen: Screen, body: Body) -> None:
    """A note that was filed, in its own words."""
    if screen.is_terminal:
        how = "filed" if body["kind"] == "consolidation" else f"removed ({body['kind']})"
        facts = {
            "written": f"{instant(body['timestamp'])} by {body['agent']}",
            "category": body["category"],
            "tags": body["tags"],
            "left the queue": f"{how}, version {body['version']}",
            "was before": body["requeued_from"],
        }
        screen.show(panel(body["filename"], facts))
    screen.text(body["content"])


def job(screen: Screen, body: Body) -> None:
    """How far a job is, or how it ended."""
    progress, result = body["progress"], body["result"] or {}
    done = f"{plain(progress['done'])} of {plain(progress['total'])}" if progress["total"] is not None else ""
    facts = {
        "state": cell(body["state"] + (", asked to stop" if body["cancel_requested"] else ""), _state_style(body)),
        "kind": body["kind"],
        "space": body["space_id"],
        "by": body["actor"],
        "begun": instant(body["started_at"]) or f"asked for {instant(body['created_at'])}",
        "ended": instant(body["ended_at"]),
        "progress": " · ".join(part for part in (done, progress["message"]) if part),
        "model": counted(body["calls_total"], "call") if body["calls_total"] else "",
        "result": " · ".join(
            str(result[name]) for name in ("status", "code", "message") if result.get(name) not in (None, "")
        ),
    }
    screen.show(panel(f"job {body['job_id']}", facts))


def _state_style(body: Body) -> str:
    ended_well = body["state"] == "done" and (body["result"] or {}).get("status") != "error"
    return "green" if ended_well else "red" if body["state"] in {"done", "interrupted"} else "yellow"
