"""Archives: a tar.gz written as it is sent, whatever its size, and small ones in one piece."""

import asyncio
import base64
import gzip
import io
import tarfile
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from app.core.errors import TooLarge

_GZIP: Final = 31
"""zlib's word for a gzip header, whose time stamp is zero: the same members give the same bytes."""
_LONG: Final = 64 * 1024
LARGEST: Final = 32 * 1024 * 1024
"""Bytes of an archive that is sent inside a JSON object, at most."""


async def stream_archive(members: AsyncIterator[tuple[str, bytes]]) -> AsyncIterator[bytes]:
    """The bytes of a gzipped tar of the members (name, content), piece by piece."""
    packer = zlib.compressobj(6, zlib.DEFLATED, _GZIP)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        async for name, content in members:
            _add(tar, name, content)
            if piece := await _compressed(packer, _drained(buffer)):
                yield piece
    yield await _compressed(packer, _drained(buffer)) + packer.flush()


@dataclass(frozen=True, slots=True)
class Packed:
    """A whole archive, for an answer that is a JSON object."""

    base64: str
    size: int
    """Bytes of the archive."""
    files: int


async def packed_archive(members: AsyncIterator[tuple[str, bytes]]) -> Packed:
    """The archive of the members in one piece; raises TooLarge when it should be streamed instead."""
    files = 0

    async def counted() -> AsyncIterator[tuple[str, bytes]]:
        nonlocal files
        async for member in members:
            files += 1
            yield member

    whole = bytearray()
    async for piece in stream_archive(counted()):
        whole += piece
        if len(whole) > LARGEST:
            raise TooLarge(
                f"The archive has more than {LARGEST // 2**20} MiB: ask for it with 'Accept: application/gzip' instead."
            )
    return Packed(base64.b64encode(whole).decode(), len(whole), files)


def pack(members: Mapping[str, bytes]) -> bytes:
    """A small tar.gz of the members (content by name); the same members give the same bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members.items():
            _add(tar, name, content)
    return gzip.compress(buffer.getvalue(), 6, mtime=0)


def unpack(archive: bytes) -> dict[str, bytes]:
    """The members of a small tar.gz; raises ValueError when it is none."""
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            readers = {member.name: tar.extractfile(member) for member in tar if member.isreg()}
            return {name: reader.read() for name, reader in readers.items() if reader is not None}
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"not a whole tar.gz: {error}") from error


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = len(content), 0o644, 0
    tar.addfile(info, io.BytesIO(content))


async def _compressed(packer: "zlib._Compress", data: bytes) -> bytes:
    """In a thread when it takes long enough for others to notice."""
    if len(data) < _LONG:
        return packer.compress(data)
    return await asyncio.to_thread(packer.compress, data)


def _drained(buffer: io.BytesIO) -> bytes:
    written = buffer.getvalue()
    buffer.seek(0)
    buffer.truncate()
    return written
