"""The corpus: what is in it, what is held out, and what is refused."""

import dataclasses
import hashlib
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tfcourse.data import corpus as module
from tfcourse.data.corpus import (
    SCORED_BYTES,
    SHA256,
    VERSIONS,
    is_held_out,
    load_corpus,
)


@pytest.fixture(scope="module")
def corpus():
    return load_corpus()


@pytest.fixture
def folder(tmp_path):
    """A folder of texts, of which the rule holds one file out."""
    paths = [f"part/{n}.txt" for n in range(100)]
    kept = [path for path in paths if not is_held_out(path)][:3]
    held = next(path for path in paths if is_held_out(path))
    for path in (*kept, held):
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(f"This is {path}.\n".encode() * 5)
    return tmp_path, kept, held


def test_the_pinned_versions_give_the_recorded_text(corpus):
    installed = {name: importlib.metadata.version(name) for name in VERSIONS}
    if installed != VERSIONS or sys.platform == "win32":
        pytest.skip(f"the recorded text belongs to {VERSIONS}, here is {installed}")
    assert corpus.exact
    said = " ".join(load_corpus.__doc__.split())
    held = [path for path in corpus.files if is_held_out(path)]
    assert (
        f"{len(corpus.train) + len(corpus.held_out):,} bytes in "
        f"{len(corpus.files)} files, of which {len(corpus.held_out):,} bytes in "
        f"{len(held)} files are held out"
    ) in said


def test_the_recorded_versions_are_the_pinned_ones():
    pins = Path(module.__file__).parents[2] / "requirements.txt"
    if not pins.exists():
        pytest.skip("no requirements.txt beside the package")
    pinned = dict(re.findall(r"(?m)^([\w.-]+)==([\w.+]+)", pins.read_text()))
    assert {name: pinned.get(name) for name in VERSIONS} == VERSIONS, (
        "requirements.txt pins other versions than tfcourse/data/corpus.py records: "
        "load the corpus with them, and record VERSIONS, SHA256 and the docstring anew"
    )


def test_the_order_is_that_of_the_posix_paths(corpus):
    assert list(corpus.files) == sorted(corpus.files)
    assert corpus.files[0] == "matplotlib/__init__.py"
    assert {path.split("/")[0] for path in corpus.files} == set(VERSIONS)


def test_each_file_lies_on_its_side(corpus):
    import numpy

    for path in ("numpy/__init__.py", "numpy/matlib.py"):
        text = (Path(numpy.__file__).parents[1] / path).read_bytes()
        text = text.replace(b"\r\n", b"\n")
        assert (text in corpus.held_out, text in corpus.train) == (
            is_held_out(path),
            not is_held_out(path),
        )


def test_what_the_corpus_leaves_out(corpus):
    for path in corpus.files:
        assert module._is_included(path)
    for path in (
        "numpy/tests/test_lazyloading.py",
        "numpy/distutils/core.py",
        "numpy/__config__.py",
        "matplotlib/_version.py",
        "numpy/version.py",
    ):
        assert not module._is_included(path)
    for path in (
        "matplotlib/tests.py",
        "numpy/_core/_ufunc_config.py",
        "numpy/testing/overrides.py",
        "matplotlib/distutils/x.py",
    ):
        assert module._is_included(path)


def test_the_held_out_rule_is_the_first_byte_of_the_hash():
    for n in range(2000):
        path = f"a/{n}.py"
        assert is_held_out(path) == (
            int(hashlib.sha256(path.encode()).hexdigest()[:2], 16) <= 12
        )


def test_scored_is_the_beginning_of_the_held_out_text(corpus):
    assert len(corpus.scored) == SCORED_BYTES
    assert corpus.held_out.startswith(corpus.scored)
    corpus.scored.decode()


def test_scored_splits_no_character(corpus):
    text = b"x" + "é".encode() * SCORED_BYTES
    odd = dataclasses.replace(corpus, held_out=text)
    assert len(odd.scored) == SCORED_BYTES - 1
    odd.scored.decode()


def test_exact_notices_one_changed_byte(corpus):
    changed = dataclasses.replace(corpus, held_out=corpus.held_out[:-1] + b"#")
    assert not changed.exact
    assert changed.sha256 != SHA256


def test_a_corpus_cannot_be_changed_and_shows_no_text(corpus):
    with pytest.raises(dataclasses.FrozenInstanceError):
        corpus.train = b""
    assert len(repr(corpus)) < 200
    assert "NumPy" in corpus.name


def test_loading_imports_neither_package():
    program = (
        "import sys; from tfcourse.data.corpus import load_corpus; load_corpus();"
        "print(*{'numpy', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_a_missing_package_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setattr(module, "VERSIONS", {"no_such_package": "1"})
    with pytest.raises(ModuleNotFoundError, match=r"no_such_package.*tfcourse\[book\]"):
        module._default_files()


def test_a_folder_of_ones_own(folder):
    root, kept, held = folder
    corpus = load_corpus(root)
    assert corpus.files == tuple(sorted((*kept, held)))
    assert corpus.held_out == (root / held).read_bytes()
    assert corpus.train == b"".join((root / path).read_bytes() for path in sorted(kept))
    assert corpus.name == root.name
    assert not corpus.exact
    assert load_corpus(str(root)) == corpus


def test_the_line_ends_of_windows_are_read_as_one_character(folder):
    root, _, held = folder
    before = load_corpus(root)
    file = root / held
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n"))
    assert load_corpus(root) == before


def test_hidden_files_do_not_count(folder):
    root, _, _ = folder
    before = load_corpus(root)
    (root / ".DS_Store").write_bytes(b"\xff\xfe")
    (root / ".git").mkdir()
    (root / ".git" / "index").write_bytes(b"\xff\xfe")
    assert load_corpus(root) == before


def test_one_file_alone_is_cut_at_nine_tenths(tmp_path):
    text = "é".encode() * 505
    (tmp_path / "one.txt").write_bytes(text)
    corpus = load_corpus(tmp_path)
    assert corpus.train + corpus.held_out == text
    assert len(corpus.held_out) == 102  # a tenth is 101 bytes, and half a character
    corpus.train.decode()
    corpus.held_out.decode()


def test_files_that_are_all_held_out_are_cut_too(folder):
    root, kept, held = folder
    for path in kept:
        (root / path).unlink()
    corpus = load_corpus(root)
    assert corpus.train + corpus.held_out == (root / held).read_bytes()
    assert corpus.train and corpus.held_out


@pytest.mark.parametrize("name", ["absent", "file.txt"])
def test_what_is_not_a_folder_is_refused(tmp_path, name):
    (tmp_path / "file.txt").write_text("text")
    with pytest.raises(ValueError, match=f"{name}' is not a folder"):
        load_corpus(tmp_path / name)


def test_an_empty_folder_is_refused(tmp_path):
    (tmp_path / "inner").mkdir()
    with pytest.raises(ValueError, match="found no file in .*put UTF-8 text there"):
        load_corpus(tmp_path)


def test_a_folder_of_little_text_is_refused(tmp_path):
    (tmp_path / "short.txt").write_text("short")
    with pytest.raises(ValueError, match="at least 100 bytes of text.* has 5"):
        load_corpus(tmp_path)


def test_a_file_that_is_not_utf8_is_named(folder):
    root, _, held = folder
    (root / held).write_bytes(b"caf\xe9")
    with pytest.raises(ValueError, match=rf"{held} is not UTF-8 .*byte 3 is 0xe9"):
        load_corpus(root)
