"""What can be wrong about a bank."""

from app.core.errors import Conflict, Forbidden, NotFound, Unavailable


class FileNotFound(NotFound):
    """The bank has no file of that name."""

    def __init__(self, space_id: str, filename: str) -> None:
        super().__init__(f"The bank of space '{space_id}' has no file '{filename}'; bank_list names those it has.")


class ConsolidationRunning(Conflict):
    """A consolidation of this space is under way."""

    def __init__(self, space_id: str, job_id: str) -> None:
        super().__init__(
            f"A consolidation of space '{space_id}' is running: read the bank again in a moment.",
            extra={"job_id": job_id},
        )


class BankBusy(Conflict):
    """The bank was changed by others again and again; nothing of this change was kept."""


class OtherAgent(Forbidden):
    """Consolidating the notes of another agent takes an admin."""

    def __init__(self, agent: str, own: str) -> None:
        super().__init__(
            f"Only an admin may consolidate the notes of '{agent}': leave `agent` empty or pass your own name, '{own}'."
        )


class CommitUnknown(Unavailable):
    """The store stopped answering while the bank was being written: read it again to see whether it was."""
