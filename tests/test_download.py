"""Downloads, from a server on this machine: what is kept, and what every failure says."""

import hashlib
import inspect
import json
import re
import resource
import socket
import threading
import time
import traceback
import tracemalloc
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save
from tiktoken_ext import openai_public
from transformers import GPT2Config, GPT2LMHeadModel

from tests.parity import close, filled, refused
from tfcourse.bpe import load_published, merge_lines, readable, train_tokenizer
from tfcourse.data import download as module
from tfcourse.data.download import (
    DownloadError,
    cache_folder,
    download,
    gpt2_file,
)
from tfcourse.gpt import from_gpt2

CONTENT = bytes(range(256)) * 9
SHA256 = hashlib.sha256(CONTENT).hexdigest()
LARGE = 32 << 20  # bytes
SECONDS = 0.3  # of patience
ENDS = {"bos_token_id": 256, "eos_token_id": 256}


class Handler(BaseHTTPRequestHandler):
    """Answers by the path: whole, cut short, too late, not at all."""

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/broken":
            self.send_error(503, "Service Unavailable")
        elif self.path == "/silent":
            time.sleep(2 * SECONDS)
        elif self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file.bin?from=moved")
            self.end_headers()
        elif self.path == "/large":
            self.answer(LARGE, (bytes(1 << 20) for _ in range(LARGE >> 20)))
        elif self.path == "/truncated":
            self.answer(len(CONTENT), [CONTENT[:1000]])
        elif self.path == "/stalled":
            self.answer(len(CONTENT), [CONTENT[:1000]])
            time.sleep(2 * SECONDS)
        elif self.path == "/unmeasured":
            self.answer(None, [CONTENT])
        else:
            content = self.server.files.get(self.path[1:], CONTENT)
            self.answer(len(content), [content])

    def answer(self, length, parts):
        self.send_response(200)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        for part in parts:
            self.wfile.write(part)
        self.wfile.flush()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def running():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files = {}
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def server(running, monkeypatch, tmp_path):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("TFCOURSE_CACHE", str(tmp_path / "cache"))
    running.asked = []
    running.files.clear()
    return running


def address(server, path="file.bin"):
    return f"http://127.0.0.1:{server.server_port}/{path}"


def kept():
    """All that lies in the cache."""
    return list(cache_folder().iterdir()) if cache_folder().exists() else []


def failed(*given, **options):
    """The download fails, leaves nothing, and says in three lines what, why, and what next."""
    with pytest.raises(DownloadError) as error:
        download(*given, **options)
    assert kept() == []
    text = "".join(traceback.format_exception(error.value))
    assert text.count("Traceback") == 1  # one error, not a chain of them
    first, cause, remedy = str(error.value).split("\n")
    assert first == f"could not fetch {given[0]}"
    assert cause.startswith("cause: ") and remedy.startswith("remedy: ")
    return cause, remedy


# What is fetched


def test_a_file_is_fetched_once_and_kept(server, capsys):
    path = download(address(server), SHA256)
    assert path.read_bytes() == CONTENT and kept() == [path]
    assert path.name.endswith("-file.bin")
    assert capsys.readouterr().err == f"fetching {address(server)}\n"
    assert download(address(server), SHA256) == path
    assert server.asked == ["/file.bin"] and capsys.readouterr().err == ""


def test_a_kept_file_needs_no_network(server):
    path = download(address(server), SHA256)
    assert download(closed_address("file.bin"), SHA256) == path


def test_a_file_saved_by_hand_is_taken(server):
    _, remedy = failed(closed_address("file.bin"), SHA256)
    path = Path(remedy.partition(" save it as ")[2])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(CONTENT)
    assert download(closed_address("file.bin"), SHA256) == path


def test_a_file_damaged_since_is_fetched_again(server):
    path = download(address(server), SHA256)
    path.write_bytes(CONTENT[:-1] + b"x")
    assert download(address(server), SHA256).read_bytes() == CONTENT
    assert len(server.asked) == 2 and kept() == [path]


def test_a_damaged_file_does_not_count_when_there_is_no_network(server):
    path = download(address(server), SHA256)
    path.write_bytes(b"x")
    with pytest.raises(DownloadError, match="no connection"):
        download(closed_address("file.bin"), SHA256)
    assert kept() == [path]


def test_an_address_may_move_and_need_not_tell_the_length(server):
    for path in ("moved", "unmeasured"):
        assert download(address(server, path), SHA256).read_bytes() == CONTENT
    assert server.asked == ["/moved", "/file.bin?from=moved", "/unmeasured"]


def test_files_of_one_name_are_kept_apart(server):
    server.files["a/model"], server.files["b/model"] = b"a", b"b"
    paths = [
        download(address(server, f"{x}/model"), hashlib.sha256(x.encode()).hexdigest())
        for x in "ab"
    ]
    assert [path.read_bytes() for path in paths] == [b"a", b"b"]
    assert len(kept()) == 2


def test_a_large_file_passes_through_little_memory(server, tmp_path):
    zeros = hashlib.sha256(bytes(LARGE)).hexdigest()
    tracemalloc.start()
    path = download(address(server, "large"), zeros, tmp_path / "elsewhere")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size == LARGE and path.parent == tmp_path / "elsewhere"
    assert peak < LARGE / 4  # the server's parts among them


@pytest.mark.parametrize(
    "own, xdg, folder",
    [
        ("/own", "/xdg", "/own"),
        ("~/own", "", "/home/ada/own"),
        ("", "/xdg", "/xdg/tfcourse"),
        ("", "", "/home/ada/.cache/tfcourse"),
    ],
)
def test_where_files_are_kept(own, xdg, folder, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("TFCOURSE_CACHE", own)
    monkeypatch.setenv("XDG_CACHE_HOME", xdg)
    assert cache_folder() == Path(folder)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.delenv("TFCOURSE_CACHE")
    assert cache_folder() == Path("/home/ada/.cache/tfcourse")


# What fails


def closed_address(path):
    """An address at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return f"http://127.0.0.1:{port}/{path}"


def test_offline(server):
    cause, remedy = failed(closed_address("file.bin"), SHA256)
    assert cause.startswith("cause: no connection: ") and "refused" in cause
    assert remedy.startswith("remedy: try again later, or fetch it by other means")


def test_a_name_that_is_nowhere(server):
    cause, _ = failed("http://nowhere.invalid/file.bin", SHA256)
    assert cause.startswith("cause: no connection: ")


@pytest.mark.parametrize(
    "path, says",
    [
        ("broken", "the server answered 503 Service Unavailable"),
        ("truncated", "the connection ended after 1,000 of 2,304 bytes"),
        (
            "stalled",
            "the connection broke after 1,000 bytes: TimeoutError('timed out')",
        ),
        ("silent", "the connection broke after 0 bytes: TimeoutError('timed out')"),
    ],
)
def test_a_server_that_fails(server, path, says):
    assert failed(address(server, path), SHA256, timeout=SECONDS)[0] == f"cause: {says}"


def test_another_content_than_was_expected(server):
    cause, remedy = failed(address(server), "0" * 64)
    assert f"2,304 bytes, has the SHA-256 {SHA256}, not {'0' * 64}" in cause
    assert "proxy" in cause and "save it as" in remedy


def test_no_room(server):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        cause, remedy = failed(address(server), SHA256)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot be kept: [Errno 27] File too large" in cause
    assert remedy == "remedy: make room, or set TFCOURSE_CACHE to another folder"


def test_no_folder(server, tmp_path):
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(DownloadError, match="cannot be kept.*\nremedy: make room, or"):
        download(address(server), SHA256)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
def test_an_interruption_leaves_no_half_file(server, monkeypatch, interruption):
    def half(*_):
        yield CONTENT[:1000]
        assert len(kept()) == 1  # it is being written
        raise interruption

    monkeypatch.setattr(module, "_parts", half)
    with pytest.raises(interruption):
        download(address(server), SHA256)
    assert kept() == []


@pytest.mark.parametrize(
    "url, sha256, says",
    [
        ("file:///etc/passwd", SHA256, "must begin with http:// or https://"),
        ("model.safetensors", SHA256, "got 'model.safetensors'"),
        ("http://127.0.0.1/", SHA256[:-1], "must be 64 hexadecimal digits"),
        ("http://127.0.0.1/", SHA256.upper(), "must be 64 hexadecimal digits"),
    ],
)
def test_what_is_no_address_or_no_hash_is_refused(url, sha256, says):
    refused(lambda: download(url, sha256), says)


# GPT-2


@pytest.fixture
def publish(server, monkeypatch):
    """Have the server publish a file where GPT-2's of this name would be."""
    monkeypatch.setattr(module, "GPT2", address(server, "gpt2/"))

    def put(name, content):
        server.files[f"gpt2/{name}"] = content
        hashed = hashlib.sha256(content).hexdigest()
        monkeypatch.setitem(module.GPT2_FILES, name, hashed)

    return put


def test_the_weights_are_fetched_and_give_the_same_logits(publish):
    shape = {"vocab_size": 257, "n_positions": 11, "n_embd": 128, "n_head": 2}
    theirs = filled(GPT2LMHeadModel(GPT2Config(n_layer=2, **shape, **ENDS))).eval()
    tensors = {k: t.clone() for k, t in theirs.transformer.state_dict().items()}
    mask = torch.ones(11, 11).tril()[None, None]  # the published file holds one a layer
    publish("model.safetensors", save(tensors | {"h.0.attn.bias": mask}))
    ours = from_gpt2(load_file(gpt2_file()))
    ids = torch.tensor([[5, 0, 256, 17]])
    close(ours(ids), theirs(ids).logits, atol=1e-9)


def test_the_tokenizer_is_fetched(publish):
    own = train_tokenizer(["a fetched tokenizer"], 259, specials=["<|endoftext|>"])
    vocab = {readable(piece): i for i, piece in enumerate(own.pieces)}
    publish("vocab.json", json.dumps(vocab).encode())
    publish("merges.txt", "\n".join(["#version: 0.2", *merge_lines(own)]).encode())
    loaded = load_published(gpt2_file("vocab.json"), gpt2_file("merges.txt"))
    assert loaded.pieces == own.pieces and loaded.specials == own.specials


def test_the_addresses_are_those_of_one_revision_and_tiktokens_hashes():
    assert re.search(r"/resolve/[0-9a-f]{40}/$", module.GPT2)
    assert all(re.fullmatch("[0-9a-f]{64}", x) for x in module.GPT2_FILES.values())
    published = inspect.getsource(openai_public.gpt2)  # OpenAI's own library
    assert module.GPT2_FILES["vocab.json"] in published
    assert module.GPT2_FILES["merges.txt"] in published
    refused(lambda: gpt2_file("pytorch_model.bin"), "got 'pytorch_model.bin'")
