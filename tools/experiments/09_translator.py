"""The stored translator on held-out commands, alone and joined (chapter 9, S5 and S6)."""

from tools.experiments import chapter_cells, run

CELLS = "setup stored judged"
TESTS = ((1, 25), (1, 500), (2, 200), (3, 100))  # how many joined; how many of them


def rows(tests=TESTS):
    """One row per length of the chain and number of tests."""
    judged = chapter_cells("09_encoder_decoder", *CELLS.split())["judged"]
    for length, count in tests:
        yield judged(length, count)


if __name__ == "__main__":
    run("09_translator", rows, lambda: rows(TESTS[:1]))
