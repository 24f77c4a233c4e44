"""What Terraform deploys: build/detector.zip and build/lambda_alert.zip. The same input gives the same bytes."""

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

from detector import rulebook

ROOT = Path(__file__).resolve().parents[2]
UV = Path(".tools/bin/uv")  # where `make install` puts it

# The modules that Managed Flink imports; they use the standard library only.
DETECTOR_MODULES = ("__init__.py", "job.py", "values.py")

Files = Mapping[str, Path | str]


def build(root: Path = ROOT, uv: Path | None = None) -> None:
    """Write both packages into `build` below the root. Raise RulebookError, OSError or CalledProcessError."""
    folder = root / "build"
    folder.mkdir(exist_ok=True)
    write_zip(folder / "lambda_alert.zip", alert_function_files(root, uv or root / UV))
    # Last, because make takes this file as a sign that the build is done.
    write_zip(folder / "detector.zip", detector_files(root))


def detector_files(root: Path) -> Files:
    """Return {name in the zip: file or text} of the Managed Flink application."""
    source = root / "src" / "detector"
    book = rulebook.read(root / "sql" / "detection").plain()
    return {
        "main.py": source / "main.py",
        "rulebook.json": json.dumps(book, indent=1) + "\n",
        "lib/pyflink-dependencies.jar": source / "target" / "pyflink-dependencies.jar",
        **{f"detector/{name}": source / name for name in DETECTOR_MODULES},
    }


def alert_function_files(root: Path, uv: Path) -> Files:
    """Return {name in the zip: file} of the alert function and its locked dependencies, built for Lambda's Linux."""
    project = root / "src" / "lambda_alert"
    requirements = root / "build" / "lambda_alert.txt"
    packages = root / "build" / "lambda_alert"
    # Otherwise a package that is no longer locked would stay in the zip.
    shutil.rmtree(packages, ignore_errors=True)
    run(
        *(uv, "export", "--quiet", "--locked", "--project", project, "--python", sys.executable),
        *("--no-emit-project", "--output-file", requirements),
    )
    run(
        *(uv, "pip", "install", "--quiet", "--target", packages, "--requirements", requirements),
        *("--require-hashes", "--only-binary", ":all:", "--no-compile-bytecode"),
        *("--python-version", "3.13", "--python-platform", "x86_64-manylinux2014"),
    )
    files = {f"lambda_alert/{file.name}": file for file in [*project.glob("*.py"), *project.glob("*.json")]}
    for file in packages.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts and not file.name.startswith("."):
            files[str(file.relative_to(packages))] = file
    return files


def write_zip(target: Path, files: Files) -> None:
    """Write the files under their names, sorted and undated, so that the same files give the same zip.

    A zip that is not complete never has the target's name: make would take it for done.
    """
    partial = target.with_suffix(".partial")
    with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.external_attr = 0o644 << 16
            # A jar is compressed already.
            entry.compress_type = zipfile.ZIP_STORED if name.endswith(".jar") else zipfile.ZIP_DEFLATED
            archive.writestr(entry, content if isinstance(content, str) else content.read_bytes())
    partial.replace(target)
    print(f"built {target.name}, {target.stat().st_size / 1e6:.1f} MB", file=sys.stderr)


def run(*command: str | Path) -> None:
    """Run a command. Raise CalledProcessError if it fails."""
    subprocess.run([str(part) for part in command], check=True)
