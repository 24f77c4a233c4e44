"""From what a user names to streams of bytes: paths, folders, globs and S3, unpacked from gzip, zstd and zip."""

import glob
import gzip
import os
import shlex
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from io import BufferedIOBase, BufferedReader, RawIOBase
from pathlib import Path
from typing import Any

import smart_open
from backports import zstd
from botocore.exceptions import BotoCoreError, ClientError

from simulator.aws import ClientFactory, client_from_environment
from simulator.traffic.rows import MAX_ROW_BYTES

CHUNK_BYTES = 1 << 22
PIECE_BYTES = 1 << 16
FORMS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
PACKED = ("", ".gz", ".zst")
ENDINGS = tuple(form + packed for form in FORMS for packed in PACKED)
ALLOWED = f"{', '.join(FORMS)}, each also with .gz or .zst, or a .zip of them"
# What reading raises where a file is damaged.
UNREADABLE = (EOFError, OSError, zlib.error, zipfile.BadZipFile, zstd.ZstdError)


# The arguments of `open_text`.
Place = tuple[str, str | None, ClientFactory]


class SourceError(ValueError):
    """An input that cannot be replayed at all. The message says why and what to do."""


def split_data(text: str) -> list[str]:
    """Return the inputs that one string names: one path, or several inputs as in a shell, separated by spaces.

    A path that exists is taken whole, even with spaces in it. Raise SourceError if a path or glob matches nothing;
    addresses such as s3:// are checked when they are read.
    """
    if os.path.exists(text):
        return [text]
    try:
        names = shlex.split(text)
    except ValueError as error:
        raise SourceError(f"DATA is {text!r}: {error}; separate inputs by spaces, and quote what holds one") from error
    for name in names or [text]:
        if "://" not in name and not os.path.exists(name) and not glob.glob(name, recursive=True):
            raise SourceError(
                f"DATA is {name!r}, which is no file: give the path of a file ({ALLOWED}), a folder, a glob or an "
                "s3:// address, or several of them separated by spaces"
            )
    return names


def expand(inputs: Sequence[str], create_client: ClientFactory = client_from_environment) -> list[str]:
    """Return the names of the inputs' files: of a glob, a folder or an S3 prefix all with a known ending.

    A folder is searched with all folders in it. Raise SourceError if an input holds no file.
    """
    names: list[str] = []
    for given in inputs:
        if given.startswith("s3://") and not _is_known(given):
            found = _list_s3(given, create_client)
        elif os.path.isdir(given):
            found = sorted(str(path) for path in Path(given).rglob("*") if _is_known(path.name) and path.is_file())
        elif glob.has_magic(given) and not os.path.exists(given):
            found = sorted(name for name in glob.glob(given, recursive=True) if not os.path.isdir(name))
        else:
            found = [given]
        if not found:
            raise SourceError(f"{given}: no such file; give the path of a file: {ALLOWED}")
        names += found
    return names


def members(name: str, create_client: ClientFactory = client_from_environment) -> list[str | None]:
    """Return the names of the data files in a zip archive; [None] of a file that is none. Raise SourceError."""
    if not name.lower().endswith(".zip"):
        if not name.lower().endswith(ENDINGS):
            raise SourceError(f"{name}: not a file of a known form; give {ALLOWED}")
        return [None]
    with ExitStack() as stack:
        archive = _archive(stack.enter_context(open_raw(name, create_client)), name, stack)
        found = [one for one in archive.namelist() if one.lower().endswith(ENDINGS) and "__MACOSX" not in one]
    if not found:
        raise SourceError(f"{name}: it holds no data file; allowed are {ALLOWED}")
    return [*found]


def places(inputs: Sequence[str], create_client: ClientFactory = client_from_environment) -> dict[str, Place]:
    """Return the inputs' files, and those in archives, by the names that people know them by. Raise SourceError."""
    found: dict[str, Place] = {}
    for name in expand(inputs, create_client):
        inside = members(name, create_client)
        for member in inside:
            found[name if len(inside) == 1 else f"{name}/{member}"] = name, member, create_client
    return found


@contextmanager
def open_text(
    name: str, member: str | None = None, create_client: ClientFactory = client_from_environment
) -> Iterator[Any]:
    """Return a stream of the bytes of a file, or of a member of an archive, unpacked. Raise SourceError."""
    with ExitStack() as stack:
        raw = stack.enter_context(open_raw(name, create_client))
        stream: Any = raw
        if member is not None:
            stream = _member(_archive(raw, name, stack), name, member, stack)
        yield _unpacked(stream, member or name, stack)


def open_raw(name: str, create_client: ClientFactory = client_from_environment) -> Any:
    """Return a local file or an S3 object as a stream of its bytes. Raise SourceError."""
    try:
        return smart_open.open(name, "rb", compression="disable", transport_params=transport(name, create_client))
    except (BotoCoreError, ClientError) as error:
        raise SourceError(f"{name}: {error}; check the address and your access to it") from error
    except OSError as error:
        reason = error.strerror or error
        raise SourceError(f"{name}: {reason}; give the path of a file: {ALLOWED}") from error
    except (NotImplementedError, ValueError, ImportError) as error:  # smart_open, of ftp:// and other addresses
        raise SourceError(f"{name}: no such address; give a local path or an s3:// address") from error


def transport(name: str, create_client: ClientFactory) -> dict[str, Any]:
    """Return smart_open's parameters for a path or an address."""
    return {"client": create_client("s3")} if name.startswith("s3://") else {}


def chunks(stream: BufferedIOBase) -> Iterator[bytes]:
    """Return chunks of about CHUNK_BYTES, the last also before an error: `read` would lose what came before one."""
    pieces: list[bytes] = []
    size = 0
    try:
        while piece := stream.read1(min(PIECE_BYTES, CHUNK_BYTES)):
            pieces.append(piece)
            size += len(piece)
            if size >= CHUNK_BYTES:
                yield b"".join(pieces)
                pieces, size = [], 0
    except UNREADABLE:
        if pieces:
            yield b"".join(pieces)
        raise
    if pieces:
        yield b"".join(pieces)


def split_lines(parts: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Return lists of lines without their ends, the first also if there is none. Raise as `parts` does, at the end.

    Not by `readline`, which loses the start of a line in which gzip fails.
    """
    rest: list[bytes] = []
    rest_bytes = 0
    is_first = True
    damage: Exception | None = None
    try:
        for chunk in parts:
            head, newline, tail = chunk.rpartition(b"\n")
            if not newline:
                # A line without end: its start is kept, or a file without line ends would fill the memory.
                if rest_bytes <= MAX_ROW_BYTES:
                    rest.append(chunk)
                    rest_bytes += len(chunk)
                continue
            lines = b"".join([*rest, head]).replace(b"\r\n", b"\n").split(b"\n")
            lines[-1] = lines[-1].removesuffix(b"\r")
            rest, rest_bytes = [tail], len(tail)
            yield lines
            is_first = False
    except UNREADABLE as error:
        damage = error
    last = b"".join(rest)
    if damage:
        raise Damaged(damage, last.removesuffix(b"\r")) from damage
    if last or is_first:
        yield [last.removesuffix(b"\r")]


class Damaged(Exception):
    """A file that ends early. `last` is what there is of the line in which it does."""

    def __init__(self, error: Exception, last: bytes) -> None:
        super().__init__(f"reading ended early: {error}")
        self.last = last


def _is_known(name: str) -> bool:
    return name.lower().endswith((*ENDINGS, ".zip"))


def _list_s3(uri: str, create_client: ClientFactory) -> list[str]:
    bucket, _, prefix = uri.removeprefix("s3://").partition("/")
    try:
        pages = create_client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
    except (BotoCoreError, ClientError) as error:
        raise SourceError(f"{uri}: {error}; check the address and your access to it") from error
    return sorted(f"s3://{bucket}/{key}" for key in keys if _is_known(key))


def _unpacked(stream: Any, name: str, stack: ExitStack) -> Any:
    if name.lower().endswith(".gz"):
        return stack.enter_context(gzip.open(stream))
    if name.lower().endswith(".zst"):
        return stack.enter_context(zstd.open(stream))
    return stream


def _archive(raw: Any, name: str, stack: ExitStack) -> zipfile.ZipFile:
    try:
        return stack.enter_context(zipfile.ZipFile(raw))
    except zipfile.BadZipFile as error:
        raise SourceError(f"{name}: {error}; give a whole archive") from error


def _member(archive: zipfile.ZipFile, name: str, member: str, stack: ExitStack) -> BufferedReader:
    info = copy(archive.getinfo(member))
    checksum = info.CRC
    # zipfile would check it itself, but it would lose the piece after which the checksum differs.
    del info.CRC
    try:
        return BufferedReader(_Checked(stack.enter_context(archive.open(info)), checksum, f"{member!r}"))
    except (RuntimeError, zipfile.BadZipFile) as error:  # encrypted, packed in another way, or damaged
        raise SourceError(f"{name}: {error}; unpack it and give the files") from error


class _Checked(RawIOBase):
    """The stream's bytes. At their end it raises BadZipFile if their CRC-32 differs."""

    def __init__(self, stream: Any, checksum: int, name: str) -> None:
        self._stream = stream
        self._checksum = checksum
        self._name = name
        self._found = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._stream.read1(len(buffer))
        if not piece and self._found != self._checksum:
            raise zipfile.BadZipFile(f"Bad CRC-32 for file {self._name}")
        self._found = zlib.crc32(piece, self._found)
        buffer[: len(piece)] = piece
        return len(piece)
