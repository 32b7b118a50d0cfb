"""A long text read as one stream, by what the cache keeps (K6)."""

from tfcourse.data.corpus import load_corpus
from tools.experiments import chapter_cells, run

WINDOWS, SINKS, START = (64, 128, 256), 4, 20_000


def rows(windows=WINDOWS):
    """Bits per byte of the first bytes by cache and memory; and one cache on the whole."""
    names = chapter_cells(
        "13_kv_cache", "setup", "setup-course", "slower", "streamed", "near"
    )
    streamed, text = names["streamed"], load_corpus().scored
    window, following = names["WindowCache"], names["Following"]
    kinds = {
        "window": (window, 0),
        "the first where they were": (window, SINKS),
        "the first follow": (following, SINKS),
    }
    for name, (kind, sinks) in kinds.items():
        for size in windows:
            sizes = {"window": size - sinks, "sinks": sinks}
            bits = streamed(kind, text[:START], **sizes)
            row = {"cache": name, "window": size, "bytes": START}
            yield row | {"bits": round(bits, 4)}
    if windows == WINDOWS:
        bits = streamed(names["KVCache"], text[:START], capacity=START)
        row = {"cache": "everything", "window": None, "bytes": START}
        yield row | {"bits": round(bits, 4)}
        bits = streamed(window, text, window=WINDOWS[-1])
        row = {"cache": "window", "window": WINDOWS[-1], "bytes": len(text)}
        yield row | {"bits": round(bits, 4)}


if __name__ == "__main__":
    run("13_stream", rows, lambda: rows(WINDOWS[:1]))
