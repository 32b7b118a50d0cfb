"""The Sphinx side of the course: its figures, its tables, and nobody else's server."""

from course import assets, directives, figures


def no_buttons_without_address(app, config):
    """While `repository.url` is empty, a launch button would lead nowhere."""
    if not config.html_theme_options.get("repository_url"):
        config.html_theme_options.pop("launch_buttons", None)


def entries_as_list_items(app, pagename, templatename, context, doctree):
    """Docutils puts entries of another role into a list; ARIA knows list items there."""
    if body := context.get("body"):
        context["body"] = body.replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app):
    """Called by Sphinx; named in `_config.yml` under `local_extensions`."""
    app.connect("config-inited", no_buttons_without_address)
    app.connect("html-page-context", entries_as_list_items)
    assets.setup(app)
    directives.setup(app)
    figures.setup(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
