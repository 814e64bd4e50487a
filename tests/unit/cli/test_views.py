"""What a person sees of the operations on versions, jobs and consolidations."""

import io
from typing import Any

import pytest

from app.cli.render import Screen
from app.cli.views import failure, show
from tests.unit.cli.test_render import Terminal

DIFF: dict[str, Any] = {
    "status": "ok", "space_id": "alpha", "from_version": 1, "to_version": 2, "lines_added": 1, "lines_removed": 1,
    "notes_filed": ["n1"],
    "files": [
        {"filename": "a.md", "change": "updated", "lines_added": 1, "lines_removed": 1,
         "diff": "--- a.md\n+++ a.md\n@@ -1 +1 @@\n-old\n+new \x1b[2J\n"},
    ],
}  # fmt: skip
REVERTED: dict[str, Any] = {
    "status": "partial", "space_id": "alpha", "mode": "applied", "kind": "revert", "undone": 3, "version": 6,
    "files_changed": ["a.md"], "notes_requeued": ["n1", "n2"], "notes_withdrawn": [], "notes_kept": ["n3"],
    "conflicts": [{"filename": "a.md", "section": ["A", "B"], "reason": "it was changed since"}],
}  # fmt: skip
CONSOLIDATED: dict[str, Any] = {
    "status": "partial", "space_id": "alpha", "notes_processed": 20, "notes_remaining": 0, "notes_extracted": 5,
    "bank_files_created": 1, "bank_files_updated": 2, "bank_files_unchanged": 3, "operations_applied": 18,
    "operations_failed": 1, "repairs": 2, "synthesis_size": 10, "llm_tokens_used": 1234, "llm_usage_estimated": True,
    "llm_calls": 4, "llm_cost": 0.25, "duration_seconds": 1.5, "version": 7, "job_id": "alpha.0", "mode": "llm",
    "code": "llm_failed", "message": "The model failed.", "flagged": ["a link in n4"], "plan": [],
    "operations_refused": [{"batch": 1, "op": 2, "verb": "replace", "target": "a.md > A", "code": "ungrounded",
                            "reason": "no note says 7"}],
    "errors": [{"batch": 2, "code": "llm_failed", "message": "It did not answer."}],
    "notes": 0, "estimated_cost": 0.0,
}  # fmt: skip
JOB: dict[str, Any] = {
    "status": "ok", "job_id": "alpha.0", "space_id": "alpha", "kind": "consolidation", "actor": "ana",
    "state": "running", "created_at": "2026-01-31T18:05:00Z", "started_at": "2026-01-31T18:05:01Z", "ended_at": None,
    "progress": {"done": 3.0, "total": 10.0, "message": "filing 4 notes"}, "cancel_requested": True, "result": None,
    "last_event": 4, "calls": [], "calls_total": 2,
}  # fmt: skip


def shown(operation: str, body: dict[str, Any], output: io.StringIO | None = None) -> tuple[str, str]:
    output, errors = output or io.StringIO(), io.StringIO()
    show(Screen(output, errors, {"TERM": "xterm", "COLUMNS": "160"}), operation, body)
    return output.getvalue(), errors.getvalue()


def test_a_difference_is_a_patch_in_a_pipe() -> None:
    output, errors = shown("bank_diff", DIFF)
    assert output == DIFF["files"][0]["diff"]
    assert errors == "live-memory: alpha: version 1 to 2, 1 file, +1 -1, 1 note filed\n"


def test_a_difference_is_coloured_for_a_person_and_steers_nothing() -> None:
    output, _ = shown("bank_diff", DIFF, Terminal())
    assert "a.md (updated, +1 -1)" in output
    assert "\x1b[31m-old" in output
    assert "\x1b[32m+new" in output
    assert "\x1b[36m@@ -1 +1 @@" in output
    assert "\x1b[2J" not in output


def test_no_difference_is_said() -> None:
    output, errors = shown("bank_diff", {**DIFF, "files": [], "notes_filed": [], "lines_added": 0, "lines_removed": 0})
    assert (output, errors) == ("", "live-memory: alpha: version 1 to 2, 0 files, +0 -0\n")


def test_what_was_undone_and_what_stays_is_told_and_is_no_plain_success() -> None:
    output, _ = shown("bank_revert", REVERTED)
    for said in ("version 6 of alpha undoes version 3", "a.md", "A > B", "it was changed since"):
        assert said in output
    assert "notes that wait again  2" in output
    assert "stay filed             1" in output
    assert failure(REVERTED) == "1 place could not be undone, and stayed as it is."
    assert failure({**REVERTED, "status": "ok", "conflicts": []}) == ""


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"mode": "dry-run"}, "a new version of alpha that undoes version 3 would change"),
        ({"mode": "unchanged"}, "nothing left to undo of version 3"),
        ({"kind": "restore"}, "version 6 of alpha goes back to version 3"),
    ],
)
def test_each_way_of_undoing_has_its_words(changed: dict[str, Any], said: str) -> None:
    assert said in shown("bank_revert", {**REVERTED, **changed})[0]


def test_a_consolidation_tells_what_the_model_did() -> None:
    output, errors = shown("bank_consolidate", CONSOLIDATED)
    for said in (
        "15, the others word for word", "18 made, 1 of the model refused, 2 answers mended", "a link in n4",
        "4 calls, about 1234 tokens, 0.25 in the currency of the prices", "The model failed.", "ungrounded",
        "no note says 7",
    ):  # fmt: skip
        assert said in output, said
    assert "batch 2: It did not answer. (llm_failed)" in errors


def test_without_a_model_nothing_is_said_of_one() -> None:
    body = {**CONSOLIDATED, "mode": "extractive", "operations_refused": [], "errors": [], "flagged": [], "status": "ok"}
    output, _ = shown("bank_consolidate", body)
    assert "extractive" in output
    assert "by the model" not in output
    assert "mended" not in output


def test_a_job_that_was_begun_is_its_id_and_nothing_else() -> None:
    output, errors = shown("bank_consolidate", {"status": "accepted", "job_id": "alpha.0", "space_id": "alpha"})
    assert output == "alpha.0\n", "so that a script can take it"
    assert "live-memory job events alpha.0" in errors


def test_a_plan_is_told_as_one() -> None:
    plan = [{"notes": 24, "mode": "llm", "prompt_tokens": 9000, "completion_tokens": 800}]
    body = {**CONSOLIDATED, "status": "planned", "plan": plan, "notes_remaining": 24, "estimated_cost": 0.5}
    output, _ = shown("bank_consolidate", body)
    assert "9000" in output
    assert "24 notes would be filed, about 0.5 in all; nothing was done" in output


def test_a_job_tells_how_far_it_is_and_how_it_ended() -> None:
    output, _ = shown("job_get", JOB)
    for said in ("running, asked to stop", "3 of 10 · filing 4 notes", "2 calls", "2026-01-31 18:05:01"):
        assert said in output, said
    ended = {**JOB, "state": "done", "result": {"status": "error", "code": "llm_failed", "message": "It failed."}}
    assert "error · llm_failed · It failed." in shown("job_get", ended)[0]


def test_an_event_is_a_line_and_steers_nothing() -> None:
    output = io.StringIO()
    screen = Screen(output, io.StringIO())
    screen.event("2026-01-31T18:05:00.123Z", "batch_started", {"batch": 1, "notes": 3, "why": "", "x": "\x1b[2J"})
    screen.event("", "queued", {})
    first, second = output.getvalue().splitlines()
    assert first == "2026-01-31 18:05:00  batch_started  batch 1, notes 3, x \ufffd[2J"
    assert second.split() == ["queued"]


def test_a_purge_that_would_remove_says_how_to_do_it() -> None:
    token = {"token_hash": "sha256:" + "0" * 64, "name": "bob", "revoked": True, "expires_at": None}
    body = {
        "status": "ok",
        "mode": "dry-run",
        "deleted": 1,
        "remaining": 2,
        "tokens": [token],
        "message": "1 would go.",
    }
    output, errors = shown("admin_purge_tokens", body)
    assert "bob" in output
    assert "--no-dry-run" in errors
    assert "--no-dry-run" not in shown("admin_purge_tokens", {**body, "mode": "applied"})[1]
