"""Weave the package's text into the chapters, or prove that all of it is there.

usage: python -m tools.weave [--check]

A woven cell begins with a line such as `# tfcourse.recurrent: rnn_step` (or
`# tfcourse.recurrent: imports`) and holds below it exactly that text of the package.
Without an argument, the tool writes those cells. With --check it writes nothing and
proves, from the syntax trees alone:

W1  every woven cell equals the package's text, byte for byte;
W2  a teaching module holds a docstring, one import block, constants, functions and
    classes, none too long to be shown, and its chapter weaves each once, in order;
W3  a chapter imports only what earlier chapters built; its exercises and solutions
    may import its own modules too; nobody imports the bare package;
W4  a module imports only what was built before it, and data; the rooms (notebook, data,
    widgets) import no teaching module, and the checks of a chapter nothing later;
    nobody imports the room of the graders.

It also keeps the cloud cell: where `_config.yml` names the repository's address, the
first code cell of every notebook fetches the course if it is not installed.
"""

import ast
import re
import sys
from contextlib import suppress

import yaml
from nbformat.v4 import new_code_cell

from tools.notebooks import (
    FOLDERS,
    ROOT,
    code_cells,
    heading,
    notebooks,
    place,
    read,
    registry,
    tags,
    write,
)

LONGEST = 40  # lines of a definition beside its docstrings; blank ones do not count
LONGEST_DOCSTRING = 12

CLOUD = """\
# On a cloud machine this fetches the course; where it is installed, nothing happens.
import importlib.util

if importlib.util.find_spec("tfcourse") is None:
    %pip install --quiet --no-deps "git+{url}@{branch}"
    %pip install --quiet anywidget einops sacrebleu safetensors tiktoken tokenizers"""


# The package's side: W2 and W4


def pieces(source):
    """The pieces of a teaching module, {name: text}, in order; and what breaks W2.

    A problem is a pair: the line, and what is wrong there.
    """
    lines = source.split("\n")
    found, problems, seen = {}, [], set()
    block, previous = 0, None
    tree = ast.parse(source)
    first = 1 if ast.get_docstring(tree) is not None else 0
    if first:
        seen.update(range(1, tree.body[0].end_lineno + 1))
    else:
        problems.append((1, "no docstring: begin with one that says what this is for"))
    for node in tree.body[first:]:
        name = _name(node)
        starts = [node, *getattr(node, "decorator_list", ())]
        start, end = min(n.lineno for n in starts), node.end_lineno
        if name is None:
            problems.append((start, "only imports, constants, functions and classes"))
        elif start in seen:
            problems.append((start, "two statements share a line: give each its own"))
        elif name == previous == "imports":
            start = block  # the import block goes on
        elif name in found:
            problems.append((start, f"a second {name!r}: keep one"))
        if name:
            found[name] = "\n".join(lines[start - 1 : end])
        seen.update(range(start, end + 1))
        block, previous = start, name
        problems += _too_long(node, lines)
    for number, line in enumerate(lines, 1):
        if line.strip() and number not in seen:
            problems.append((number, "text outside a definition: move it inside one"))
    return found, problems


def _name(node):
    match node:
        case ast.Import() | ast.ImportFrom():
            return "imports"
        case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case ast.Assign(targets=[ast.Name(id=name)]):
            return name
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr()):
            return name
    return None


def _too_long(node, lines):
    """What in a definition is too long to be shown in one cell."""
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        return

    def count(first, last):
        return sum(bool(line.strip()) for line in lines[first - 1 : last])

    length = count(node.lineno, node.end_lineno)
    for inner in ast.walk(node):
        if not isinstance(inner, ast.FunctionDef | ast.ClassDef):
            continue
        text = ast.get_docstring(inner)
        if text is None:
            continue
        length -= count(inner.body[0].lineno, inner.body[0].end_lineno)
        size = sum(bool(line.strip()) for line in text.splitlines())
        if size > LONGEST_DOCSTRING:
            message = f"the docstring of {inner.name} has {size} lines: at most "
            yield inner.lineno, message + f"{LONGEST_DOCSTRING}, please"
    if length > LONGEST:
        message = f"{node.name} has {length} lines beside its docstrings: make "
        yield node.lineno, message + f"functions of its parts, {LONGEST} at most"


def imported(tree):
    """What is imported of tfcourse: names of modules and rooms, "" for the package."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                targets = [alias.name for alias in names]
            case ast.ImportFrom(module=module, level=0):
                targets = [module]
            case ast.ImportFrom():
                targets = ["tfcourse"]  # relative imports hide what they name
            case _:
                continue
        for target in targets:
            package, _, rest = target.partition(".")
            if package == "tfcourse":
                yield rest.partition(".")[0]


GRADING = "grading"  # a room that is open to itself alone


def import_problems(tree, chapters, limit, rooms, own=()):
    """What these take beyond the chapters up to `limit`, these rooms and own modules."""
    built = {module: c.number for c in chapters for module in c.modules}
    may = f"modules of chapters up to {limit}" if limit else "no chapter's module"
    for name in imported(tree):
        if not name:
            yield (
                "imports the bare package, or relatively: write "
                "`from tfcourse.<module> import <name>`"
            )
        elif name in own:
            continue
        elif name in built and built[name] > limit:
            yield (
                f"imports tfcourse.{name}, built in chapter {built[name]}, but may "
                f"import {may}: move what needs it, or do without"
            )
        elif name not in built and name not in rooms:
            yield (
                f"imports tfcourse.{name}, which is not open to it: do without, or "
                "correct the name"
            )


def package_problems(root):
    """What in tfcourse/ breaks W2 or W4, or is unknown to the registry."""
    chapters, rooms = registry(root)
    home = {module: c for c in chapters for module in c.modules}
    package = root / "tfcourse"
    for path in sorted(package.rglob("*.py")):
        room, *rest = path.relative_to(package).with_suffix("").parts
        where, limit, open_rooms, own = place(path, root), 0, rooms, ()
        try:
            tree = ast.parse(path.read_text("utf-8"))
        except SyntaxError as error:
            yield f"W2 {where} line {error.lineno} is not Python: {error.msg}"
            continue
        if rest and room == GRADING:
            open_rooms = (*rooms, GRADING)
        elif rest and room in rooms:
            checked = [c.number for c in chapters if c.modules[0] == rest[0]]
            if room == "checks" and checked:
                limit = checked[0]
        elif not rest and room in home:
            chapter = home[room]
            limit, open_rooms = chapter.number - 1, ("data",)
            own = chapter.modules[: chapter.modules.index(room)]
            if not (root / "chapters" / f"{chapter.stem}.ipynb").exists():
                yield (
                    f"W2 {where} belongs to chapters/{chapter.stem}.ipynb, which is "
                    "not written: write the chapter that builds it"
                )
            for line, problem in pieces(path.read_text("utf-8"))[1]:
                yield f"W2 {where} line {line}: {problem}"
        elif rest or room != "__init__":
            yield (
                f"W2 {where} is in no chapter: name it in the registry "
                "(tfcourse/notebook/chapters.py), or move it into a room"
            )
            continue
        for problem in import_problems(tree, chapters, limit, open_rooms, own):
            yield f"W4 {where} {problem}"


# The notebooks' side: W1, W2 and W3


def package_text(root):
    """{(module, name): text} of all teaching modules on disk."""
    chapters, _ = registry(root)
    texts = {}
    for module in (module for c in chapters for module in c.modules):
        path = root / "tfcourse" / f"{module}.py"
        if path.exists():
            with suppress(SyntaxError):  # package_problems names it
                found, _ = pieces(path.read_text("utf-8"))
                texts |= {(module, name): text for name, text in found.items()}
    return texts


def parsed(source):
    """The syntax tree of a cell; lines for IPython (%pip, !ls) count as `pass`."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.parse(re.sub(r"(?m)^(\s*)(%+\w|!).*$", r"\1pass", source))


def notebook_problems(root):
    """What in the notebooks breaks W1, W2 or W3, or the rule of the cloud cell."""
    chapters, rooms = registry(root)
    texts, cloud = package_text(root), cloud_source(root)
    for path in notebooks(root, *FOLDERS):
        chapter = next((c for c in chapters if c.stem == path.stem), None)
        if chapter is None:
            yield (
                f"W2 {place(path, root)} is no chapter of the registry: name it in "
                "tfcourse/notebook/chapters.py, or rename the file"
            )
            continue
        teaching = path.parent.name == "chapters"
        limit = chapter.number - teaching
        notebook, shown = read(path), []
        for index, cell in code_cells(notebook):
            where = place(path, root, index, cell)
            if cell.source.startswith("# tfcourse."):
                woven = heading(cell)
                shown.append((woven, where))
                yield from woven_problems(cell, where, teaching and chapter, texts)
            try:
                tree = parsed(cell.source)
            except SyntaxError as error:
                yield f"W3 {where} line {error.lineno} is not Python: {error.msg}"
                continue
            own = before(cell, chapter)
            for problem in import_problems(tree, chapters, limit, rooms, own):
                yield f"W3 {where} {problem}"
        if teaching:
            yield from order_problems(root, path, chapter, shown, texts)
        yield from cloud_problems(root, path, notebook, cloud)


def before(cell, chapter):
    """The modules that a woven cell's own may import from the same chapter: earlier ones."""
    module = (heading(cell) or [None])[0]
    later = module in chapter.modules
    return chapter.modules[: chapter.modules.index(module)] if later else ()


def woven_problems(cell, where, chapter, texts):
    """Whether one woven cell stands where it may, and says what the package says."""
    if not chapter:
        yield f"W2 {where} is woven, but only chapters are: import it or show() it"
        return
    woven = heading(cell)
    if woven not in texts:
        yield (
            f"W1 {where} begins with {cell.source.partition(chr(10))[0]!r}, but the "
            "package has no such piece: correct that line"
        )
    elif woven[0] not in chapter.modules:
        yield (
            f"W2 {where} weaves tfcourse.{woven[0]}, which another chapter builds: "
            "recall it with show()"
        )
    elif cell.source.partition("\n")[2] != texts[woven]:
        yield (
            f"W1 {where} differs from {woven[1]!r} in tfcourse/{woven[0]}.py: edit "
            "the package, then run `make weave`"
        )


def order_problems(root, path, chapter, shown, texts):
    """Whether a chapter shows every piece of its modules, once, in the file's order."""
    for module in chapter.modules:
        if not (root / "tfcourse" / f"{module}.py").exists():
            yield f"W2 {place(path, root)} has no tfcourse/{module}.py: write the module"
            continue
        order = [name for m, name in texts if m == module]
        ranks = {}  # name -> its place in the module, in the order shown
        for woven, where in shown:
            if not woven or woven[0] != module or woven not in texts:
                continue
            name = woven[1]
            if name in ranks:
                yield f"W2 {where} weaves {name!r} a second time: recall it with show()"
                continue
            ranks[name] = order.index(name)
            last = max(ranks, key=ranks.get)
            if last != name:
                yield (
                    f"W2 {where} weaves {name!r} after {last!r}, which stands below it "
                    f"in tfcourse/{module}.py: keep the same order in both"
                )
        for name in order:
            if name not in ranks:
                yield (
                    f"W2 {place(path, root)} does not show {name!r}: add a cell with "
                    f"the line `# tfcourse.{module}: {name}`, then run `make weave`"
                )


# The cloud cell


def cloud_source(root):
    """What the cloud cell says, or None where no address is set."""
    config = root / "_config.yml"
    settings = yaml.safe_load(config.read_text("utf-8")) if config.exists() else {}
    repository = (settings or {}).get("repository") or {}
    if not repository.get("url"):
        return None
    branch = repository.get("branch") or "main"
    return CLOUD.format(url=repository["url"].rstrip("/"), branch=branch)


def cloud_problems(root, path, notebook, source):
    """Whether the cloud cell is there, first among the code cells, or rightly absent."""
    cells = code_cells(notebook)
    first = [
        cell.source for _, cell in cells[:1] if {"cloud", "remove-cell"} <= tags(cell)
    ]
    tagged = [cell.source for _, cell in cells if "cloud" in tags(cell)]
    wanted = [source] if source else []
    if not first == tagged == wanted:
        remedy = "make exercises" if path.parent.name == "exercises" else "make weave"
        yield (
            f"cloud {place(path, root)} does not begin with the cloud cell that "
            f"repository.url in _config.yml asks for: run `{remedy}`"
            if source
            else f"cloud {place(path, root)} has a cell tagged 'cloud', but _config.yml "
            f"sets no repository.url: run `{remedy}`"
        )


def place_cloud(notebook, source):
    """Put the cloud cell before the first code cell, or take it away."""
    old = [cell for cell in notebook.cells if "cloud" in tags(cell)]
    cells = [cell for cell in notebook.cells if "cloud" not in tags(cell)]
    if source:
        cell = old[0] if old else new_code_cell(id="cloud")
        cell.source, cell.metadata["tags"] = source, ["cloud", "remove-cell"]
        first = next(
            (i for i, c in enumerate(cells) if c.cell_type == "code"), len(cells)
        )
        cells.insert(first, cell)
    notebook.cells = cells


def weave(root):
    """Write the woven cells and the cloud cells; return the files that changed."""
    texts, cloud = package_text(root), cloud_source(root)
    changed = []
    for path in notebooks(root, "chapters", "solutions"):
        notebook = read(path)
        for _, cell in code_cells(notebook):
            if path.parent.name == "chapters" and heading(cell) in texts:
                first = cell.source.partition("\n")[0]
                cell.source = f"{first}\n{texts[heading(cell)]}"
        place_cloud(notebook, cloud)
        if write(notebook, path):
            changed.append(place(path, root))
    return changed


def check(root):
    """Everything that breaks a rule, one line each."""
    return [*package_problems(root), *notebook_problems(root)]


def main(arguments):
    if arguments not in ([], ["--check"]):
        sys.exit("usage: python -m tools.weave [--check]")
    if not arguments:
        for name in weave(ROOT):
            print("wove", name)
    problems = check(ROOT)
    print(*problems or ["the package and the chapters agree"], sep="\n")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
