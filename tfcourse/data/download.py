"""Files that the course can do without, fetched once from a fixed address.

A file is known by its SHA-256: what has another one never gets its name. Nothing is
fetched before somebody asks; no chapter needs the network.
"""

import hashlib
import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

PART = 1 << 18  # bytes held in memory at once

# The smallest GPT-2, as its authors' 2019 checkpoint stands on the Hugging Face hub. The
# revision never changes. The hub's page of a file shows its SHA-256.
GPT2 = "https://huggingface.co/openai-community/gpt2/resolve/607a30d783dfa663caf39e06633721c8d4cfcd7e/"
GPT2_FILES = {
    "model.safetensors": "248dfc3911869ec493c76e65bf2fcf7f615828b0254c12b473182f0f81d3a707",
    "vocab.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    "merges.txt": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
}


class DownloadError(OSError):
    """A file could not be fetched: the message has the address, the cause and a remedy."""


def cache_folder() -> Path:
    """Where fetched files are kept: the folder named by TFCOURSE_CACHE, if it is set.

    Else `tfcourse` in XDG_CACHE_HOME, or in ~/.cache where that is not set either.
    """
    own = os.environ.get("TFCOURSE_CACHE")
    if own:
        return Path(own).expanduser()
    shared = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return shared / "tfcourse"


def download(
    url: str, sha256: str, folder: Path | str | None = None, timeout: float = 30.0
) -> Path:
    """The file at an address, from the cache or, the first time, from the network.

    url: http or https; sha256: of the file, 64 hexadecimal digits; folder: cache_folder()
    unless given; timeout: seconds without an answer or a next byte. A file is written
    beside its place and moved there once its hash is right, so no other gets the name;
    one that was damaged since is fetched again. DownloadError where that cannot be done,
    ValueError for what is no web address or no hash.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError(f"url must begin with http:// or https://; got {url!r}")
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(f"sha256 must be 64 hexadecimal digits; got {sha256!r}")
    folder = cache_folder() if folder is None else Path(folder)
    name = re.sub(r"[^\w.-]", "_", urlsplit(url).path.rpartition("/")[2])
    path = folder / f"{sha256[:12]}-{name or 'file'}"
    try:
        if not path.is_file() or _sha256_of(path) != sha256:
            folder.mkdir(parents=True, exist_ok=True)
            _fetch(url, sha256, path, timeout)
    except DownloadError:
        raise
    except OSError as error:
        remedy = "make room, or set TFCOURSE_CACHE to another folder"
        raise _failure(url, f"it cannot be kept: {error}", remedy) from None
    return path


def gpt2_file(name: str = "model.safetensors") -> Path:
    """A file of the smallest published GPT-2, from the cache or from the network.

    "model.safetensors": its 124 million weights in float32, 548 MB, for from_gpt2;
    "vocab.json" and "merges.txt": its tokenizer, for load_published.
    DownloadError as download, ValueError for another name.
    Source: Radford et al. (2019); licence: MIT.
    """
    if name not in GPT2_FILES:
        raise ValueError(f"name must be one of {', '.join(GPT2_FILES)}; got {name!r}")
    return download(GPT2 + name, GPT2_FILES[name])


def _failure(url: str, cause: str, remedy: str) -> DownloadError:
    return DownloadError(f"could not fetch {url}\ncause: {cause}\nremedy: {remedy}")


def _sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _fetch(url: str, sha256: str, path: Path, timeout: float) -> None:
    """Write the file whole and right, or leave nothing."""
    print(f"fetching {url}", file=sys.stderr)
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}.unfinished")
    elsewhere = f"or fetch it by other means and save it as {path}"
    digest, size = hashlib.sha256(), 0
    try:
        with (
            open(unfinished, "xb") as file,
            closing(_parts(url, timeout, elsewhere)) as parts,
        ):
            for part in parts:
                digest.update(part)
                size += file.write(part)
        if digest.hexdigest() != sha256:
            cause = (
                f"what came, {size:,} bytes, has the SHA-256 {digest.hexdigest()}, not "
                f"{sha256}: the file has changed, or a page of a proxy came in its place"
            )
            raise _failure(url, cause, f"try from another network, {elsewhere}")
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _parts(url: str, timeout: float, elsewhere: str) -> Iterator[bytes]:
    """The bytes at an address, a part at a time; DownloadError where they do not all come."""
    got = 0
    try:
        with urlopen(url, timeout=timeout) as response:
            promised = response.length  # None where the server does not say
            while part := response.read1(PART):
                got += len(part)
                yield part
        if promised is None or got == promised:
            return
        cause = f"the connection ended after {got:,} of {promised:,} bytes"
    except HTTPError as error:
        cause = f"the server answered {error.code} {error.reason}"
        error.close()
    except URLError as error:
        cause = f"no connection: {error.reason}"
    except (OSError, HTTPException) as error:
        cause = f"the connection broke after {got:,} bytes: {error!r}"
    raise _failure(url, cause, f"try again later, {elsewhere}")
