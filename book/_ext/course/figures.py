"""Where an interactive figure stands in a page: a host, with its still picture in it.

The script `course.js` puts the living figure into each host. It finds out which one
from the widget view that the notebook holds, or from the host's `data-figure`.
"""

import os
from pathlib import Path

from docutils import nodes
from myst_nb.core.render import WIDGET_VIEW_MIMETYPE
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective

from course.assets import figure_classes

NOTE = "This figure can be played with where scripts run; this is how it begins."


def host(still: list[nodes.Node], name: str = "") -> list[nodes.Node]:
    """The nodes of a host around its still picture."""
    which = f' data-figure="{name}"' if name else ""
    note = f'<noscript><p class="tfc-note">{NOTE}</p></noscript>'
    return [
        nodes.raw("", f'<div class="tfc-host"{which}>', format="html"),
        *still,
        nodes.raw("", f"{note}</div>", format="html"),
    ]


class Playground(SphinxDirective):
    """An interactive figure in a page that is no notebook; the body is its caption.

    ```{playground} SoftLookup
    Turn the query: the answer changes smoothly.
    ```
    """

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name not in figure_classes():
            known = ", ".join(figure_classes())
            raise self.error(
                f"there is no interactive figure {name!r}; there are: {known}"
            )
        figure = figure_classes()[name]()
        path = Path(self.env.doctreedir, "stills", f"{name}.svg")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(figure.svg(), encoding="utf-8")
        uri = "/" + Path(os.path.relpath(path, self.env.srcdir)).as_posix()
        still = nodes.image(uri=uri, alt=repr(figure))
        frame = nodes.figure("", *host([still], name), classes=["tfc-figure"])
        if self.content:
            caption = nodes.caption("", *self.parse_inline("\n".join(self.content))[0])
            frame += caption
        return [frame]


class WidgetHosts(SphinxPostTransform):
    """Give each widget in a notebook's outputs a host that holds its still picture."""

    default_priority = 3  # before myst-nb keeps one kind of each output

    def run(self, **kwargs) -> None:
        for bundle in self.document.findall(nodes.container):
            if bundle.get("nb_element") != "mime_bundle":
                continue
            kinds = {child["mime_type"]: child for child in bundle.children}
            if view := kinds.get(WIDGET_VIEW_MIMETYPE):
                still = kinds.get("image/svg+xml")
                picture = [node.deepcopy() for node in still.children] if still else []
                view.children = host(picture + view.children)


def setup(app) -> None:
    app.add_directive("playground", Playground)
    app.add_post_transform(WidgetHosts)
