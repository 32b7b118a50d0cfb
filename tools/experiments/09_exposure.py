"""Right tokens given and own ones, with and without scheduled sampling (chapter 9, S2)."""

from tfcourse.data.shell import executed_accuracy
from tools.experiments import chapter_cells, run

CELLS = """
setup exposure-imports exposure-data exposure-tensors exposure-train exposure-writer
exposure-measure exposure-slip exposure-after exposure-row exposure-guesses
"""
STEPS, OWN, SEEDS = (60, 100, 300), (0.0, 0.25, 0.5), range(5)


def rows(steps=STEPS, own=OWN, seeds=SEEDS, judge=True):
    """One row per length of training, share of own tokens at its end, and start."""
    names = chapter_cells("09_encoder_decoder", *CELLS.split())
    tests = names["JUDGED"]
    for count in steps:
        for share in own:
            for seed in seeds:
                model = names["small_writer"](seed, count, share)
                row = {"steps": count, "own": share, "seed": seed}
                row |= names["row_of"](model)
                if judge:
                    asked = [e.english for e in tests], names["ENGLISH"], names["SHELL"]
                    said = names["translate"](model, *asked)
                    wanted = [e.shell for e in tests]
                    row["executed"] = executed_accuracy(said, wanted)
                yield row


if __name__ == "__main__":
    run("09_exposure", rows, lambda: rows(STEPS[:1], OWN[:1], SEEDS[:1], judge=False))
