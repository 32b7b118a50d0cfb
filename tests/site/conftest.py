"""A Chromium, the built book, and a server for it."""

import os
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tools.ensure_chromium import chromium
from tools.notebooks import ROOT

BOOK = ROOT / "_build" / "html"
OFFLINE = (  # no name but the server's is found, so nothing can leave
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    """The Chromium of this machine instead of pytest-playwright's own."""
    path, reason = chromium()
    if path is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    return browser_type_launch_args | {"executable_path": path, "args": [*OFFLINE]}


@pytest.fixture(scope="session")
def book():
    """The folder of the built book."""
    if not (BOOK / "index.html").exists():
        pytest.fail(f"{BOOK} holds no book: run `make book` first")
    return BOOK


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def serve(folder):
    """A server of this folder, and its address."""
    handler = partial(Quiet, directory=folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}/"


@pytest.fixture(scope="session")
def address(book):
    """The address of the built book on a local server."""
    server, address = serve(book)
    yield address
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="session")
def base_url(address):
    """So that the tests can say page.goto("search.html")."""
    return address
