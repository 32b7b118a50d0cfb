"""Check the committed notebooks: whole, in order, described, and honest about clocks.

usage: python -m tools.check_notebooks [NOTEBOOK ...]        (default: all of the book)
"""

import ast
import importlib
import json
import re
import sys
from collections import Counter
from pathlib import Path

from nbformat.validator import iter_validate

from tools.notebooks import (
    FOLDERS,
    ROOT,
    code_cells,
    digest,
    heading,
    is_code,
    notebooks,
    place,
    read,
    tags,
)
from tools.weave import parsed

LONGEST = 15  # lines of a cell of the chapter's own; blank ones do not count
SHORTEST_ALT = 20  # characters
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

FILLER = re.compile(
    r"\b(simply|obviously|trivially|clearly|of course|as you can see)\b", re.IGNORECASE
)
THING = r"(?:figure|table|cell|plot|equation|formula|section|box|code|listing)s?"
BY_PLACE = re.compile(
    r"\b(?:(?:see|seen|saw|shown|described|defined|discussed|explained|mentioned|noted)"
    rf" (?:above|below|earlier)|{THING} (?:above|below)|(?:above|below) {THING})\b",
    re.IGNORECASE,
)
NOT_PROSE = re.compile(
    r"```.*?```|\$\$.*?\$\$|\$[^$\n]*\$|`[^`\n]*`|\]\([^)]*\)|^:.*?$|^>.*?$",
    re.DOTALL | re.MULTILINE,
)
PICTURE = re.compile(r"!\[(?P<alt>[^\]]*)\]\(")
DIRECTIVE = re.compile(
    r"^(?:```|:::)+\{(?:figure|image)\}.*?^(?:```|:::)", re.DOTALL | re.MULTILINE
)
OPTION_ALT = re.compile(r"^\s*:alt:(?P<alt>.*)$", re.MULTILINE)


def problems(path, root):
    """What is wrong with one notebook, one line each."""
    where = place(path, root)
    try:
        raw = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        return [f"{where} is not JSON ({error}): restore it"]
    twice = [i for i, n in Counter(c.get("id") for c in raw["cells"]).items() if n > 1]
    if twice:
        return [
            f"{where} has cells without an id of their own ({twice}): give them one"
        ]
    invalid = [error.message for error in iter_validate(raw)]
    if invalid:
        return [f"{where} is not a valid notebook: {invalid[0]}"]
    notebook = read(path)
    executed = path.parent.name != "exercises"
    found = count_problem(notebook, executed)
    found += [(None, None, problem) for problem in widget_problems(notebook)]
    after_code = False
    for index, cell in enumerate(notebook.cells):
        if not is_code(cell):
            messages = markdown_problems(cell.source)
            after_code = after_code and not cell.source.strip()
        else:
            messages = [*source_problems(cell), *tag_problems(cell)]
            if executed:
                messages += output_problems(cell)
            if not hidden(cell):
                if after_code and not is_check(cell):
                    messages.append("follows code: put a line of prose between the two")
                after_code = True
        found += [(index, cell, message) for message in messages]
    return [f"{place(path, root, index, cell)} {text}" for index, cell, text in found]


def count_problem(notebook, executed):
    """Where the cells did not run once, from top to bottom (or, exercises, at all)."""
    cells = [(i, cell) for i, cell in code_cells(notebook) if cell.source.strip()]
    for count, (index, cell) in enumerate(cells, 1):
        if executed and cell.execution_count != count:
            message = f"ran as {cell.execution_count}, not as {count}: "
            return [(index, cell, message + "run `make execute`")]
        if not executed and (cell.execution_count or cell.outputs):
            return [(index, cell, "has outputs, in an exercise: run `make exercises`")]
    return []


def widget_problems(notebook):
    """Whether each widget is stored, with the script and style that its class has."""
    stored = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for _, cell in code_cells(notebook):
        for output in cell.outputs:
            view = output.get("data", {}).get(WIDGET_VIEW)
            if view and view["model_id"] not in stored:
                yield "shows a widget whose state is not stored: run `make execute`"
    for model in stored.values():
        name = model.state.get("_anywidget_id")
        if not name:
            continue
        module, _, kind = name.rpartition(".")
        try:
            widget = getattr(importlib.import_module(module), kind)
        except (ImportError, AttributeError):
            yield f"stores a {name}, which there is no more: run `make execute`"
            continue
        for part in ("_esm", "_css"):
            if model.state.get(part, "") != str(getattr(widget, part, "")):
                yield f"stores another {part} than {name} has now: run `make execute`"


def hidden(cell):
    """Whether the page does not show this cell, or folds away a list of imports."""
    listing = (heading(cell) or ("", ""))[1] == "imports" and "hide-input" in tags(cell)
    return listing or bool(tags(cell) & {"remove-cell", "hide-cell"})


def is_check(cell):
    """Whether the cell only asks for the verdict on an exercise."""
    return re.fullmatch(r"check\([^()]*\)", cell.source.strip()) is not None


def source_problems(cell):
    """What is wrong with the text of a code cell."""
    lines = [line for line in cell.source.splitlines() if line.strip()]
    answer = cell.metadata.get("nbgrader", {}).get("solution")
    if not heading(cell) and not answer and len(lines) > LONGEST:
        yield f"has {len(lines)} lines: split it, {LONGEST} at most"
    if lines and lines[-1].rstrip().endswith(";"):
        yield "ends in ';', which hides its value from the tests: write `_ = ...`"
    if "NBVAL_" in cell.source:
        yield "steers nbval by a comment: use the cell's tags"


def tag_problems(cell):
    """Whether what the tests leave out depends on a clock, and is asserted instead."""
    skipped = {tag for tag in tags(cell) if tag.startswith("nbval-")}
    measured = "measured" in tags(cell)
    if skipped - {"nbval-ignore-output"}:
        yield f"is tagged {sorted(skipped)}: only nbval-ignore-output is allowed"
    if measured != ("nbval-ignore-output" in skipped):
        yield "needs both tags, measured and nbval-ignore-output, or neither"
    if measured and not asserts(cell):
        yield "is measured but asserts nothing: assert a bound on what it shows"


def asserts(cell):
    """Whether the cell asserts: a statement, or a call such as assert_close(...)."""
    return any(
        isinstance(node, ast.Assert)
        or (isinstance(node, ast.Call) and "assert_" in ast.unparse(node.func))
        for node in ast.walk(parsed(cell.source))
    )


def output_problems(cell):
    """What is wrong with the stored outputs of a code cell."""
    failed = any(output.output_type == "error" for output in cell.outputs)
    expected = "raises-exception" in tags(cell)
    if failed and not expected:
        yield "holds an error: mend it, or tag the cell raises-exception"
    if expected and not failed:
        yield "is tagged raises-exception but raises nothing: take the tag away"
    if any(output.get("name") == "stderr" for output in cell.outputs):
        yield "holds a warning or other text on stderr: mend its cause"
    if "measured" in tags(cell) and cell.metadata.get("measured") != digest(cell):
        yield "holds measurements of another source: run `make execute`"
    alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
    if any(m.startswith("image/") for o in cell.outputs for m in o.get("data", {})):
        if alt_problem(alt):
            yield (
                f"shows a figure {alt_problem(alt)}: say in the cell's metadata, "
                "mystnb.image.alt, what is to be seen"
            )
    elif alt and cell.execution_count:
        yield "has an alternative text and shows no figure: does it return the figure?"


def alt_problem(alt):
    """What is wrong with an alternative text; "" where nothing is."""
    if not alt.strip():
        return "without alternative text"
    if re.fullmatch(r"\S+\.\w{2,4}", alt.strip()):
        return f"whose alternative text is a file name ({alt.strip()})"
    if len(alt.strip()) < SHORTEST_ALT:
        return f"whose alternative text is too short ({alt.strip()!r})"
    return ""


def markdown_problems(source):
    """What is wrong with a cell of prose."""
    prose = " ".join(NOT_PROSE.sub(" ", source).split())
    for match in FILLER.findall(prose):
        yield f"says {match!r}: nothing is so to a learner; leave the word out"
    for match in BY_PLACE.findall(prose):
        yield f"says {match!r}: refer by a label, for things move"
    alts = [match["alt"] for match in PICTURE.finditer(source)]
    for directive in DIRECTIVE.findall(source):
        option = OPTION_ALT.search(directive)
        alts.append(option["alt"] if option else "")
    for alt in alts:
        if alt_problem(alt):
            yield f"shows a picture {alt_problem(alt)}: say what is to be seen"


def main(arguments):
    paths = [Path(name).resolve() for name in arguments] or notebooks(ROOT, *FOLDERS)
    found = [problem for path in paths for problem in problems(path, ROOT)]
    print(*found or [f"{len(paths)} notebooks are in order"], sep="\n")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
