import errno
import os
from datetime import timedelta
from pathlib import Path

import pytest

from app.core.errors import Situation, StoreUnavailable
from app.storage.files import KnownFiles, instant_of, nanoseconds_of, situation_of
from app.storage.keys import InvalidKey
from app.storage.store import Listed, OutcomeUnknown, StoreRefused
from tests.fakes.clock import START


@pytest.mark.parametrize(
    ("number", "situation"),
    [
        (errno.ENOSPC, StoreUnavailable),
        (errno.EDQUOT, StoreUnavailable),
        (errno.EMFILE, StoreUnavailable),
        (errno.ENOENT, StoreUnavailable),
        (errno.ESTALE, StoreUnavailable),
        (errno.EACCES, StoreRefused),
        (errno.EPERM, StoreRefused),
        (errno.EROFS, StoreRefused),
        (errno.ENAMETOOLONG, InvalidKey),
        (errno.EISDIR, InvalidKey),
    ],
)
def test_a_system_error_is_a_situation(number: int, situation: type[Situation]) -> None:
    for writing in (False, True):
        assert type(situation_of(OSError(number, "?"), writing=writing)) is situation


def test_a_disk_that_fails_while_writing_leaves_the_outcome_open() -> None:
    assert type(situation_of(OSError(errno.EIO, "?"), writing=True)) is OutcomeUnknown
    assert type(situation_of(OSError(errno.EIO, "?"), writing=False)) is StoreUnavailable


def test_file_times_are_kept_to_the_microsecond() -> None:
    instant = START + timedelta(microseconds=123_457)
    assert instant_of(nanoseconds_of(instant)) == instant


def test_a_file_at_rest_is_known_until_anything_of_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    status = path.stat()
    listed = Listed("a", "etag", 1, START)
    known = KnownFiles()
    changed = instant_of(status.st_ctime_ns)
    known.learn(listed, status, changed + KnownFiles.TICK + timedelta(seconds=1))
    assert known.find("a", status) is listed
    assert known.find("b", status) is None
    path.write_bytes(b"12")
    assert known.find("a", path.stat()) is None
    # The same number of bytes, and the same time of writing: the change itself has a time.
    path.write_bytes(b"2")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert known.find("a", path.stat()) is None


def test_a_file_that_changed_just_before_it_was_read_is_not_remembered(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    status = path.stat()
    known = KnownFiles()
    known.learn(Listed("a", "etag", 1, START), status, instant_of(status.st_ctime_ns) + timedelta(seconds=1))
    assert known.find("a", status) is None


def test_what_is_known_is_bounded(tmp_path: Path) -> None:
    status = tmp_path.stat()
    known = KnownFiles(limit=2)
    later = instant_of(status.st_ctime_ns) + timedelta(hours=1)
    for key in "abc":
        known.learn(Listed(key, "etag", 1, START), status, later)
    assert [key for key in "abc" if known.find(key, status)] == ["c"]
