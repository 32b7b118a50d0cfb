"""Visit a page in the browser, and list what is wrong with it."""

import gzip
import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from axe_playwright_python.base import AXE_SCRIPT

HEAVY = 1_000_000  # bytes of a page and all it loads, as a server sends them: gzipped
SERIOUS = ("serious", "critical")

# Runs in the page. Figures are mounted as for printing, and MathJax has finished.
LOOK = """async () => {
  dispatchEvent(new Event("beforeprint"));
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
  for (const icon of document.querySelectorAll("i[class*='fa-'], svg[data-icon='missing']"))
    tell("icon missing", start(icon));
  return found;
}"""

AXE = """async () => {
  const { violations } = await axe.run("article, .bd-search-container",
    { resultTypes: ["violations"] });
  return violations.flatMap(({ id, impact, nodes }) =>
    nodes.map(({ target, failureSummary }) => [id, impact, `${target}: ${failureSummary}`]));
}"""


@dataclass
class Visit:
    """One page, visited in one way, and its problems by kind."""

    page: str
    way: str
    problems: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def lines(self, *kinds: str) -> list[str]:
        """The problems of these kinds, one line each."""
        return [
            f"{self.page} ({self.way}): {kind}: {' '.join(what.split())}"
            for kind in kinds
            for what in self.problems.get(kind, ())
        ]


def visit(context, base: str, page: str, way: str, folder: Path) -> Visit:
    """Open the page, wait until it is drawn, look at it."""
    seen = Visit(page, way)
    loaded = set()
    tab = context.new_page()

    def note_request(request):
        if request.url.startswith(base):
            loaded.add(folder / unquote(urlsplit(request.url).path[len(urlsplit(base).path) :]))
        elif not request.url.startswith(("data:", "blob:")):
            seen.problems["request to another host"].append(request.url)

    def note_response(response):
        if response.status >= 400:
            seen.problems["failed request"].append(f"{response.status} {response.url}")

    def note_console(message):
        if message.type in ("error", "warning"):
            seen.problems["console"].append(f"{message.text} ({message.location['url']})")

    tab.on("request", note_request)
    tab.on("response", note_response)
    tab.on("requestfailed", lambda r: seen.problems["failed request"].append(r.url))
    tab.on("console", note_console)
    tab.on("pageerror", lambda error: seen.problems["console"].append(str(error)))
    tab.goto(base + page)
    for kind, what in tab.evaluate(LOOK):
        seen.problems[kind].append(str(what))
    tab.evaluate(AXE_SCRIPT)
    for rule, impact, what in tab.evaluate(AXE):
        if impact in SERIOUS:
            seen.problems["accessibility"].append(f"{rule} ({impact}): {what}")
    weight = sum(len(gzip.compress(f.read_bytes(), 6)) for f in loaded if f.is_file())
    if weight > HEAVY:
        seen.problems["heavy"].append(f"{weight / 1e6:.2f} MB with all that it loads")
    tab.close()
    return seen
