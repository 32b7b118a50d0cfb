"""Recall a definition that an earlier chapter built."""

import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path

from IPython.display import display

from tfcourse.notebook.chapters import Chapter, by_module


def show(definition: Callable) -> None:
    """Display the source of a function or class, and the chapter that built it.

    Shown is what the package holds, whatever the notebook has since made of it.
    TypeError for what is neither function nor class; ValueError where it is not from
    a module that a chapter teaches.
    """
    if not (inspect.isroutine(definition) or inspect.isclass(definition)):
        raise TypeError(
            "show() takes a function or a class; "
            f"got {definition!r}, a {type(definition).__name__}"
        )
    module = definition.__module__ or ""
    chapter = by_module(module.removeprefix("tfcourse."))
    if not module.startswith("tfcourse.") or chapter is None:
        raise ValueError(
            f"show() recalls what a chapter put into the package; "
            f"{definition.__qualname__} is from {module or 'elsewhere'}: "
            "import it from the module that teaches it, such as tfcourse.attention"
        )
    source = textwrap.dedent(inspect.getsource(definition))
    built = f"Built in [chapter {chapter.number}, {chapter.title}]({_link(chapter)}):"
    markdown = f"{built}\n\n````python\n{source}````\n"
    display({"text/markdown": markdown, "text/plain": source}, raw=True)


def _link(chapter: Chapter) -> str:
    """The way to a chapter from the folder in which the notebook runs."""
    name = f"{chapter.stem}.ipynb"
    return name if Path.cwd().name == "chapters" else f"../chapters/{name}"
