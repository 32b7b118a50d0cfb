"""The first process of the sandbox: imports what answers need, once, and forks workers.

It reads requests from its standard input, a socket. The first is a message that says
which modules to import, which to make from text (what `tfcourse.checks` is in here),
and the limits. Each further one is a byte with two descriptors: the pipe of a worker,
and its leash. The worker and all its children end when the leash does.
"""

import gc
import importlib
import os
import select
import signal
import socket
import sys
import types
from contextlib import suppress

from tfcourse.grading.inside import confine, wire
from tfcourse.grading.inside.worker import go_silent, serve

NO_WORKER = "there is no worker: "
LOOK = 0.02  # seconds between two looks at what the worker's processes hold


def main() -> None:
    """Prepare, say so, and fork a worker for each request."""
    control = socket.socket(fileno=0)
    try:
        settings = wire.receive(0)
        prepare(settings["imports"], settings["modules"])
        confine.prctl(confine.DUMPABLE, 0)
    except Exception as error:  # noqa: BLE001 - the grader is told, and stops
        wire.send(0, wire.pack(f"{type(error).__name__}: {error}"))
        return
    wire.send(0, wire.pack("ready"))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the workers
    while True:
        byte, descriptors, _, _ = socket.recv_fds(control, 1, 2)
        if not byte:
            return
        if os.fork() == 0:
            control.close()
            become_a_worker(*descriptors, settings)
        for descriptor in descriptors:
            os.close(descriptor)


def prepare(imports: list[str], modules: dict[str, str]) -> None:
    """Import, and make the modules that are given as text."""
    for name in sorted(modules):  # a package before what is in it
        module = types.ModuleType(name)
        module.__path__ = []
        sys.modules[name] = module
        parent, _, own = name.rpartition(".")
        setattr(importlib.import_module(parent), own, module)
    for name, text in modules.items():
        code = compile(text, f"<{name}>", "exec")
        exec(code, sys.modules[name].__dict__)  # noqa: S102 - the course's own
    for name in imports:
        with suppress(ImportError):  # an answer that needs it will hear so
            importlib.import_module(name)
    import torch

    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # so that no collection in a worker touches, and copies, all of it


def become_a_worker(pipe: int, leash: int, settings: dict) -> None:
    """Fork into new namespaces; the first process there watches, the second works."""
    try:
        confine.prctl(confine.DIE_WITH_PARENT, signal.SIGKILL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        confine.new_namespaces()
        if os.fork():
            os.close(pipe)
            os.close(leash)
            os.wait()
            os._exit(0)
        confine.prctl(confine.DIE_WITH_PARENT, signal.SIGKILL)
        os.setsid()
        confine.fresh_files(settings["disk"], settings["kept"])
        worker = os.fork()
        if worker == 0:
            work(pipe, leash, settings)
        os.close(pipe)
        watch(worker, leash, settings)
    except BaseException as error:  # noqa: BLE001 - nothing may get past here
        complain(leash, error)
    os._exit(1)


def work(pipe: int, leash: int, settings: dict) -> None:
    """Give up all rights, and run the learner's cells."""
    give_up_rights(leash, settings)
    os.close(leash)
    os.register_at_fork(after_in_child=lambda: os.close(pipe))  # one speaks
    try:
        serve(pipe, pipe)
    finally:
        os._exit(0)


def give_up_rights(leash: int, settings: dict) -> None:
    """All of them; or tell why not, and end."""
    try:
        confine.prctl(confine.DUMPABLE, 1)  # its own /proc/self is its own again
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # if memory runs out, this goes first
        os.setsid()
        go_silent()
        confine.limit(
            settings["memory"],
            settings["seconds"],
            settings["disk"],
            settings["processes"],
        )
        confine.give_up_privileges(settings["user"])
        confine.forbid_calls()
    except BaseException as error:  # noqa: BLE001 - no cell may run then
        complain(leash, error)
        os._exit(1)


def complain(leash: int, error: BaseException) -> None:
    """Tell the grader that there is no worker, and why."""
    with suppress(OSError):
        os.write(leash, f"{NO_WORKER}{type(error).__name__}: {error}\n".encode()[:500])


def watch(worker: int, leash: int, settings: dict) -> None:
    """Until the worker ends, holds too much, or the grader lets go: then end all."""
    poll = select.poll()
    poll.register(leash, select.POLLIN)
    shared = _resident("self")
    why = ""
    while not why:
        if poll.poll(LOOK * 1000):
            why = "let go"
        ended, status = _reap(worker)
        if ended:
            why = f"ended {os.waitstatus_to_exitcode(status)}"
        processes = [n for n in os.listdir("/proc") if n.isdecimal() and n != "1"]
        held = sum(max(0, _resident(n) - shared) for n in processes)
        if held > settings["memory"]:
            why = "memory"
        elif len(processes) > settings["processes"]:
            why = "processes"
    with suppress(OSError):
        os.kill(-1, signal.SIGKILL)
    with suppress(OSError):
        os.write(leash, why.encode())
    os._exit(0)  # and with the first process, the kernel ends all others


def _reap(worker: int) -> tuple[bool, int]:
    """Whether the worker has ended, and how; the orphans that ended are forgotten."""
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return True, 0
        if ended in (0, worker):
            return ended == worker, status


def _resident(process: str) -> int:
    """Bytes of memory that a process holds, files aside; 0 where it has ended."""
    total = 0
    with suppress(OSError), open(f"/proc/{process}/status") as file:
        for line in file:
            if line.startswith(("RssAnon:", "RssShmem:")):
                total += int(line.split()[1]) << 10
    return total


if __name__ == "__main__":
    main()
