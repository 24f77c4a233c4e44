"""The address of Flink's page: from Managed Flink as documented, or one sentence that says why there is none."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import boto3
import pytest
from botocore.exceptions import NoCredentialsError
from botocore.stub import Stubber

from detector import flink_page
from local_cloud.stack import Stack
from shopstream.app import run
from shopstream.commands import detection
from shopstream.environment import Local

URL = "https://1234567890.kinesisanalytics.us-east-1.amazonaws.com/flinkdashboard?X-Amz-Signature=0a1b"
ASKED = {
    "ApplicationName": "detector-1",
    "UrlType": "FLINK_DASHBOARD_URL",
    "SessionExpirationDurationInSeconds": 3600,
}


@pytest.fixture
def flink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Stubber]:
    """Return Managed Flink with expected calls only; moto does not know this call."""
    keys = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    client = boto3.client("kinesisanalyticsv2", region_name="us-east-1", **keys)
    environment = SimpleNamespace(
        outputs={"detector_name": "detector-1"}, client={"kinesisanalyticsv2": client}.__getitem__
    )
    monkeypatch.setattr(detection, "open_environment", lambda name, home: environment)
    with Stubber(client) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


def test_the_address_alone_is_on_stdout(flink: Stubber, capsys: pytest.CaptureFixture) -> None:
    flink.add_response("create_application_presigned_url", {"AuthorizedUrl": URL}, ASKED)
    assert run(["flink-ui"]) == 0
    said = capsys.readouterr()
    assert said.out == f"{URL}\n"
    assert "within three minutes" in said.err


def test_the_local_address_is_the_stacks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    local = Local.__new__(Local)
    local.stack = Stack(Path("unused"), {"flink_rest": 4567})
    monkeypatch.setattr(detection, "open_environment", lambda name, home: local)
    assert run(["flink-ui", "--env", "local"]) == 0
    assert capsys.readouterr() == ("http://127.0.0.1:4567\n", "")


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("InvalidArgumentException", "only while it runs: set start_detector = true and deploy"),
        ("ResourceInUseException", "only while it runs: set start_detector = true and deploy"),
        ("ResourceNotFoundException", "call make deploy first"),
        ("AccessDeniedException", "the caller needs kinesisanalytics:CreateApplicationPresignedUrl"),
        ("ExpiredTokenException", "log in to AWS"),
    ],
)
def test_why_there_is_no_page_is_one_line(flink: Stubber, capsys: pytest.CaptureFixture, code: str, hint: str) -> None:
    flink.add_client_error("create_application_presigned_url", code, "what AWS says", expected_params=ASKED)
    assert run(["flink-ui"]) == 1
    said = capsys.readouterr()
    [line] = said.err.splitlines()
    assert said.out == ""
    assert line.startswith("error: no page of detector-1 (") and "what AWS says" in line and hint in line


def test_without_a_login_the_next_step_is_named() -> None:
    class Nobody:
        def create_application_presigned_url(self, **_: object) -> None:
            raise NoCredentialsError

    with pytest.raises(flink_page.NoPage, match=r"Unable to locate credentials\): log in to AWS, or use ENV=local"):
        flink_page.page_url(Nobody(), "detector-1")
