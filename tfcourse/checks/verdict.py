"""What a learner is told: one short paragraph, as text and as HTML."""

import html
import re
from dataclasses import dataclass, field

HEADS = {
    "right": ("✓", "Right."),
    "wrong": ("✗", "Not yet."),
    "error": ("✗", "Stopped."),
    "unwritten": ("○", "Nothing is written yet."),
    "missing": ("○", "Not found."),
}
COLOURS = {"right": "success", "wrong": "danger", "error": "danger"}
JUPYTER = {"success": "success", "danger": "error", "info": "info"}


@dataclass(frozen=True, repr=False)
class Verdict:
    """The outcome of one check; `seen` is the evidence, `says` the reply to it."""

    id: str
    title: str
    status: str
    says: str = ""
    seen: str = ""
    given: str = ""
    cause: Exception | None = field(default=None, compare=False)

    @property
    def head(self) -> str:
        """Mark, exercise and outcome."""
        mark, word = HEADS[self.status]
        return f"{mark} {f'{self.id} {self.title}'.strip()} · {word}"

    @property
    def text(self) -> str:
        """Evidence and reply."""
        return " ".join(filter(None, (self.seen, self.says)))

    def __repr__(self):
        lines = [" ".join(filter(None, (self.head, self.text)))]
        if self.given:
            lines.append(f"Seen with: {self.given}")
        return "\n".join(lines)

    def _repr_html_(self):
        colour = COLOURS.get(self.status, "info")
        accent = _theme(f"color-{colour}", f"{JUPYTER[colour]}-color1", "#607d8b")
        style = (
            f"border-left: .3rem solid {accent}; padding: .5rem .8rem; "
            f"background: {_theme('color-surface', 'layout-color1', '#fff')}; "
            f"color: {_theme('color-text-base', 'content-font-color1', '#222')}"
        )
        given = self.given and (
            f'<p style="margin: .4rem 0 0">Seen with: '
            f"<code>{html.escape(self.given)}</code></p>"
        )
        return (
            f'<div class="tfcourse-verdict" style="{style}"><p style="margin: 0">'
            f"<strong>{html.escape(self.head)}</strong> {_marked_up(self.text)}</p>"
            f"{given}</div>"
        )


def _theme(page: str, lab: str, plain: str) -> str:
    """The published page's colour, else JupyterLab's, else a plain one."""
    return f"var(--pst-{page}, var(--jp-{lab}, {plain}))"


def _marked_up(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
