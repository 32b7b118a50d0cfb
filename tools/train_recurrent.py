"""Train the recurrent nets of chapter 1's scoreboard rows, and store their weights.

usage: python -m tools.train_recurrent [rnn | lstm] ...     (default: both)
"""

import hashlib
import json
import math
import sys
import time

import torch
from safetensors.torch import save

from tfcourse.data.corpus import load_corpus
from tfcourse.data.stored import WEIGHTS
from tfcourse.fitting import cross_entropy, fit, initialize
from tfcourse.recurrent import LSTMCell, RecurrentModel, RNNCell
from tools.environment import enter
from tools.experiments import chapter_cells

CELLS = {"rnn": RNNCell, "lstm": LSTMCell}
D_MODEL, ROWS, LENGTH, SEED = 192, 64, 128, 0
SETTINGS = {"rnn": (0.004, 2000), "lstm": (0.012, 2000)}  # learning rate, steps


def train(name, corpus):
    """The trained model and the mean loss of the last hundredth of the steps."""
    rate, steps = SETTINGS[name]
    generator = torch.Generator().manual_seed(SEED)
    text = torch.frombuffer(bytearray(corpus.train), dtype=torch.uint8).long()
    model = RecurrentModel(CELLS[name], 256, D_MODEL, 256)
    initialize(model, generator)
    if name == "lstm":
        model.recurrent.cell.xh.bias.data[D_MODEL : 2 * D_MODEL] = 1.0

    def batch(step):
        starts = torch.randint(len(text) - LENGTH, (ROWS, 1), generator=generator)
        ids = text[starts + torch.arange(LENGTH + 1)]
        return ids[:, :-1], ids[:, 1:]

    def schedule(step):
        return min((step + 1) / 100, 0.5 + 0.5 * math.cos(math.pi * step / steps))

    losses = fit(model, batch, cross_entropy, steps, lr=rate, schedule=schedule)
    last = losses[-max(1, steps // 100) :]
    return model, sum(last) / len(last)


def main(names):
    unknown = set(names) - set(CELLS)
    if unknown:
        sys.exit(f"no such network: {', '.join(unknown)}; known: {', '.join(CELLS)}")
    enter()
    corpus = load_corpus()
    cells = chapter_cells("01_recurrent", "score")
    for name in names or CELLS:
        start = time.process_time()
        model, loss = train(name, corpus)
        tensors = {k: t.half() for k, t in model.state_dict().items()}
        model.load_state_dict(tensors)  # the score is that of what is stored
        content = save(tensors)
        card = {
            "model": f"RecurrentModel({CELLS[name].__name__}, 256, {D_MODEL}, 256)",
            "data": {"name": corpus.name, "sha256": corpus.sha256},
            "command": f"python -m tools.train_recurrent {name}",
            "seed": SEED,
            "learning_rate": SETTINGS[name][0],
            "steps": SETTINGS[name][1],
            "batch": [ROWS, LENGTH],
            "seconds": round(time.process_time() - start),
            "training_bits_per_byte": round(loss / math.log(2), 4),
            "bits_per_byte": round(cells["score"](model, corpus.scored), 4),
            "dtype": "float16",
            "sha256": hashlib.sha256(content).hexdigest(),
        }
        (WEIGHTS / f"01_{name}.safetensors").write_bytes(content)
        text = json.dumps(card, indent=1) + "\n"
        (WEIGHTS / f"01_{name}.json").write_text(text, "utf-8")
        print(text, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
