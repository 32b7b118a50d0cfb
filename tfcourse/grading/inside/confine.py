"""How a worker is shut in: namespaces of its own, limits, no privileges, few calls.

bubblewrap has taken away the network and the files before any of this runs. What is
done here keeps one submission from the next: each gets its own processes, its own
`/tmp`, and nothing that it may change in the zygote from which it is forked.
"""

import ctypes
import os
import platform
import resource
import struct

LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]
NEW_MOUNTS, NEW_PIDS, NEW_IPC, NEW_NET = 0x20000, 0x20000000, 0x8000000, 0x40000000
PRIVATE, NOSUID, NODEV, NOEXEC = 0x40000 | 0x4000, 2, 4, 8
BIND_ALL = 0x1000 | 0x4000  # with what is mounted below
DIE_WITH_PARENT, DUMPABLE, SECCOMP, BOUNDING, NO_NEW_PRIVILEGES = 1, 4, 22, 24, 38

# What no answer needs, by name and number on x86-64 and 64-bit ARM:
# making memory that no process is charged for, looking into others, the kernel's keys.
FORBIDDEN = (
    ("socket", 41, 198),
    ("unshare", 272, 97),
    ("setns", 308, 268),
    ("mount", 165, 40),
    ("umount2", 166, 39),
    ("pivot_root", 155, 41),
    ("chroot", 161, 51),
    ("ptrace", 101, 117),
    ("process_vm_readv", 310, 270),
    ("process_vm_writev", 311, 271),
    ("add_key", 248, 217),
    ("request_key", 249, 218),
    ("keyctl", 250, 219),
    ("bpf", 321, 280),
    ("perf_event_open", 298, 241),
    ("userfaultfd", 323, 282),
    ("io_uring_setup", 425, 425),
    ("memfd_create", 319, 279),
    ("memfd_secret", 447, 447),
    ("shmget", 29, 194),
    ("msgget", 68, 186),
    ("semget", 64, 190),
    ("mq_open", 240, 180),
    ("open_tree", 428, 428),
    ("move_mount", 429, 429),
    ("fsopen", 430, 430),
    ("mount_setattr", 442, 442),
    ("open_by_handle_at", 304, 265),
    ("pidfd_getfd", 438, 438),
    ("init_module", 175, 105),
    ("finit_module", 313, 273),
    ("kexec_load", 246, 104),
    ("syslog", 103, 116),
    ("swapon", 167, 224),
)
MACHINES = {"x86_64": (0xC000003E, 1, 56), "aarch64": (0xC00000B7, 2, 220)}
CLONE3 = 435
NEW_NAMESPACE = 0x7E020080  # any of the flags that make one
ALLOW, NO_SUCH_CALL, REFUSE, KILL = 0x7FFF0000, 0x50026, 0x50001, 0x80000000


def _must(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(kind: str, place: str, flags: int, options: str = "") -> None:
    arguments = (kind.encode(), place.encode(), kind.encode(), flags, options.encode())
    _must(LIBC.mount(*arguments), f"mount {kind} on {place}")


def new_namespaces() -> None:
    """From here on, children are numbered from 1, and mounts stay among themselves."""
    _must(LIBC.unshare(NEW_MOUNTS | NEW_PIDS | NEW_IPC | NEW_NET), "unshare")


def fresh_files(megabytes: int, kept: list[str]) -> None:
    """An empty, bounded /tmp and a /proc of the own processes; no more can change.

    Folders in /tmp that are kept, such as Python's own, are there again, as they were.
    """
    held = [os.open(path, os.O_PATH) for path in kept]
    _must(LIBC.mount(None, b"/", None, PRIVATE, None), "mount private")
    size = f"size={megabytes}m,nr_inodes=4096,mode=1777"
    _mount("proc", "/proc", NOSUID | NODEV | NOEXEC)
    _mount("tmpfs", "/tmp", NOSUID | NODEV, size)
    _mount("tmpfs", "/dev/shm", NOSUID | NODEV | NOEXEC, size)
    for path, fd in zip(kept, held, strict=True):
        os.makedirs(path, exist_ok=True)
        same, place = f"/proc/self/fd/{fd}".encode(), path.encode()
        _must(LIBC.mount(same, place, None, BIND_ALL, None), f"mount {path} again")
        os.close(fd)
    os.chdir("/tmp")


def prctl(option: int, *values: int) -> None:
    _must(LIBC.prctl(option, *(values + (0, 0, 0, 0))[:4]), f"prctl {option}")


def limit(memory: int, seconds: int, megabytes: int, processes: int) -> None:
    """Bounds on each process; the sums over processes are the watcher's business."""
    with open("/proc/self/statm") as file:
        already = int(file.read().split()[0]) * resource.getpagesize()
    for what, most in (
        (resource.RLIMIT_AS, already + memory),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, megabytes << 20),
        (resource.RLIMIT_NPROC, processes),
        (resource.RLIMIT_NOFILE, 128),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_MSGQUEUE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def give_up_privileges(user: int | None) -> None:
    """Another user, where one is named; no capability, now or by any program."""
    for capability in range(64):
        if LIBC.prctl(BOUNDING, capability, 0, 0, 0):
            break  # either all are dropped, or dropping is not ours to do
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    header, nothing = struct.pack("Ii", 0x20080522, 0), bytes(24)
    _must(LIBC.capset(header, nothing), "capset")
    prctl(NO_NEW_PRIVILEGES, 1)


def forbid_calls() -> None:
    """Install the filter; on a machine whose numbers are unknown, refuse to go on."""
    name = platform.machine()
    if name not in MACHINES:
        raise OSError(f"no table of system calls for {name}: use a container there")
    program = b"".join(struct.pack("HBBI", *step) for step in _filter(*MACHINES[name]))
    buffer = ctypes.create_string_buffer(program, len(program))
    address = ctypes.addressof(buffer)
    filter_ = struct.pack("HxxxxxxQ", len(program) // 8, address)
    _must(LIBC.prctl(SECCOMP, 2, filter_, 0, 0), "seccomp")


def _filter(architecture: int, column: int, clone: int) -> list[tuple]:
    """The steps of a Berkeley packet filter over the number and flags of a call."""
    load, equal, at_least, some, leave = 0x20, 0x15, 0x35, 0x45, 0x06
    steps = [
        (load, 0, 0, 4),  # the architecture
        (equal, 1, 0, architecture),
        (leave, 0, 0, KILL),
        (load, 0, 0, 0),  # the number of the call
        (at_least, 0, 1, 0x40000000),  # the second table of x86-64
        (leave, 0, 0, KILL),
        (equal, 0, 1, CLONE3),  # its flags lie in memory; the C library does without
        (leave, 0, 0, NO_SUCH_CALL),
    ]
    for call in FORBIDDEN:
        steps += [(equal, 0, 1, call[column]), (leave, 0, 0, REFUSE)]
    return steps + [
        (equal, 0, 3, clone),
        (load, 0, 0, 16),  # its flags
        (some, 0, 1, NEW_NAMESPACE),
        (leave, 0, 0, REFUSE),
        (leave, 0, 0, ALLOW),
    ]
