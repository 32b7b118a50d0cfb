"""Visit a page in the browser, and list what is wrong with it."""

import gzip
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from axe_playwright_python.base import AXE_SCRIPT

HEAVY = 1_000_000  # bytes of a page and all it loads, as a server sends them: gzipped
SERIOUS = ("serious", "critical")

# Runs in the page. Figures are mounted as for printing, and MathJax has finished.
LOOK = """async () => {
  dispatchEvent(new Event("beforeprint"));
  dispatchEvent(new Event("afterprint"));
  await window.MathJax?.startup?.promise;
  await document.fonts.ready;
  const found = [];
  const tell = (kind, what) => found.push([kind, what]);
  const start = (element) => element.outerHTML.slice(0, 150);
  const article = document.querySelector("article") ?? document.body;

  const excess = document.documentElement.scrollWidth - innerWidth;
  if (excess > 0) {
    const wide = [...article.querySelectorAll("*")].find(
      (e) => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest("pre, table, svg"));
    tell("too wide", `by ${excess} px; first: ${wide ? start(wide) : "outside the text"}`);
  }
  for (const image of document.images) {
    if (!image.alt.trim() && !image.closest("a")?.textContent.trim())
      tell("no alternative text", start(image));
  }
  for (const host of document.querySelectorAll(".tfc-host")) {
    if (host.dataset.state !== "ready") tell("figure does not start", start(host));
    const drawn = host.querySelector(".tfc svg, .tfc table");
    if (host.dataset.state === "ready" && !drawn) tell("figure is empty", start(host));
    if (/NaN|Infinity|undefined/.test(host.innerHTML))
      tell("figure is not finite", host.innerHTML.match(/.{30}(NaN|Infinity|undefined)/)?.[0]);
  }
  for (const math of document.querySelectorAll(".math")) {
    if (!math.querySelector("mjx-container")) tell("formula not typeset", start(math));
    if (math.querySelector("mjx-merror, [data-mjx-error]")) tell("formula is wrong", start(math));
  }
  const text = document.createTreeWalker(article, NodeFilter.SHOW_TEXT);
  while (text.nextNode()) {
    const { data, parentElement } = text.currentNode;
    if (parentElement.closest("pre, code, script, style, .math, mjx-container")) continue;
    if (/\\$[^$]+\\$|\\\\\\(|\\{(glue|ref|doc|term)[:}]/.test(data)) tell("raw markup", data.trim());
  }
  // A script draws the icons when the browser has time: a busy one may need seconds.
  const undrawn = () => document.querySelectorAll("i[class*='fa-'], svg[data-icon='missing']");
  for (let i = 0; i < 50 && undrawn().length; i++) await new Promise((go) => setTimeout(go, 100));
  for (const icon of undrawn()) tell("icon missing", start(icon));
  return found;
}"""

# The text of the page, which is ours. Left out: sidebars and header, the theme's own
# templates; formulas, to which MathJax adds their speech; and code, in the colours of
# an accessible palette. These two have most of the elements, and take most of the time.
AXE = """async () => {
  const include = ["article", "#search-results"].filter((e) => document.querySelector(e));
  const { violations } = await axe.run({ include, exclude: ["mjx-container", "pre"] },
    { resultTypes: ["violations"], preload: false });
  return violations.flatMap(({ id, impact, nodes }) =>
    nodes.map(({ target, failureSummary }) => [id, impact, `${target}: ${failureSummary}`]));
}"""


@cache
def weight(path: Path) -> int:
    """The bytes of a file as a server sends it."""
    return len(gzip.compress(path.read_bytes(), 6))


def visit(context, base: str, page: str, folder: Path) -> list[str]:
    """Open a page of the site at `base`; its problems, one line each.

    `folder` holds the files of the site, from which the page is weighed.
    """
    problems = []
    loaded = set()

    def tell(kind, what):
        problems.append(f"{kind}: {' '.join(str(what).split())}")

    def note_request(request):
        url = urlsplit(request.url)
        if request.url.startswith(base):
            loaded.add(folder / unquote(url.path).removeprefix(urlsplit(base).path))
        elif url.scheme not in ("data", "blob"):
            tell("request to another host", request.url)

    def note_response(response):
        if response.status >= 400:
            tell("failed request", f"{response.status} {response.url}")

    def note_console(message):
        if message.type in ("error", "warning"):
            tell("console", f"{message.text} ({message.location['url']})")

    tab = context.new_page()
    tab.on("request", note_request)
    tab.on("response", note_response)
    tab.on("requestfailed", lambda request: tell("failed request", request.url))
    tab.on("console", note_console)
    tab.on("pageerror", lambda error: tell("console", error))
    tab.goto(base + page)
    for kind, what in tab.evaluate(LOOK):
        tell(kind, what)
    tab.evaluate(AXE_SCRIPT)
    for rule, impact, what in tab.evaluate(AXE):
        if impact in SERIOUS:
            tell("accessibility", f"{rule} ({impact}): {what}")
    size = sum(weight(path) for path in loaded if path.is_file())
    if size > HEAVY:
        tell("heavy", f"{size / 1e6:.2f} MB with all that the page loads")
    tab.close()
    return problems
