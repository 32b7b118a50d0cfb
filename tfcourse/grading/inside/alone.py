"""A worker by itself, for a container of its own: the pipe is its standard input.

The container bounds what it may do; see `tfcourse.grading.sandbox.Container`.
"""

import os

from tfcourse.grading.inside import wire
from tfcourse.grading.inside.worker import go_silent, serve
from tfcourse.grading.inside.zygote import prepare


def main() -> None:
    """Prepare, say so, and serve."""
    reads, writes = os.dup(0), os.dup(1)
    go_silent()
    token, _, settings = wire.receive(reads)
    prepare(settings["imports"], settings["modules"])
    wire.send(writes, wire.pack((token, "ready")))
    serve(reads, writes)


if __name__ == "__main__":
    main()
