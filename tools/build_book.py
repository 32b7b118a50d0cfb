"""Build the book from the committed notebooks into _build/html; a warning is a failure.

usage: python -m tools.build_book
"""

import shutil
import subprocess
import sys
from pathlib import Path

from tools.notebooks import ROOT


def main():
    # Sphinx shows a warning once: what it built before would hide it.
    for folder in ("html", ".doctrees"):
        shutil.rmtree(ROOT / "_build" / folder, ignore_errors=True)
    jupyter_book = Path(sys.executable).with_name("jupyter-book")
    command = [jupyter_book, "build", ROOT, "-W", "-n", "--keep-going"]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
