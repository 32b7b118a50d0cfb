"""A small course in a temporary folder, for tests of the tools to damage."""

import shutil

from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tools.notebooks import ROOT, write


def code(source, id, *tags, outputs=(), count=None, **metadata):
    """A code cell."""
    return new_code_cell(
        source,
        id=id,
        outputs=list(outputs),
        execution_count=count,
        metadata=metadata | ({"tags": list(tags)} if tags else {}),
    )


def prose(source, id):
    """A cell of prose."""
    return new_markdown_cell(source, id=id)


class Course:
    """A folder with the registry of this course, and whatever a test puts there."""

    def __init__(self, root):
        self.root = root
        registry = "tfcourse/notebook/chapters.py"
        (root / registry).parent.mkdir(parents=True)
        shutil.copy(ROOT / registry, root / registry)

    def file(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    def notebook(self, name, *cells):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write(new_notebook(cells=list(cells)), path)
        return path
