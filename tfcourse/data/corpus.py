"""The text that the language models of the course learn, and are scored on."""

import hashlib
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

# The default corpus is exact where these versions are installed from their wheels for
# Linux or macOS. On Windows numpy/__init__.py has ten lines more: they are held out,
# and not scored. SHA256 is that of `train` followed by `held_out`.
VERSIONS = {"matplotlib": "3.11.2", "numpy": "2.4.6"}
SHA256 = "620479cd7bd37bfb4b3ba40f6d5b19fc66156aae459a0c40baee78687d7f6543"

LEFT_OUT = ("__config__.py", "_version.py", "version.py")  # written by each build
SCORED_BYTES = 200_000
SHORTEST = 100  # bytes: with fewer there is nothing to learn


@dataclass(frozen=True)
class Corpus:
    """A text in UTF-8 bytes, split into what is learned and what is held out."""

    name: str
    train: bytes = field(repr=False)
    held_out: bytes = field(repr=False)
    files: tuple[str, ...] = field(repr=False)

    @property
    def scored(self) -> bytes:
        """What the scoreboard scores: the first 200 kB of the held-out text."""
        return self.held_out[: _whole_characters(self.held_out, SCORED_BYTES)]

    @property
    def sha256(self) -> str:
        """The SHA-256 of `train` followed by `held_out`, in hexadecimal digits."""
        return hashlib.sha256(self.train + self.held_out).hexdigest()

    @property
    def exact(self) -> bool:
        """Whether this is, byte for byte, the text behind the figures in the book."""
        return self.sha256 == SHA256


def load_corpus(folder: Path | str | None = None) -> Corpus:
    """The corpus of the course, or the text files in a folder of your own.

    The default corpus is the Python source of NumPy and Matplotlib as installed: the
    .py files of the packages `numpy` and `matplotlib`, in the order of their POSIX
    paths, without tests, `numpy/distutils` and what each build writes anew. That is
    8,992,954 bytes in 325 files, of which 569,980 bytes in 21 files are held out. The
    files are read, never executed; line ends are \\n on every system.

    In a folder of your own, every file counts but hidden ones, and must be UTF-8.
    Files are held out as `is_held_out` says; where that leaves nothing on one side
    (there may be one file only), the last tenth of the text is held out instead.
    ValueError names the folder or the file that cannot be used.

    >>> corpus = load_corpus()
    >>> len(corpus.train) > len(corpus.held_out) > len(corpus.scored) == 200_000
    True
    """
    if folder is None:
        return _split(_default_name(), _default_files())
    folder = Path(folder)
    return _split(folder.name, _folder_files(folder))


def is_held_out(path: str) -> bool:
    """Whether the file at this POSIX path is held out: about 1 file in 20.

    The rule needs no list and no random numbers: the SHA-256 of the path begins with
    a byte under 13 (of 256), so a file stays on its side when others come and go.

    >>> is_held_out("numpy/__init__.py"), is_held_out("numpy/matlib.py")
    (True, False)
    """
    return hashlib.sha256(path.encode()).digest()[0] < 13


def _default_name() -> str:
    return (
        f"the Python source of Matplotlib {version('matplotlib')} "
        f"and NumPy {version('numpy')}"
    )


def _default_files() -> dict[str, Path]:
    """{POSIX path: file} of the default corpus, sorted."""
    files = {}
    for package in VERSIONS:
        spec = find_spec(package)  # finds a package without importing it
        if spec is None:
            raise ModuleNotFoundError(
                f"the default corpus needs {package}, which is not installed here: "
                'pip install "tfcourse[book]", or give load_corpus a folder of text',
                name=package,
            )
        (root,) = map(Path, spec.submodule_search_locations)
        for file in root.rglob("*.py"):
            files[file.relative_to(root.parent).as_posix()] = file
    return {path: files[path] for path in sorted(files) if _is_included(path)}


def _is_included(path: str) -> bool:
    *folders, name = path.split("/")
    return (
        "tests" not in folders
        and folders[:2] != ["numpy", "distutils"]
        and name not in LEFT_OUT
    )


def _folder_files(folder: Path) -> dict[str, Path]:
    """{POSIX path: file} of a learner's folder, sorted; hidden files are left out."""
    if not folder.is_dir():
        raise ValueError(
            f"load_corpus needs a folder of text files; {str(folder)!r} is not a folder"
        )
    found = {file.relative_to(folder).as_posix(): file for file in folder.rglob("*")}
    files = {
        path: found[path]
        for path in sorted(found)
        if found[path].is_file() and not any(p[0] == "." for p in path.split("/"))
    }
    if not files:
        raise ValueError(
            f"load_corpus found no file in {str(folder)!r}; put UTF-8 text there"
        )
    return files


def _split(name: str, files: dict[str, Path]) -> Corpus:
    """Read the files, and hold some of the text out."""
    texts = {path: _read(path, file) for path, file in files.items()}
    whole = b"".join(texts.values())
    if len(whole) < SHORTEST:
        raise ValueError(
            f"a corpus needs at least {SHORTEST} bytes of text; {name!r} has "
            f"{len(whole)}: add text to its files"
        )
    train = b"".join(text for path, text in texts.items() if not is_held_out(path))
    held_out = b"".join(text for path, text in texts.items() if is_held_out(path))
    if not train or not held_out:
        cut = _whole_characters(whole, len(whole) - len(whole) // 10)
        train, held_out = whole[:cut], whole[cut:]
    return Corpus(name, train, held_out, tuple(files))


def _read(path: str, file: Path) -> bytes:
    """The bytes of a file, once they are known to be UTF-8; line ends become \\n."""
    text = file.read_bytes()
    try:
        text.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text (byte {error.start} is 0x{text[error.start]:02x})"
            "; save it as UTF-8, or take it out of the folder"
        ) from error
    return text.replace(b"\r\n", b"\n")


def _whole_characters(text: bytes, end: int) -> int:
    """The largest cut up to `end` that splits no UTF-8 character.

    >>> _whole_characters("né".encode(), 2)
    1
    """
    while end < len(text) and text[end] & 0b1100_0000 == 0b1000_0000:
        end -= 1
    return end
