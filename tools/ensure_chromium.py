"""See that there is a Chromium for the browser tests, and print its path.

usage: python -m tools.ensure_chromium

Taken is one on the PATH; else Debian's package, where we may install it; else
Playwright's own download. Where none can be had, the browser tests are skipped with
the reason, which is a failure with CI=true.
"""

import os
import shutil
import subprocess
import sys
from functools import cache

NAMES = ("chromium", "chromium-browser", "google-chrome")
REASON = (
    "there is no Chromium that starts; what would help, or your system's own way to "
    "get one: sudo apt-get install chromium"
)


@cache
def chromium():
    """A Chromium that starts, as (path, ""), or (None, why not). Installs nothing."""
    for path in (*map(shutil.which, NAMES), _playwrights_own()):
        if path and _succeeds([path, "--version"]):
            return path, ""
    return None, REASON


def _playwrights_own():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        return playwright.chromium.executable_path


def _succeeds(command):
    try:
        quiet = subprocess.DEVNULL
        run = subprocess.run(command, stdout=quiet, stderr=quiet, check=False)
    except OSError:
        return False
    return run.returncode == 0


def install():
    """Install a Chromium, in one way after the other until one starts."""
    playwright = [sys.executable, "-m", "playwright", "install", "chromium"]
    ways = [[playwright]]
    if shutil.which("apt-get") and os.geteuid() == 0:
        apt = ["apt-get", "-o", "DPkg::Lock::Timeout=120"]
        package = [*apt, "install", "-y", "--no-install-recommends", "chromium"]
        ways = [[[*apt, "update"], package], [[*playwright, "--with-deps"]]]
    for way in ways:
        for command in way:
            print("$", *command, flush=True)
            environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run(command, env=environment, check=False)
        chromium.cache_clear()
        if chromium()[0]:
            return


def main():
    if not chromium()[0]:
        install()
    path, reason = chromium()
    print(path or f"the browser tests are skipped: {reason}")
    return path is None and os.environ.get("CI") == "true"


if __name__ == "__main__":
    sys.exit(main())
