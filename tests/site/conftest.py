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


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # a page was closed before it was there


@pytest.fixture(scope="session")
def address(book):
    """The address of the built book on a local server."""
    with Server(("127.0.0.1", 0), partial(Handler, directory=book)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="session")
def base_url(address):
    """So that the tests can say page.goto("search.html")."""
    return address
