"""entered(): what a chapter added to the package, read from the package."""

import ast
from importlib.util import find_spec
from pathlib import Path

from IPython.display import Markdown

from tfcourse.notebook.chapters import by_number


def entered(number: int) -> Markdown:
    """The definitions of a chapter's modules, each with its first docstring line.

    number: the chapter's; ValueError where the registry has none such.
    """
    lines = []
    for module in by_number(number).modules:
        source = Path(find_spec(f"tfcourse.{module}").origin).read_text("utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                purpose = ast.get_docstring(node).partition("\n")[0]
                lines.append(f"- `{module}.{node.name}`: {purpose}")
    return Markdown("\n".join(lines))
