"""What the pages load: the figures that stand on them, our style sheets, MathJax, icons.

All but the icons is written below `_static` before the pages are, so that Sphinx can
put a checksum into its address. Nothing is fetched: MathJax comes from a package.
"""

import json
import re
import shutil
from base64 import b64encode
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.errors import ExtensionError

import tfcourse.widgets
from tfcourse.widgets import InteractiveFigure

FIGURES, STYLE = "figures", "tfcourse-figures.css"  # a folder of scripts; a file
MATHJAX = ("tex-mml-chtml.js", "output/chtml/fonts/woff-v2")
ICON = re.compile(  # name: [width, height, [aliases], "code", path or paths]
    r'"?(?P<name>[\w-]+)"?:\[\d+,\d+,\[(?P<aliases>[^\]]*)\],"[0-9a-f]+",'
    r'(?:"[^"]*"|\[[^\]]*\])\],?'
)


def figure_classes() -> dict[str, type[InteractiveFigure]]:
    """The interactive figures by name."""
    return {name: getattr(tfcourse.widgets, name) for name in tfcourse.widgets.__all__}


def as_expression(name: str, module: str) -> str:
    """An ES module without imports as an expression, for a script that is none.

    >>> as_expression("Dot", "const r = 2;\\nexport default { r };")
    '(() => {\\nconst r = 2;\\nreturn { r };\\n})()'
    """
    body, exports = re.subn(r"^export default ", "return ", module, flags=re.MULTILINE)
    if exports != 1 or re.search(r"^(import|export)\b", body, flags=re.MULTILINE):
        raise ExtensionError(
            f"the module of {name} must have one line that begins with `export "
            "default` and no other import or export: the page runs it as a plain "
            "script, which works from disk too"
        )
    return f"(() => {{\n{body}\n}})()"


def data_script(name: str, content: bytes) -> str:
    """What a figure loads when asked, as a script: from disk a page reads nothing else.

    >>> data_script("Dot", b"dot")
    '(globalThis.tfcourseData ??= {}).Dot = "ZG90";\\n'
    """
    coded = b64encode(content).decode("ascii")
    return f'(globalThis.tfcourseData ??= {{}}).{name} = "{coded}";\n'


def figure_scripts(name: str, figure: type[InteractiveFigure]) -> dict[str, str]:
    """The scripts of a figure by file name: itself with its first settings; its data.

    The name of the data tells their content, so that a browser keeps none that are old.
    """
    settings, scripts = figure().settings(), {}
    if content := figure().heavy():
        script = f"{name}-{sha256(content).hexdigest()[:8]}.js"
        scripts[script] = data_script(name, content)
        settings |= {"data_script": script, "data_bytes": len(scripts[script])}
    module = as_expression(name, figure._esm)
    scripts[f"{name}.js"] = (
        "globalThis.tfcourseFigures ??= {};\n"
        f"tfcourseFigures.{name} = {{ settings: "
        f"{json.dumps(settings, ensure_ascii=False)}, ...{module} }};\n"
    )
    return scripts


def figure_style() -> str:
    """The style of all figures: what they share, and what some add to it."""
    shared = InteractiveFigure._css
    own = (figure._css.removeprefix(shared) for figure in figure_classes().values())
    return shared + "".join(own)


def mathjax_folder() -> Path:
    """Where the installed package keeps MathJax."""
    package = find_spec("sphinx-mathjax-offline")
    if package is None:
        raise ExtensionError(
            "the pages need MathJax: pip install sphinx-mathjax-offline"
        )
    return Path(package.submodule_search_locations[0], "static", "mathjax")


def write_assets(app) -> None:
    """Put script, styles and MathJax where the pages will look for them."""
    if app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    (static / FIGURES).mkdir(parents=True, exist_ok=True)
    for name, figure in figure_classes().items():
        for script, text in figure_scripts(name, figure).items():
            (static / FIGURES / script).write_text(text, encoding="utf-8")
    (static / STYLE).write_text(figure_style(), encoding="utf-8")
    for name in MATHJAX:
        source, target = mathjax_folder() / name, static / "mathjax" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, target)


def load_figures(app, pagename, templatename, context, doctree) -> None:
    """A page loads the figures that stand on it: hosts name theirs, widgets' states too."""
    states = NbMetadataCollector.get_js_files(app.env, pagename).values()
    text = context.get("body", "") + "".join(
        options.get("body", "") for _, options in states
    )
    for name, figure in figure_classes().items():
        widget = f"{figure.__module__}.{name}"
        if f'data-figure="{name}"' in text or f'"{widget}"' in text:
            # before course.js, which looks for it
            script = f"{FIGURES}/{name}.js"
            app.add_js_file(script, loading_method="defer", priority=400)


def drop_unused_icons(app, exception) -> None:
    """The theme brings two thousand icons, 1.4 MB; keep those that the pages name."""
    script = Path(app.outdir, "_static", "scripts", "fontawesome.js")
    if exception or not script.exists():
        return
    others = [path for path in script.parent.glob("*.js") if path != script]
    named = set()
    for path in [*Path(app.outdir).rglob("*.html"), *others]:
        named.update(re.findall(r"\bfa-([a-z0-9-]+)", path.read_text("utf-8")))

    def keep(icon: re.Match) -> str:
        names = {icon["name"], *re.findall(r'"([^"]+)"', icon["aliases"])}
        return icon[0] if names & named else ""

    script.write_text(ICON.sub(keep, script.read_text("utf-8")), encoding="utf-8")


def setup(app) -> None:
    app.connect("builder-inited", write_assets)
    app.connect("html-page-context", load_figures)
    app.connect("build-finished", drop_unused_icons)
    app.add_css_file(STYLE)
    app.add_css_file("course.css")
    app.add_js_file("course.js", loading_method="defer")
