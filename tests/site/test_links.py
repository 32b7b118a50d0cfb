"""Every link inside the book leads to a page that is there, and to a place in it."""

from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Places(HTMLParser):
    """The ids of a page, and the addresses that it names."""

    def __init__(self):
        super().__init__()
        self.ids, self.links = set(), set()

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            if name == "id":
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.links.add(value)


@cache
def places(page: Path) -> Places:
    parser = Places()
    parser.feed(page.read_text("utf-8"))
    return parser


def dead_links(folder: Path):
    """The links below the folder that lead nowhere, one line each."""
    for page in sorted(folder.rglob("*.html")):
        if "_static" in page.parts:  # the theme's templates
            continue
        for link in sorted(places(page).links):
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            path = unquote(url.path)
            target = (page.parent / path).resolve() if path else page
            place = unquote(url.fragment)
            if not target.exists():
                yield f"{page.relative_to(folder)}: {link}: there is no such file"
            elif place and target.suffix == ".html" and place not in places(target).ids:
                yield f"{page.relative_to(folder)}: {link}: the page has no such place"


def test_links_lead_somewhere(book):
    dead = list(dead_links(book))
    assert not dead, "\n".join(dead)


def test_dead_links_are_found(tmp_path):
    (tmp_path / "a.html").write_text(
        '<p id="here"></p><a href="#here"></a><a href="b.html#there"></a>'
        '<a href="https://example.org/x"></a><img src="none.png"><a href="#gone"></a>'
    )
    (tmp_path / "b.html").write_text("<p id='elsewhere'></p>")
    assert list(dead_links(tmp_path)) == [
        "a.html: #gone: the page has no such place",
        "a.html: b.html#there: the page has no such place",
        "a.html: none.png: there is no such file",
    ]
