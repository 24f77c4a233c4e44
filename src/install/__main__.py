"""Find a Python that can run the installer. Any Python 3 must be able to read this file."""

import os
import shutil
import subprocess
import sys

if sys.version_info < (3, 11):  # noqa: UP036
    for name in ("python3.13", "python3.12", "python3.11", "python3.14"):
        found = shutil.which(name)
        # pyenv puts Pythons on the PATH that do not start.
        if found and subprocess.call([found, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            os.execv(found, [found, "-m", "install"] + sys.argv[1:])  # noqa: RUF005
    sys.exit(
        "error: Python 3.11 or later is needed, but %s is Python %d.%d, and the PATH has no python3.11 to "  # noqa: UP031
        "python3.14. If you have one elsewhere, call make with PYTHON=/path/to/python3. To install one: "
        "Debian 12 or Ubuntu 24.04 and later: apt install python3 python3-venv; macOS: brew install python@3.13"
        % (sys.executable, sys.version_info[0], sys.version_info[1])
    )

from install.main import main

sys.exit(main(sys.argv[1:]))
