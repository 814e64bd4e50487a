"""What can be wrong about a bank."""

from app.core.errors import Conflict, Forbidden, NotFound, TooLarge, Unavailable


class FileNotFound(NotFound):
    """The bank has no file of that name."""

    def __init__(self, space_id: str, filename: str) -> None:
        super().__init__(f"The bank of space '{space_id}' has no file '{filename}'; bank_list names those it has.")


class ConsolidationRunning(Conflict):
    """The bank of this space is being worked on."""

    def __init__(self, space_id: str, job_id: str, *, retry_after: int | None = None) -> None:
        until = f" If its process has died, another can begin in {retry_after} seconds." if retry_after else ""
        super().__init__(
            f"The bank of space '{space_id}' is being worked on: read it again in a moment.{until}",
            extra={"job_id": job_id},
            retry_after=retry_after,
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


class BudgetSpent(Unavailable):
    """The space has had all of the model that it may have today."""

    status = 429


class LlmFailed(Unavailable):
    """The model could not be used; the bank and the notes are as they were."""

    status = 502


class VersionNotFound(NotFound):
    """The bank has never had that version."""

    def __init__(self, space_id: str, wanted: str, newest: int) -> None:
        super().__init__(
            f"The bank of space '{space_id}' has no version of '{wanted}': its newest one is {newest}; "
            "bank_history lists them."
        )


class FiledNoteNotFound(NotFound):
    """No note of that id was ever filed in the bank."""

    def __init__(self, space_id: str, note_id: str) -> None:
        super().__init__(
            f"No note '{note_id}' was filed in the bank of space '{space_id}'; those that wait are in live_read."
        )


class FileNameTaken(Conflict):
    """The bank has a file whose name differs only in its case, or is a folder of the other."""

    word = "already_exists"

    def __init__(self, filename: str, present: str) -> None:
        super().__init__(f"'{filename}' cannot stand beside '{present}', which the bank has: use that name.")


class BankFull(TooLarge):
    """The bank would be larger than a bank may be."""

    def __init__(self, size: int, most: int) -> None:
        super().__init__(f"The bank would have {size} bytes and may have {most}: make its files shorter.")
