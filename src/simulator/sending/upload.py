"""A month of the data set → the raw bucket, in three places: as it is, unpacked, and a sample.

A part that arrived is not sent again: an interrupted upload continues, a finished one is not repeated. S3 checks each
part's SHA-256, and that of all parts, before it takes an object:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
"""

from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import md5, sha256
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from botocore.exceptions import BotoCoreError, ClientError

from simulator.aws import ClientFactory, client_from_environment
from simulator.sending.errors import explain
from simulator.traffic.event import COLUMNS, MalformedRow, at_ms, parse
from simulator.traffic.inputs import SourceError, members, open_raw, open_text
from simulator.traffic.rows import HEADER_ALLOWED, fields, read_header

# At most 10,000 parts: enough for 160 GB. https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
PART_BYTES = 16 * 1024**2
SAMPLE_ROWS = 1_000


class UploadError(RuntimeError):
    """An object that did not arrive. The message says why and what to do."""


@dataclass(frozen=True)
class Upload:
    """An object to upload. `open` returns its bytes from the start, each time the same."""

    key: str
    open: Callable[[], AbstractContextManager[BinaryIO]]


@dataclass(frozen=True)
class Digest:
    """The checksums of a part, or of an object made of parts.

    `sha256` is in base64. `etag` is S3's: an MD5, unless KMS encrypts the bucket. Not every S3 returns the SHA-256 of
    what it holds.
    """

    sha256: str
    etag: str
    raw: tuple[bytes, bytes]

    @classmethod
    def of(cls, part: bytes) -> "Digest":
        """Return the checksums of a part."""
        raw = sha256(part).digest(), md5(part, usedforsecurity=False).digest()
        return cls(b64encode(raw[0]).decode(), raw[1].hex(), raw)

    @classmethod
    def of_parts(cls, parts: Sequence["Digest"]) -> "Digest":
        """Return the checksums of the object that has these parts."""
        both = cls.of(b"".join(part.raw[0] for part in parts)), cls.of(b"".join(part.raw[1] for part in parts))
        return cls(f"{both[0].sha256}-{len(parts)}", f"{both[1].etag}-{len(parts)}", (b"", b""))

    def matches(self, answer: Mapping[str, Any]) -> bool:
        """Return whether S3's answer is about the same bytes."""
        return answer.get("ChecksumSHA256") == self.sha256 or answer.get("ETag", "").strip('"') == self.etag


def uploads(name: str, create_client: ClientFactory = client_from_environment) -> list[Upload]:
    """Return the three objects of a data file, given by its path or s3:// address. Raise SourceError."""
    member, *others = members(name, create_client)
    if others:
        raise SourceError(
            f"{name}: it holds {len(others) + 1} files, an upload is of one; unpack it and give their paths"
        )
    with open_text(name, member, create_client) as text:
        lines = list(islice(text, SAMPLE_ROWS + 1))
    month = _month(name, lines)
    file_name = Path(name).name
    stem = file_name.split(".csv")[0]

    @contextmanager
    def as_it_is() -> Iterator[BinaryIO]:
        with open_raw(name, create_client) as file:
            yield file

    @contextmanager
    def sample() -> Iterator[BinaryIO]:
        yield BytesIO(b"".join(lines))

    @contextmanager
    def unpacked() -> Iterator[BinaryIO]:
        with open_text(name, member, create_client) as text:
            yield text

    places = f"p_year={month:%Y}/p_month={month:%m}"
    return [
        Upload(f"ecomm_user_activity/{places}/{file_name}", as_it_is),
        Upload(f"ecomm_user_activity_sample/{stem}-sample.csv", sample),
        # The tutorial's name, misspelt; users who followed it have data there.
        Upload(f"ecomm_user_activity_unconcompressed/{places}/{stem}.csv", unpacked),
    ]


def send(s3: Any, bucket: str, upload: Upload, report: Callable[[str], None] = lambda line: None) -> bool:
    """Upload what is missing. Return whether anything was; afterwards the object is there. Raise UploadError."""
    place = f"s3://{bucket}/{upload.key}"
    try:
        with upload.open() as stream:
            digests = [Digest.of(part) for part in _parts(stream)]
        whole = Digest.of_parts(digests)
        if _is_there(s3, bucket, upload.key, whole):
            report(f"{place}: is there already")
            return False
        upload_id, arrived = _begin(s3, bucket, upload.key)
        parts = []
        with upload.open() as stream:
            for number, (part, digest) in enumerate(zip(_parts(stream), digests, strict=True), start=1):
                known = arrived.get(number, {})
                if not digest.matches(known):
                    known = s3.upload_part(
                        Bucket=bucket,
                        Key=upload.key,
                        UploadId=upload_id,
                        PartNumber=number,
                        Body=part,
                        ChecksumSHA256=digest.sha256,
                    )
                parts.append({"PartNumber": number, "ETag": known["ETag"], "ChecksumSHA256": digest.sha256})
                report(f"{place}: {number / len(digests):.0%}")
        s3.complete_multipart_upload(
            Bucket=bucket,
            Key=upload.key,
            UploadId=upload_id,
            MultipartUpload={"Parts": parts},
            ChecksumSHA256=whole.sha256,
        )
    except (BotoCoreError, ClientError) as error:
        raise UploadError(f"{place}: {explain(error)}; call again to continue") from error
    return True


def _parts(stream: BinaryIO) -> Iterator[bytes]:
    """Return the stream in parts; one empty part of an empty stream."""
    part = stream.read(PART_BYTES)
    while True:
        yield part
        if not (part := stream.read(PART_BYTES)):
            return


def _is_there(s3: Any, bucket: str, key: str, digest: Digest) -> bool:
    try:
        return digest.matches(s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED"))
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return False
        raise


def _begin(s3: Any, bucket: str, key: str) -> tuple[str, dict[int, dict]]:
    """Return the id of an upload of the object, begun earlier or now, and its parts by number."""
    for one in s3.list_multipart_uploads(Bucket=bucket, Prefix=key).get("Uploads", []):
        if one["Key"] == key:
            pages = s3.get_paginator("list_parts").paginate(Bucket=bucket, Key=key, UploadId=one["UploadId"])
            return one["UploadId"], {part["PartNumber"]: part for page in pages for part in page.get("Parts", [])}
    made = s3.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="SHA256", ChecksumType="COMPOSITE")
    return made["UploadId"], {}


def _month(name: str, lines: list[bytes]) -> datetime:
    """Return the time of the first event. Raise SourceError if there is none."""
    columns: Sequence[str] = COLUMNS
    for number, line in enumerate(line.rstrip(b"\r\n") for line in lines):
        try:
            if number == 0 and (header := read_header(line)):
                columns = header
                continue
            return datetime.fromtimestamp(at_ms(parse(fields(line), columns)) / 1000, UTC)
        except MalformedRow:
            continue
    raise SourceError(f"{name}: none of its first {SAMPLE_ROWS} rows is an event: {HEADER_ALLOWED}")
