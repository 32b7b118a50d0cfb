"""The stored translator on held-out commands, alone and joined (chapter 9, S5 and S6)."""

from contextlib import redirect_stdout
from io import StringIO

from tools.experiments import chapter_cells, run

WOVEN = (
    "imports SPECIALS PAD BEGIN END words-of pad real shift-right examples "
    "smoothed-cross-entropy token-accuracy DecoderBlock SentenceEmbedding EncoderDecoder "
    "Step next-logits greedy length-penalty beam-search translate"
)
CELLS = (
    *(f"woven-encoder-decoder-{name}" for name in WOVEN.split()),
    *("setup", "stored", "judged"),
)
TESTS = ((1, 25), (1, 500), (2, 200), (3, 100))  # how many joined; how many of them


def rows(tests=TESTS):
    """One row per length of the chain and number of tests."""
    with redirect_stdout(StringIO()):  # what cells print is for the page
        judged = chapter_cells("09_encoder_decoder", *CELLS)["judged"]
    for length, count in tests:
        yield judged(length, count)


if __name__ == "__main__":
    run("09_translator", rows, lambda: rows(TESTS[:1]))
