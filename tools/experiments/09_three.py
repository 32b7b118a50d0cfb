"""Encoder only, decoder only and both, from the same blocks (chapter 9, topic S8)."""

from functools import partial

from tfcourse.data.shell import executed_accuracy
from tools.experiments import chapter_cells, run

CELLS = """
setup exposure-imports exposure-data exposure-tensors exposure-train exposure-writer
three-words three-stack three-masked three-hidden three-classifier three-classify
three-writer three-decoder three-continue three-score
"""
STEPS, LABELS, SEEDS = (100, 300, 600), (24, 48, 96), range(3)


def rows(steps=STEPS, labels=LABELS, seeds=SEEDS, judge=True):
    """One row per model, length of training and start, or number of labels."""
    names = chapter_cells("09_encoder_decoder", *CELLS.split())
    writers = {
        "encoder–decoder": names["small_writer"],
        "decoder only": names["decoder_only"],
        "decoder only, asked for the shell": partial(
            names["decoder_only"], everything=False
        ),
    }
    wanted = [e.shell for e in names["JUDGED"]]
    for count in steps:
        for seed in seeds:
            where = {"steps": count, "seed": seed}
            for writer, make in writers.items():
                said, row = names["scored"](make(seed, count))
                if judge:
                    row["executed"] = executed_accuracy(said, wanted)
                yield {"model": writer} | where | row
            trained = names["masked_reader"](seed, count)
            hidden = {"hidden": names["hidden_found"](trained)}
            yield {"model": "encoder only"} | where | hidden
            for number in labels:
                copy = names["OneStack"](causal=False)
                copy.load_state_dict(trained.state_dict())
                right = names["classified"](copy, number, seed)
                row = {"model": "classifier"} | where
                yield row | {"labels": number, "right": right}
    for seed in seeds:
        for number in labels:
            fresh = names["OneStack"](causal=False)
            names["initialize"](fresh, names["generator"](seed))
            row = {"model": "classifier", "steps": 0, "seed": seed, "labels": number}
            yield row | {"right": names["classified"](fresh, number, seed)}


if __name__ == "__main__":
    run("09_three", rows, lambda: rows(STEPS[:1], LABELS[-1:], SEEDS[:1], judge=False))
