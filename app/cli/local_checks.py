"""What `live-memory doctor` looks at on this machine: the settings, and the folder of the memory."""

import errno
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from app.cli.bootstrap_key import KEY_FILE
from app.cli.findings import Finding, ok, problem, skipped, warning
from app.cli.render import size
from app.core.settings import InvalidSetting, Settings, StoreKind

LOW: Final = 1024**3
"""Free bytes below which a warning is given."""
FEW_FILES: Final = 10_000
REMOTE: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "fuse.s3fs", "fuse.rclone"})
"""File systems that several machines share: their locks do not reach from one machine to the other."""
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def load_settings() -> tuple[Settings | None, list[Finding]]:
    """The settings of this process, if they can be used."""
    try:
        settings = Settings.load()
    except InvalidSetting as fault:
        return None, [problem("settings", str(fault), "Correct the variable in the environment or in .env.")]
    found = [ok("settings", f"store {settings.live_memory_store}, port {settings.mcp_server_port}")]
    if settings.admin_bootstrap_key is not None:
        found.append(ok("administrator's key", "ADMIN_BOOTSTRAP_KEY is set"))
    elif settings.live_memory_store is not StoreKind.MEMORY:
        found.append(_key(settings.live_memory_data_dir / KEY_FILE))
    return settings, found


def _key(path: Path) -> Finding:
    name = "administrator's key"
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return ok(name, f"made at the first start, in {path}")
    except OSError as error:
        return problem(name, f"{path}: {_reason(error)}", "Give the file to the user who runs the service.")
    if mode & _OTHERS:
        return problem(name, f"{path} can be read by other users", f"Run `chmod 600 {path}`.")
    return ok(name, f"in {path}")


def folder(path: Path) -> Iterator[Finding]:
    """Whether a folder can hold the memory; what is tried in it is removed again."""
    if not path.exists():
        yield from _absent(path)
        return
    try:
        with tempfile.TemporaryDirectory(prefix=".doctor-", dir=path) as scratch:
            yield ok("folder", f"{path.absolute()} is writable")
            yield _flush(Path(scratch) / "flush")
            yield _lock(Path(scratch) / "lock")
            yield _link(Path(scratch))
    except OSError as error:
        yield problem(
            "folder",
            f"{path.absolute()}: {_reason(error)}",
            "Give the folder to the user who runs the service, or name another one with LIVE_MEMORY_DATA_DIR.",
        )
        return
    yield file_system(path, _mounts())
    yield space(shutil.disk_usage(path).free, os.statvfs(path).f_favail, files=os.statvfs(path).f_files)


def _absent(path: Path) -> Iterator[Finding]:
    parent = path.absolute()
    while not parent.exists():
        parent = parent.parent
    if parent.is_dir() and os.access(parent, os.W_OK | os.X_OK):
        yield ok("folder", f"{path.absolute()} does not exist yet: the first start makes it")
        yield space(shutil.disk_usage(parent).free, os.statvfs(parent).f_favail, files=os.statvfs(parent).f_files)
        return
    advice = f"Make the folder for the user who runs the service, or let that user write into '{parent}'."
    yield problem("folder", f"{path.absolute()} cannot be made: {parent} is not writable", advice)


def _flush(path: Path) -> Finding:
    try:
        with path.open("wb") as file:
            file.write(b"flushed")
            file.flush()
            os.fsync(file.fileno())
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        return problem("fsync", _reason(error), "Use a disk that can be told to keep what was written.")
    return ok("fsync", "writes reach the disk")


def _lock(path: Path) -> Finding:
    """Two descriptors of one file are two owners of its lock, as two processes are."""
    advice = "Use a local file system: without locks two processes would write over each other."
    with path.open("wb") as one, path.open("wb") as other:
        try:
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return problem("flock", _reason(error), advice)
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in {errno.EWOULDBLOCK, errno.EACCES}:
                return ok("flock", "a lock keeps others out")
            return problem("flock", _reason(error), advice)
    return problem("flock", "two owners hold the same lock", advice)


def _link(scratch: Path) -> Finding:
    (scratch / "one").write_bytes(b"")
    try:
        (scratch / "two").hardlink_to(scratch / "one")
    except OSError as error:
        advice = "Use a file system with hard links: new objects are put in their place by one."
        return problem("link", _reason(error), advice)
    return ok("link", "a file can have two names")


def file_system(path: Path, mounts: dict[str, str]) -> Finding:
    """What the folder lies on; `mounts` names the kind of file system of each mount point."""
    whole = path.resolve()
    places = [str(place) for place in (whole, *whole.parents) if str(place) in mounts]
    kind = mounts[places[0]] if places else ""
    if kind in REMOTE:
        return warning(
            "file system",
            f"{kind}, which several machines may share",
            "Let one machine alone run the service on this folder, or keep the memory on S3.",
        )
    return ok("file system", kind) if kind else skipped("file system", "its kind cannot be told on this machine")


def _mounts() -> dict[str, str]:
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return {fields[1]: fields[2] for line in lines if len(fields := line.split()) > 2}  # noqa: PLR2004 - device, place, kind


def space(free: int, free_files: int, *, files: int) -> Finding:
    """Whether there is room; a file system that does not count its files says it has none at all."""
    if free < LOW:
        return warning("free space", f"{size(free)} left", "Make room: a full disk refuses every write.")
    if files and free_files < FEW_FILES:
        return warning("free space", f"{free_files} files left", "Make room: each note is a file until it is filed.")
    return ok("free space", f"{size(free)} left")


def _reason(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
