"""What can be wrong about a backup."""

from app.core.errors import Conflict, NotFound


class BackupNotFound(NotFound):
    """There is no backup of that name."""

    def __init__(self, backup_id: str) -> None:
        super().__init__(f"No backup '{backup_id}'; backup_list names those there are.")


class RestoreTargetExists(Conflict):
    """A space of that name exists: a restore never overwrites one."""

    word = "error"

    def __init__(self, space_id: str) -> None:
        super().__init__(f"Space '{space_id}' exists: delete it first, then restore.")


class BackupDamaged(Conflict):
    """A file of the backup is missing or differs from its checksum; nothing was restored."""

    word = "error"

    def __init__(self, backup_id: str, path: str) -> None:
        super().__init__(f"Backup '{backup_id}' is damaged at '{path}': nothing was restored.")


class BackupBusy(Conflict):
    """The space changed again and again while it was being copied: try again."""
