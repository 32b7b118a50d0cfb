"""What `tfcourse.checks` is inside the sandbox: what notebooks import, and no check.

Three modules are whole (what the learner's side of a check needs), `check` does nothing,
and of a chapter's checks only those functions are left that an exercise hands out, such
as `somebodys_layer`: a name without an underscore, and what it leans on.
"""

import ast
from importlib import resources

from tfcourse.notebook.chapters import CHAPTERS, Chapter

INERT = '''"""Inside the sandbox, checks are somebody else's business."""
from tfcourse.checks.answers import Answer, Notebook, gradients
from tfcourse.checks.compare import Finding, Mistake, close, describe, differs


def check(id):
    """Nothing: the grader has its own."""


def exercise(*_, **__):
    """Nothing, either."""
    return lambda function: function
'''


def modules(chapters: tuple[Chapter, ...] = CHAPTERS) -> dict[str, str]:
    """Names and texts of the modules, in the order in which they can be run."""
    made = {f"tfcourse.checks.{n}": _text(n) for n in ("compare", "answers")}
    made["tfcourse.checks"] = INERT
    for chapter in chapters:
        name = chapter.modules[0]
        text = handed_out(_text(name))
        if text:
            made[f"tfcourse.checks.{name}"] = text
    return made


def _text(module: str) -> str:
    file = resources.files("tfcourse.checks") / f"{module}.py"
    return file.read_text("utf-8") if file.is_file() else ""


def handed_out(text: str) -> str:
    """Of a module of checks, the public functions and all that they lean on.

    >>> handed_out("A = 1\\nB = 2\\ndef _c(): return B\\ndef given(): return A\\n")
    'A = 1\\ndef given():\\n    return A'
    >>> handed_out("from m import a\\nB = a(1)\\ndef given(): return a(2)\\n")
    'from m import a\\ndef given():\\n    return a(2)'
    """
    tree = ast.parse(text)
    defined = {name: node for node in tree.body for name in _defines(node)}
    wanted = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]
    if not wanted:
        return ""
    kept: set[ast.stmt] = set()
    while wanted:
        node = defined.get(wanted.pop())
        if node is not None and node not in kept:
            kept.add(node)
            wanted += [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
    return "\n".join(ast.unparse(node) for node in tree.body if node in kept)


def _defines(node: ast.stmt) -> list[str]:
    """The names that a statement at the top of a module defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name] if node.name != "_" else []
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [(a.asname or a.name).split(".")[0] for a in node.names]
    return [
        n.id
        for n in ast.walk(node)
        if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
    ]
