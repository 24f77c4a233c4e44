"""A data file reaches the bucket in its three places, once, whole, and goes on where it broke off."""

import gzip
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from shopstream.app import run
from simulator.sending import upload as upload_module
from simulator.sending.upload import UploadError, send, uploads
from simulator.traffic.event import COLUMNS
from simulator.traffic.inputs import SourceError

ROW = "2019-11-05 10:00:00 UTC,view,1003461,2053013555631882655,electronics.smartphone,xiaomi,489.07,520088904,4d3b30da"
TEXT = (",".join(COLUMNS) + "\r\n" + f"{ROW}\r\n" * 1_500).encode()
PLACES = [
    "ecomm_user_activity/p_year=2019/p_month=11/2019-Nov.csv.zip",
    "ecomm_user_activity_sample/2019-Nov-sample.csv",
    "ecomm_user_activity_unconcompressed/p_year=2019/p_month=11/2019-Nov.csv",
]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket="raw")
        yield client


@pytest.fixture
def month(tmp_path: Path) -> Path:
    file = tmp_path / "2019-Nov.csv.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("2019-Nov.csv", TEXT)
    return file


def body(s3: Any, key: str) -> bytes:
    return s3.get_object(Bucket="raw", Key=key)["Body"].read()


def test_the_file_its_text_and_a_sample_are_put_in_their_places(s3: Any, month: Path) -> None:
    assert run(["upload", str(month), "--bucket", "raw"]) == 0
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket="raw")["Contents"]] == sorted(PLACES)
    assert body(s3, PLACES[0]) == month.read_bytes()
    assert body(s3, PLACES[1]) == b"".join(TEXT.splitlines(keepends=True)[:1_001])
    assert body(s3, PLACES[2]) == TEXT


def test_what_is_there_already_is_not_sent_again(s3: Any, month: Path) -> None:
    first, *_ = uploads(str(month))
    assert send(s3, "raw", first) is True
    said: list[str] = []
    assert send(s3, "raw", first, said.append) is False
    assert said == [f"s3://raw/{PLACES[0]}: is there already"]


def test_another_file_of_that_name_replaces_it(s3: Any, tmp_path: Path) -> None:
    file = tmp_path / "2019-Nov.csv.gz"
    for rows in (1, 2):
        file.write_bytes(gzip.compress(TEXT[: TEXT.index(b"\n") + 1] + f"{ROW}\n".encode() * rows))
        first, *_ = uploads(str(file))
        assert send(s3, "raw", first) is True
        assert body(s3, first.key) == file.read_bytes()


def test_a_broken_upload_goes_on_with_the_parts_that_are_missing(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_module, "PART_BYTES", 5 * 1024**2)
    file = tmp_path / "2019-Nov.csv"
    file.write_bytes(TEXT * 80)  # three parts
    first, *_ = uploads(str(file))
    sent: list[int] = []

    class Breaking:
        """S3 that breaks off once, at the second part."""

        broken = False

        def __getattr__(self, name: str) -> Any:
            return getattr(s3, name)

        def upload_part(self, **arguments: Any) -> Any:
            if arguments["PartNumber"] == 2 and not self.broken:
                self.broken = True
                raise ClientError({"Error": {"Code": "InternalError", "Message": "broken"}}, "UploadPart")
            sent.append(arguments["PartNumber"])
            return s3.upload_part(**arguments)

    client = Breaking()
    with pytest.raises(UploadError, match=f"s3://raw/{first.key}: .*broken.*; call again to continue"):
        send(client, "raw", first)
    assert send(client, "raw", first) is True
    assert sent == [1, 2, 3]
    assert body(s3, first.key) == file.read_bytes()


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.csv"
    file.write_text("a,b\n1,2\n")
    with pytest.raises(SourceError, match="none of its first 1000 rows is an event: a header names each column once"):
        uploads(str(file))


def test_a_bucket_that_is_not_there_is_named(s3: Any, month: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(["upload", str(month), "--bucket", "none"]) == 1
    assert "s3://none/" in capsys.readouterr().err
