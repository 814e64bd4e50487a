"""`live-memory bank consolidate`: a job of the service, followed to its end."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from app.cli.client import Answer, Client, Refused, exit_of
from app.cli.events import DONE, Event, follow
from app.cli.render import Counted, Screen, counted
from app.cli.table import Described, load

ACCEPTED: Final = "accepted"
INTERRUPTED: Final = 130
"""Exit status of a command that Ctrl-C ended."""
_READ_REQUIRED: Final = "read_required"


class Left(Exception):
    """Whoever waited went away; the job of that id goes on."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id


def consolidate(client: Client, operation: Described, arguments: Mapping[str, Any], screen: Screen) -> Answer:
    """Start the job, follow it, and answer with its result as the service would have done.

    Raises:
        Refused: it was not started, or failed.
        Left: Ctrl-C was pressed meanwhile.
    """
    started = client.call(operation, {**arguments, "wait": False})
    if started.body.get("status") != ACCEPTED:
        return started
    job_id = str(started.body["job_id"])
    try:
        with screen.counting(operation.title.rstrip("."), "note") as shown:
            last = _followed(client, job_id, Filing(shown))
    except KeyboardInterrupt:
        raise Left(job_id) from None
    except Refused as refused:
        if refused.code == _READ_REQUIRED:
            told = f"The notes are being filed by job {job_id}, which this token may not look at: it lacks `read`."
            raise Refused(told, refused.exit, code=refused.code, request_id=refused.request_id) from None
        screen.note(f"Job {job_id} may still be at work: `live-memory job get {job_id}` tells.")
        raise
    return _outcome(job_id, last, operation)


def _followed(client: Client, job_id: str, filing: "Filing") -> Mapping[str, Any]:
    """State and result of the job, once it is over."""
    for event in follow(client, job_id):
        if event.name == DONE:
            return event.data
        filing.take(event)
    operations = {operation.name: operation for operation in load()}
    return client.call(operations["job_get"], {"job_id": job_id}).body


def _outcome(job_id: str, job: Mapping[str, Any], operation: Described) -> Answer:
    result = job.get("result")
    if not isinstance(result, dict):
        detail = f"Job {job_id} lost its process. What it has filed stays filed: start it again for the rest."
        result = {"status": "error", "code": "interrupted", "message": detail, "job_id": job_id}
    if result.get("status") == "error":
        raise _failure(result, operation)
    return Answer(_as_json(result), result)


def _failure(result: Mapping[str, Any], operation: Described) -> Refused:
    """The refusal that the service would have answered with, had the caller waited."""
    code, detail = str(result.get("code", "")), str(result.get("message", ""))
    status = operation.failures.get(code, 500)
    extra = {name: value for name, value in result.items() if name not in {"status", "code", "message"}}
    problem = {"type": f"urn:live-memory:problem:{code}", "status": status, "detail": detail, "code": code, **extra}
    return Refused(detail, exit_of(status), code=code, body=_as_json(problem))


def _as_json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(slots=True)
class Filing:
    """How far a consolidation is, as its events tell it."""

    shown: Counted
    batches: int = 0
    total: int | None = None
    done: int = 0
    """Notes filed before the present batch."""
    _batch: int = 0

    def take(self, event: Event) -> None:
        """Show what has happened; an event of a later release is passed over."""
        data = event.data
        match event.name:
            case "planned":
                self.batches, self.total = _number(data, "batches"), _number(data, "notes")
                what = "filing"
            case "batch_started":
                self.done, self._batch = _number(data, "filed"), _number(data, "batch")
                # A batch that the model could not manage comes back in parts.
                self.batches = max(self.batches, self._batch)
                what = self._said(counted(_number(data, "notes"), "note"))
            case "llm_first_token":
                what = self._said("the model answers")
            case "llm_progress":
                what = self._said(f"the model has written {_number(data, 'characters'):,} characters")
            case "validated":
                refused = _number(data, "refused")
                what = self._said(f"{counted(_number(data, 'ops'), 'edit')} of the model, {refused} refused")
            case "repairing":
                what = self._said("the model mends its answer")
            case "degraded":
                what = self._said("goes on without the model")
            case _:
                return
        self.shown.show(what, min(self.done, self.total or 0), self.total)

    def _said(self, what: str) -> str:
        return f"batch {self._batch} of {self.batches}: {what}"


def _number(data: Mapping[str, Any], name: str) -> int:
    value = data.get(name)
    return value if isinstance(value, int) else 0
