"""Builds what Terraform deploys: build/detector.zip and build/lambda_alert.zip. Same input, same bytes."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
BUILD = ROOT / "build"


def main() -> None:
    """Writes both packages; the argument is the path of uv."""
    BUILD.mkdir(exist_ok=True)
    write_zip(BUILD / "lambda_alert.zip", alert_function_files(Path(sys.argv[1])))
    # Last: it is what make looks at to see whether the build is done.
    write_zip(BUILD / "detector.zip", detector_files())


def detector_files() -> dict[str, Path]:
    """Returns {name in the zip: file} of the Managed Flink application."""
    files = {"main.py": SOURCE / "detector" / "main.py"}
    files["lib/pyflink-dependencies.jar"] = SOURCE / "detector" / "target" / "pyflink-dependencies.jar"
    for file in (ROOT / "sql" / "detection").rglob("*.sql"):
        files[str(file.relative_to(ROOT))] = file
    return files


def alert_function_files(uv: Path) -> dict[str, Path]:
    """Returns {name in the zip: file} of the alert function and its locked dependencies, built for Lambda's Linux."""
    project = SOURCE / "lambda_alert"
    requirements = BUILD / "lambda_alert.txt"
    packages = BUILD / "lambda_alert"
    shutil.rmtree(packages, ignore_errors=True)  # or what is locked no more would stay in the zip
    run(
        *(uv, "export", "--quiet", "--locked", "--project", project, "--python", sys.executable),
        *("--no-emit-project", "--output-file", requirements),
    )
    run(
        *(uv, "pip", "install", "--quiet", "--target", packages, "--requirements", requirements),
        *("--require-hashes", "--only-binary", ":all:", "--no-compile-bytecode"),
        *("--python-version", "3.13", "--python-platform", "x86_64-manylinux2014"),
    )
    files = {f"lambda_alert/{file.name}": file for file in project.glob("*.py")}
    for file in packages.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith("."):
            files[str(file.relative_to(packages))] = file
    return files


def write_zip(target: Path, files: dict[str, Path]) -> None:
    """Writes the files under their names, sorted and undated, so that the same files give the same zip."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, file in sorted(files.items()):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            # A jar is compressed already.
            entry.compress_type = zipfile.ZIP_STORED if file.suffix == ".jar" else zipfile.ZIP_DEFLATED
            archive.writestr(entry, file.read_bytes())
    print(f"built {target.name}, {target.stat().st_size / 1e6:.1f} MB", file=sys.stderr)


def run(*command: str | Path) -> None:
    """Runs a command; CalledProcessError if it fails."""
    subprocess.run([str(part) for part in command], check=True)


if __name__ == "__main__":
    main()
