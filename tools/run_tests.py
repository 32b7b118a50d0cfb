"""Run the tests of the course, quick ones first; all of them, though one may fail.

usage: python -m tools.run_tests [--list | STEP ...]
"""

import subprocess
import sys
import time
from dataclasses import dataclass

from tools.environment import ENVIRONMENT, inside
from tools.notebooks import ROOT


@dataclass(frozen=True)
class Step:
    """One step: its name, what it shows, its command, and the step it builds upon."""

    name: str
    title: str
    command: str  # a Python module and its arguments
    needs: str = ""


NBVAL = "--nbval --nbval-current-env --nbval-cell-timeout 300"
STEPS = (
    Step("format", "the code is formatted", "ruff format --check"),
    Step("lint", "the code has no lint", "ruff check"),
    Step("weave", "chapters and package agree", "tools.weave --check"),
    Step(
        "exercises",
        "the exercises follow from the solutions",
        "tools.make_exercises --check",
    ),
    Step("notebooks", "the notebooks are in order", "tools.check_notebooks"),
    Step(
        "sandbox",
        "there is a sandbox for the tests of grading",
        "tools.ensure_bubblewrap",
    ),
    Step(
        "unit", "the package, the checks, the tools", "pytest -n 2 --ignore tests/site"
    ),
    Step("doctest", "the examples", "pytest -n 2 --doctest-modules tfcourse"),
    Step(
        "nbval",
        "every notebook gives its stored outputs again",
        f"pytest -n 2 --dist loadfile {NBVAL} chapters solutions",
    ),
    Step("book", "the book builds without a warning", "tools.build_book"),
    Step("chromium", "there is a browser for the next step", "tools.ensure_chromium"),
    Step("site", "the book in the browser", "pytest -n 2 tests/site", needs="book"),
)


def run(steps):
    """Run the steps, telling how each goes; return the names of those that failed."""
    failed, times = [], []
    for number, step in enumerate(steps, 1):
        print(f"\n[{number}/{len(steps)}] {step.name}: {step.title}", flush=True)
        if step.needs in failed:
            print(f"left out, for {step.needs!r} failed")
            failed.append(step.name)
            continue
        print(f"$ python -m {step.command}", flush=True)
        start = time.perf_counter()
        command = [sys.executable, "-m", *step.command.split()]
        environment = inside(ENVIRONMENT) if "pytest" in command else None
        if subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode:
            failed.append(step.name)
        times.append((step.name, time.perf_counter() - start))
    print()
    for name, seconds in times:
        print(f"{'FAILED' if name in failed else 'passed'} {name:10} {seconds:6.1f} s")
    return failed


def main(arguments):
    if arguments == ["--list"]:
        for step in STEPS:
            print(f"{step.name:10} {step.title}")
        return 0
    unknown = set(arguments) - {step.name for step in STEPS}
    if unknown:
        sys.exit(f"no such step: {', '.join(sorted(unknown))}; see --list")
    failed = run([step for step in STEPS if not arguments or step.name in arguments])
    if failed:
        again = " ".join(failed)
        print(f"\nfailed: {', '.join(failed)}; again: make test STEPS='{again}'")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
