"""Open JupyterLab on a learner's own copy of the chapters and exercises, in work/.

usage: python -m tools.lab [OPTION ...]        (options of jupyter lab: --no-browser ...)

What is already in work/ is never overwritten.
"""

import shutil
import subprocess
import sys

from tools.notebooks import ROOT, notebooks, place


def copy(root):
    """Copy the notebooks that work/ lacks; tell what was done, one line each."""
    told = []
    for path in notebooks(root, "chapters", "exercises"):
        mine = root / "work" / path.relative_to(root)
        name = place(mine, root)
        if not mine.exists():
            mine.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, mine)
            told.append(f"copied {name}")
        elif mine.read_bytes() == path.read_bytes():
            told.append(f"kept   {name}")
        else:
            told.append(f"kept   {name} (yours; rename it to get the book's as well)")
    return told


def main(arguments):
    print(*copy(ROOT), sep="\n", flush=True)
    work = ROOT / "work"
    work.mkdir(exist_ok=True)
    lab = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={work}"]
    try:
        return subprocess.call([*lab, *arguments])
    except KeyboardInterrupt:  # Ctrl-C stops the server, which says so itself
        return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
