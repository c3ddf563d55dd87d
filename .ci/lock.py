"""Writes the locked, hashed requirements from pyproject.toml. Run by `make lock` with a Python that has uv beside it."""

import subprocess
import sys
from pathlib import Path

UV = Path(sys.executable).parent / "uv"
OPTIONS = (
    "--universal",
    "--generate-hashes",
    "--no-emit-index-url",
    "--no-header",
    "--no-annotate",
    "--python-version",
    "3.11",
)
# test.txt first: the others are parts of it and keep its versions.
FILES = {
    "test": ("pyproject.toml", "--all-extras", "--group", "test"),
    "run": ("pyproject.toml", "--constraints", "requirements/test.txt"),
    "build": ("--group", "pyproject.toml:build", "--constraints", "requirements/test.txt"),
}

for name, what in FILES.items():
    target = Path("requirements") / f"{name}.txt"
    extra = sys.argv[1:] if name == "test" else ["--upgrade"]  # upgrading within the constraints only follows test.txt
    command = [UV, "pip", "compile", "--quiet", *OPTIONS, *what, *extra, "--output-file", target]
    subprocess.run(command, check=True)  # noqa: S603 - the arguments are this file's own
    print(f"{target}: {sum('==' in line for line in target.read_text().splitlines())} packages")  # noqa: T201 - a script
