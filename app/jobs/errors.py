"""What can be wrong about a job."""

from typing import Final

from app.core.errors import Conflict, Forbidden, NotFound, Unavailable

_BACK_SOON: Final = 5
"""Seconds after which another process serves."""


class JobNotFound(NotFound):
    """There is no job of that id, or its outcome is no longer kept."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"No job '{job_id}': it never was, its space is gone, or it ended too long ago.")


class NotYourJob(Forbidden):
    """Only an admin may cancel what somebody else has started."""

    def __init__(self, job_id: str, actor: str) -> None:
        super().__init__(f"Job '{job_id}' was started by '{actor}': only they or an admin may cancel it.")


class Cancelled(Conflict):
    """The job was cancelled before it was finished."""


class Interrupted(Unavailable):
    """The process that ran the job ended first; start it again."""


class ShuttingDown(Unavailable):
    """This process is ending and takes no new work; ask again in a moment."""

    def __init__(self) -> None:
        super().__init__(retry_after=_BACK_SOON)
