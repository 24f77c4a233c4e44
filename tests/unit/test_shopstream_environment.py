"""Where a command acts: what it says if nothing can be reached there."""

from pathlib import Path

import pytest

from local_cloud import flink, spark
from local_cloud.stack import Stack
from shopstream.environment import Aws, Local
from shopstream.failure import Failure


def test_a_stack_that_is_still_being_deployed_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Stack, "load", lambda directory: Stack(directory, {}))
    with pytest.raises(Failure, match="the local stack is still being deployed: wait until 'make up'"):
        Local(tmp_path)


def test_without_terraform_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failure, match="Terraform is missing: `make install` says"):
        _ = Aws("dev").outputs


@pytest.mark.parametrize("module", [flink, spark])
def test_without_its_environment_an_engine_says_how_to_install_it(
    module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "ENVIRONMENT", tmp_path / ".venv")
    stack = Stack(tmp_path, {})
    with pytest.raises(RuntimeError, match=r"\.venv is not installed: call `make install`"):
        flink.write_settings(stack) if module is flink else spark.environment(stack)
