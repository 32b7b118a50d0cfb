"""See that bubblewrap makes a sandbox here, for the tests of grading.

usage: python -m tools.ensure_bubblewrap

Where it is missing and we may install packages, Debian's is installed. Where there is no
sandbox, these tests are skipped with the reason, which is a failure with CI=true.
"""

import os
import shutil
import subprocess
import sys

REASON = (
    "bubblewrap makes no sandbox here; what would help, or your system's own way: "
    "sudo apt-get install bubblewrap (and, in a container, the right to use it)"
)
TRY = "bwrap --unshare-pid --unshare-net --ro-bind / / --dev /dev --proc /proc true"


def works():
    """Whether bubblewrap is there and may do what grading asks of it."""
    if not shutil.which("bwrap"):
        return False
    return subprocess.run(TRY.split(), capture_output=True, check=False).returncode == 0


def install():
    """Install Debian's package, where we may."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        apt = ["apt-get", "-o", "DPkg::Lock::Timeout=120"]
        for command in ("update", "install -y --no-install-recommends bubblewrap"):
            print("$", *apt, command, flush=True)
            environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run([*apt, *command.split()], env=environment, check=False)


def main():
    if not works():
        install()
    there = works()
    print("bubblewrap works" if there else f"tests of grading are skipped: {REASON}")
    return not there and os.environ.get("CI") == "true"


if __name__ == "__main__":
    sys.exit(main())
