"""The stored model in 8, 4 and 2 bits on the scoreboard's text (Q4)."""

from tools.experiments import chapter_cells, run

CELLS = "setup stored settings seen board"
CASES = ((2, 4000), (8, 200_000), (4, 200_000), (2, 200_000))  # bits, bytes of text


def rows(cases=CASES):
    """One row per model and length of text: its bits per byte."""
    c = chapter_cells("14_quantization", *CELLS.split())
    for bits, n in cases:
        small = c["makers"][bits]()
        row = {"bits": bits, "text": n, "bytes": c["stored_bytes"](small)}
        yield row | {"bits_per_byte": round(c["scored"](small, n), 4)}


if __name__ == "__main__":
    run("14_scored", rows, lambda: rows(CASES[:1]))
