"""Terraform's provider comes from the user's settings, the registry or a mirror; one line says from where."""

import time
from pathlib import Path

import pytest
from install_fakes import Machine

from install import provider
from install.failure import Failure

# It writes down each call. What `init` does is in the file `init`, or after -plugin-dir in the file `mirrored`.
TERRAFORM = """
if [ "$1" = version ]; then echo '{"terraform_version": "1.11.4", "platform": "linux_amd64"}'; exit; fi
echo "$*" >> calls
case "$*" in
  *-plugin-dir=*) . ./mirrored;;
  *" init "*) . ./init;;
esac
"""
UNREACHABLE = """
echo '- Finding hashicorp/aws versions matching "5.100.0"...'
echo 'Error: Failed to query available provider packages' >&2
echo >&2
echo 'could not connect:' >&2
echo 'no such host' >&2
echo >&2
echo 'To see which modules are involved' >&2
exit 1
"""
WORKS = "echo '- Installing hashicorp/aws v5.100.0...'"
INIT = "-chdir=terraform init -input=false -no-color"
AWS = "registry.example/hashicorp/aws"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine without a mirror, whose registry does not answer."""
    machine = Machine(tmp_path)
    machine.make()
    machine.program("terraform", TERRAFORM)
    (machine.project / "init").write_text(UNREACHABLE)
    (machine.project / "mirrored").write_text(WORKS)
    (machine.project / "terraform/.terraform").mkdir()
    monkeypatch.chdir(machine.project)
    monkeypatch.setenv("PATH", f"{machine.programs}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(machine.home))
    for name in ("TF_CLI_ARGS_init", "TF_CLI_ARGS", "TF_CLI_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(provider, "PARENTS", (str(machine.shared), str(machine.root / "none")))
    return machine


def calls() -> list[str]:
    """Return how Terraform was called, without its version."""
    return Path("calls").read_text().splitlines()


def used(capsys: pytest.CaptureFixture[str]) -> str:
    """Install, and return where the provider came from."""
    provider.install()
    assert Path("terraform/.terraform/installed").exists()
    progress, line = capsys.readouterr().out.splitlines()
    assert progress == "installing Terraform's provider"
    return line.removeprefix("using Terraform's provider ")


def test_the_registry_comes_before_a_mirror(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    Path("init").write_text(WORKS)
    (machine.home / "mirror" / AWS / "5.100.0/linux_amd64").mkdir(parents=True)
    assert used(capsys) == "from the registry, or from a mirror that Terraform finds by itself"
    assert calls() == [INIT]


def test_a_registry_that_does_not_answer_is_given_up(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "REGISTRY_SECONDS", 0.5)
    Path("init").write_text("echo '- Finding hashicorp/aws versions'; exec sleep 60")
    mirror = machine.home / "mirror"
    (mirror / AWS / "5.100.0/linux_amd64").mkdir(parents=True)
    start = time.monotonic()
    assert used(capsys) == f"from the mirror {mirror} (it cannot be had from the registry)"
    assert time.monotonic() - start < 30


def test_a_long_download_is_not_given_up(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "REGISTRY_SECONDS", 1)
    Path("init").write_text(f"{WORKS}; exec sleep 2")
    assert used(capsys).startswith("from the registry")


def test_terraform_itself_asks_the_registry_only_once(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_REGISTRY_CLIENT_TIMEOUT", "99")
    Path("init").write_text('echo "$TF_REGISTRY_CLIENT_TIMEOUT $TF_REGISTRY_DISCOVERY_RETRY" > limits')
    used(capsys)
    assert Path("limits").read_text() == "99 0\n"  # the user's own value wins


@pytest.mark.parametrize(
    "content",
    ["5.100.0/linux_amd64/terraform-provider-aws_v5.100.0_x5", "terraform-provider-aws_5.100.0_linux_amd64.zip"],
)
def test_both_layouts_of_a_mirror_are_found(machine: Machine, capsys: pytest.CaptureFixture[str], content: str) -> None:
    file = machine.shared / "plugins" / AWS / content
    file.parent.mkdir(parents=True)
    file.touch()
    assert used(capsys) == f"from the mirror {machine.shared}/plugins (it cannot be had from the registry)"
    assert calls() == [INIT, f"{INIT} -plugin-dir={machine.shared}/plugins"]


def test_the_home_folder_comes_before_the_shared_ones(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (machine.shared / "a", machine.home / "b", machine.home / "c"):
        (folder / AWS / "5.100.0/linux_amd64").mkdir(parents=True)
    assert used(capsys).startswith(f"from the mirror {machine.home}/b ")


def test_a_mirror_that_fails_is_followed_by_the_next(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("a", "b"):
        (machine.home / folder / AWS / "5.100.0/linux_amd64").mkdir(parents=True)
    Path("mirrored").write_text(f'case "$*" in */a) {UNREACHABLE};; esac')
    assert used(capsys).startswith(f"from the mirror {machine.home}/b ")


def test_other_versions_platforms_and_deeper_folders_do_not_count(machine: Machine) -> None:
    for folder in (
        f"a/{AWS}/5.99.0/linux_amd64",
        f"b/{AWS}/5.100.0/darwin_arm64",
        f"deep/er/{AWS}/5.100.0/linux_amd64",
    ):
        (machine.home / folder).mkdir(parents=True)
    with pytest.raises(Failure) as caught:
        provider.install()
    assert not Path("terraform/.terraform/installed").exists()
    assert calls() == [INIT]
    sentence = str(caught.value)
    assert sentence.startswith(
        "Terraform's provider hashicorp/aws 5.100.0 is missing: looked in the registry, in Terraform's own mirror "
        "folders and for a mirror in the folders one level below "
        f"{machine.home}, {machine.shared}, {machine.root}/none. "
    )
    assert "`terraform -chdir=terraform providers mirror -platform=linux_amd64 FOLDER`" in sentence
    assert all(system in sentence for system in ("Debian", "Ubuntu", "macOS"))
    assert sentence.endswith("Error: Failed to query available provider packages\n  could not connect: no such host")


@pytest.mark.parametrize("name", ["TF_CLI_ARGS_init", "TF_CLI_ARGS"])
def test_the_users_arguments_are_tried_as_they_are(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "-plugin-dir=somewhere")
    monkeypatch.setattr(provider, "REGISTRY_SECONDS", 0.1)
    Path("init").write_text(f"sleep 1; {WORKS}")  # no limit: it may be a slow disk
    assert used(capsys) == f"where {name} says"
    assert calls() == [INIT]


def test_the_users_configuration_is_tried_as_it_is(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine.home / ".terraformrc").write_text("provider_installation {}")
    assert provider.configuration() == f"where {machine.home}/.terraformrc says"
    other = machine.home / "other.tfrc"
    other.write_text("provider_installation {}")
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(other))
    Path("init").write_text(WORKS)
    assert used(capsys) == f"where {other} says"


def test_a_configuration_without_providers_changes_nothing(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.home / ".terraformrc").write_text('credentials "x" {}')
    assert provider.configuration() is None
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(machine.home / "missing"))
    assert provider.configuration() is None


def test_a_mirror_helps_where_the_users_settings_fail(
    machine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CLI_ARGS_init", "-plugin-dir=gone")
    Path("mirrored").write_text('test -z "$TF_CLI_ARGS_init"')
    (machine.home / "mirror" / AWS / "5.100.0/linux_amd64").mkdir(parents=True)
    assert used(capsys) == f"from the mirror {machine.home}/mirror (it cannot be had where TF_CLI_ARGS_init says)"


def test_an_error_in_the_code_is_not_blamed_on_the_provider(machine: Machine) -> None:
    (machine.home / "mirror" / AWS / "5.100.0/linux_amd64").mkdir(parents=True)
    Path("init").write_text("echo 'Error: Unclosed configuration block' >&2; exit 1")
    with pytest.raises(Failure, match="terraform init failed:\nError: Unclosed configuration block"):
        provider.install()
    assert calls() == [INIT]


def test_a_new_module_needs_no_registry_once_the_provider_is_there(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    (Path("terraform/.terraform/providers") / AWS / "5.100.0/linux_amd64").mkdir(parents=True)
    Path("terraform/.terraform.lock.hcl").touch()
    provider.install()
    assert calls() == ["-chdir=terraform get -no-color"]
    assert capsys.readouterr().out == ""


def test_a_missing_terraform_is_named(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(machine.home))
    with pytest.raises(Failure, match="Terraform is missing: looked for terraform on the PATH"):
        provider.install()


def test_the_version_is_the_one_of_the_code(machine: Machine) -> None:
    version, platform = provider.wanted()
    assert (version, platform) == ("5.100.0", "linux_amd64")
    assert f'version = "= {version}"' in (machine.project / "terraform/versions.tf").read_text()
