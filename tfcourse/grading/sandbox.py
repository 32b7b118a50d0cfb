"""Where answers are run: a sandbox made by bubblewrap, or a container that is named.

Both give `Connection`s to workers. Nothing is graded where neither is to be had.
"""

import atexit
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tfcourse.grading import handed
from tfcourse.grading.inside import wire
from tfcourse.notebook.chapters import CHAPTERS, Chapter

PACKAGE = Path(__file__).parents[1]
STARTING = 120  # seconds for torch to be imported, on a busy machine
LEASH = 10  # seconds for a worker that is let go to be gone
UNPRIVILEGED = 1_610_000_000  # the user as whom answers run where the grader is root
RIGHTS = ("CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_KILL")
LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
INSTALL = """\
Answers are run in a sandbox made by bubblewrap, and {problem}.
  Debian, Ubuntu: sudo apt install bubblewrap
  Fedora:         sudo dnf install bubblewrap
Where it is installed and forbidden (often so within a container), either allow it:
  Ubuntu:         sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0
  Debian:         sudo sysctl kernel.unprivileged_userns_clone=1
  Docker:         docker run --cap-add SYS_ADMIN --security-opt seccomp=unconfined \\
                  --security-opt apparmor=unconfined ...
or name an image that has the course installed, to run each submission in a container
of its own: --container IMAGE. Nothing was run, and nothing was graded."""


class NoSandbox(Exception):
    """There is no way to run answers safely; the message says what to do."""


@dataclass(frozen=True)
class Limits:
    """Bounds on what a submission may use; what is beyond costs the exercise."""

    call: float = 20  # seconds for one call of a check
    cell: float = 60  # seconds for one cell
    submission: float = 240  # seconds for all of it
    memory: int = 2 << 30  # bytes, of all its processes together
    disk: int = 64  # megabytes in /tmp
    processes: int = 64  # and threads


class Connection:
    """A worker, as the grader holds it: a pipe, and the way to be rid of it."""

    def __init__(self, reads: int, writes: int, end):
        self._reads, self._writes, self._end = reads, writes, end
        self.ended = ""  # why, once it has
        for fd in (reads, writes):
            os.set_blocking(fd, False)

    def ask(self, request: tuple, patience: wire.Patience) -> tuple:
        """The worker's answer; TimeoutError, EOFError, OSError or WireError without."""
        token = secrets.token_hex(8)  # an answer that came before its question has none
        wire.send(self._writes, wire.pack((token, *request)), patience)
        match wire.receive(self._reads, patience):
            case (str(same), *answer) if same == token:
                return tuple(answer)
        raise wire.WireError("no answer to what was asked")

    def close(self) -> str:
        """End the worker and all that it started; what is known of why it had ended."""
        if not self.ended:
            for fd in {self._reads, self._writes}:
                os.close(fd)
            self.ended = self._end() or "unknown"
        return self.ended


def settings(limits: Limits, chapters: tuple[Chapter, ...], user: int | None) -> dict:
    """What the first message to a zygote says."""
    imports = ["torch", "numpy", "torch._dynamo", "torch.utils.flop_counter"]
    imports += ["matplotlib.pyplot", "IPython.display", "tfcourse.notebook"]
    imports += [f"tfcourse.{m}" for chapter in chapters for m in chapter.modules]
    imports += ["tfcourse.data.corpus", "tfcourse.data.commands", "tfcourse.widgets"]
    return {
        "imports": imports,
        "modules": handed.modules(chapters),
        "memory": limits.memory,
        "seconds": round(limits.submission) + 1,
        "disk": limits.disk,
        "kept": [place for place in _pythons() if place.startswith("/tmp/")],
        "processes": limits.processes,
        "user": user,
    }


def command(root: bool) -> list[str]:
    """The call of bubblewrap: Python's files and the course's modules, read-only."""
    program = os.path.realpath(shutil.which("bwrap") or "bwrap")
    own = ["--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    rights = ["--cap-drop", "ALL", *(x for r in RIGHTS for x in ("--cap-add", r))]
    if not root:  # one user, who may make no other namespace of users
        own += ["--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000"]
    return [
        *(program, *own, "--unshare-cgroup-try", *rights),
        *("--die-with-parent", "--new-session", "--clearenv"),
        *(x for pair in environment().items() for x in ("--setenv", *pair)),
        *("--tmpfs", "/tmp", *_files(), "--proc", "/proc", "--dev", "/dev"),
        *("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp", "--"),
        *(os.path.abspath(sys.executable), "-P", "-s"),
        *("-m", "tfcourse.grading.inside.zygote"),
    ]


def environment() -> dict[str, str]:
    """All that answers see of it."""
    return {
        "PYTHONPATH": os.pathsep.join(("/course", *_packages())),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHASHSEED": "0",
        "HOME": "/tmp",
        "LANG": "C.UTF-8",
        "MPLBACKEND": "agg",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "TFCOURSE_DEVICE": "cpu",
    }


def _packages() -> list[str]:
    """Where packages are installed: with Python, or by a user for himself."""
    return [p for p in sys.path if Path(p).name in ("site-packages", "dist-packages")]


def _pythons() -> list[str]:
    """The folders of Python, and of packages that lie apart from it."""
    prefixes = map(os.path.realpath, (sys.base_prefix, sys.prefix))
    found = ["/usr/bin" if prefix == "/usr" else prefix for prefix in prefixes]
    around = *LIBRARIES, *found
    apart = (
        p for p in _packages() if not any(Path(p).is_relative_to(b) for b in around)
    )
    return [*found, *apart]


def _files() -> list[str]:
    """Arguments that bind what answers may read."""
    binds = {place: place for place in LIBRARIES}
    binds |= {"/etc/ld.so.cache": "/etc/ld.so.cache"}
    binds |= {place: place for place in _pythons()}
    links = []
    for place in ("/lib", "/lib64", "/bin"):
        if os.path.islink(place):
            links += ["--symlink", os.readlink(place), place]
        else:
            binds[place] = place
    hidden = {"__pycache__", "checks", "grading"}
    kept = [p.name for p in sorted(PACKAGE.iterdir()) if p.name not in hidden]
    for name in (*kept, "grading/__init__.py", "grading/inside"):
        binds[f"/course/tfcourse/{name}"] = str(PACKAGE / name)
    # all may pass through a folder that only holds what is bound
    parents = dict.fromkeys(str(p) for b in binds for p in [*Path(b).parents][-2::-1])
    folders = [x for p in parents for x in ("--perms", "0755", "--dir", p)]
    bound = [x for to, here in binds.items() for x in ("--ro-bind-try", here, to)]
    return [*folders, *bound, *links, *_masks()]


def _masks() -> list[str]:
    """Arguments that hide an installed copy of the course, which has the checks in it."""
    copies = [
        str(place / "tfcourse")
        for place in map(Path, _packages())
        if (place / "tfcourse").is_dir()
    ]
    return [x for c in copies for x in ("--tmpfs", c, "--remount-ro", c)]


class Sandbox:
    """A zygote in bubblewrap, from which a worker is forked for each submission."""

    def __init__(self, limits: Limits, chapters: tuple[Chapter, ...] = CHAPTERS):
        self._settings = limits, chapters
        self._process = self._control = None

    def start(self) -> None:
        """Start the zygote; NoSandbox where that is not possible."""
        if sys.platform != "linux":
            raise NoSandbox(INSTALL.format(problem=f"there is none for {sys.platform}"))
        if not shutil.which("bwrap"):
            raise NoSandbox(INSTALL.format(problem="there is no `bwrap` here"))
        root = os.getuid() == 0
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                command(root), stdin=theirs, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )  # fmt: skip
        atexit.register(self.close)
        user = UNPRIVILEGED + os.getpid() % 100_000 if root else None
        first = wire.pack(settings(*self._settings, user))
        patience = wire.Patience(STARTING)
        try:
            wire.send(self._control.fileno(), first, patience)
            told = wire.receive(self._control.fileno(), patience)
        except (OSError, EOFError, wire.WireError) as error:
            told = f"{type(error).__name__}: {error}"
        if told == "ready":
            told = self._tried()
        if told != "ready":
            self._process.kill()
            said = self._process.stderr.read().decode("utf-8", "replace").split("\n")
            problem = f"it does not start ({' '.join(said)[-300:].strip() or told})"
            raise NoSandbox(INSTALL.format(problem=problem))

    def _tried(self) -> str:
        """Whether a worker answers, or why not."""
        worker, answer = self._fork(), None
        with suppress(OSError, EOFError, wire.WireError):
            answer = worker.ask(("echo", ("ready",)), wire.Patience(STARTING))
        why = worker.close()
        return "ready" if answer == ("value", "ready") else why

    def worker(self) -> Connection:
        """A fresh worker that has seen no submission."""
        if self._process is None or self._process.poll() is not None:
            self.start()
        return self._fork()

    def _fork(self) -> Connection:
        mine, theirs = socket.socketpair()
        leash, other = socket.socketpair()
        with theirs, other:
            fds = [theirs.fileno(), other.fileno()]
            socket.send_fds(self._control, [b"w"], fds)
        pipe = mine.detach()
        return Connection(pipe, pipe, lambda: self._let_go(leash))

    def _let_go(self, leash: socket.socket) -> str:
        """Hang up; the watcher ends the worker, and says why if it had ended before."""
        leash.settimeout(LEASH)
        why = b""
        try:
            with suppress(OSError):
                leash.shutdown(socket.SHUT_WR)
            while part := leash.recv(500):
                why += part
        except OSError:  # the watcher is stuck: away with the whole sandbox
            self.close()
        leash.close()
        return why.decode("utf-8", "replace")

    def close(self) -> None:
        """End the zygote, and with it all that is in the sandbox."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            process.stderr.close()
            self._control.close()


class Container:
    """Another way where bubblewrap is not to be had: a container for each submission.

    The image must have this version of the course installed. Its worker imports torch
    each time, which takes seconds.
    """

    def __init__(
        self, image: str, limits: Limits, chapters: tuple[Chapter, ...] = CHAPTERS
    ):
        self._image, self._limits, self._chapters = image, limits, chapters

    def command(self, name: str) -> list[str]:
        """The call of podman or docker, whichever is there."""
        runtime = shutil.which("podman") or shutil.which("docker")
        if runtime is None:
            raise NoSandbox(
                f"--container {self._image} needs podman or docker, and neither is here."
            )
        limits = self._limits
        bounds = [
            *(f"--memory={limits.memory + (1 << 30)}", "--cpus=1"),
            *(f"--pids-limit={limits.processes}", "--ulimit=core=0"),
            f"--tmpfs=/tmp:rw,size={limits.disk}m",
        ]
        rights = ["--network=none", "--read-only", "--cap-drop=ALL", "--user=65534"]
        rights += ["--security-opt=no-new-privileges", "--workdir=/tmp"]
        variables = {n: v for n, v in environment().items() if n != "PYTHONPATH"}
        return [
            *(runtime, "run", "--rm", "--interactive", f"--name={name}"),
            *(*rights, *bounds, *(f"--env={n}={v}" for n, v in variables.items())),
            *(self._image, "python", "-m", "tfcourse.grading.inside.alone"),
        ]

    def worker(self) -> Connection:
        """A container that has seen no submission."""
        name = f"tfcourse-{os.getpid()}-{time.monotonic_ns()}"
        process = subprocess.Popen(
            self.command(name), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, bufsize=0,
        )  # fmt: skip
        reads, writes = os.dup(process.stdout.fileno()), os.dup(process.stdin.fileno())
        process.stdin.close()
        process.stdout.close()
        made = Connection(reads, writes, lambda: self._remove(name, process))
        first = settings(self._limits, self._chapters, None)
        try:
            (told,) = made.ask(("start", first), wire.Patience(STARTING))
        except (OSError, EOFError, wire.WireError) as error:
            told = error
        if told != "ready":
            made.close()
            raise NoSandbox(f"the container {self._image} does not start: {told!r}")
        return made

    def _remove(self, name: str, process: subprocess.Popen) -> str:
        runtime = self.command(name)[0]
        gone = subprocess.run(
            [runtime, "rm", "--force", name], capture_output=True, check=False
        )
        process.kill()
        process.wait()
        return f"removed {gone.returncode}"

    def close(self) -> None:
        """Nothing is kept between submissions."""
