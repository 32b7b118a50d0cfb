"""Train chapter 9's translator of English commands, and store its weights.

usage: python -m tools.train_translator
"""

import hashlib
import json
import math
import time

import torch
from safetensors.torch import save
from tqdm import tqdm

from tfcourse.data.commands import test_examples, training_examples
from tfcourse.data.shell import executed_accuracy
from tfcourse.data.stored import WEIGHTS
from tfcourse.encoder_decoder import (
    EncoderDecoder,
    examples,
    smoothed_cross_entropy,
    translate,
    words_of,
)
from tfcourse.fitting import fit, initialize
from tools.environment import MEASURING, enter

NAME = "09_translator"
SHAPE = {"d_model": 96, "n_heads": 4, "n_layers": 2, "limit": 80}
COUNT, ROWS, STEPS, RATE, WARM_UP, SMOOTHING = 30_000, 64, 1200, 2e-3, 200, 0.1


def train(data, source, target):
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)  # dropout draws from it
    model = EncoderDecoder(len(source), len(target), **SHAPE)
    initialize(model, generator)
    progress = tqdm(total=STEPS, unit="step")

    def batch(step):
        progress.update()
        rows = torch.randint(len(data), (ROWS,), generator=generator)
        pairs = [(data[i].english, data[i].shell) for i in rows.tolist()]
        return examples(pairs, source, target)

    def schedule(step):
        warm = min(1, (step + 1) / WARM_UP)
        return warm * (0.5 + 0.5 * math.cos(math.pi * step / STEPS))

    def loss(logits, targets):
        value = smoothed_cross_entropy(logits, targets, SMOOTHING)
        progress.set_postfix(loss=f"{value.item():.3f}")
        return value

    fit(model, batch, loss, STEPS, lr=RATE, schedule=schedule)
    progress.close()
    return model.eval()


def main():
    enter(MEASURING)
    start = time.process_time()
    data = training_examples(COUNT, seed=1)
    source, target = (
        words_of(getattr(example, side) for example in data)
        for side in ("english", "shell")
    )
    model = train(data, source, target)
    seconds = round(time.process_time() - start)
    tensors = {k: t.bfloat16() for k, t in model.state_dict().items()}
    model.load_state_dict(tensors)  # what is stored is scored
    tests = test_examples(500, seed=2)
    (inputs, targets) = examples(
        [(e.english, e.shell) for e in tests[:200]], source, target
    )
    with torch.inference_mode():
        loss = smoothed_cross_entropy(model(inputs), targets).item()
    said = translate(model, [e.english for e in tests], source, target)
    content = save(tensors)
    card = {
        "model": f"EncoderDecoder({len(source)}, {len(target)}, **{SHAPE})",
        "shape": SHAPE,
        "data": f"training_examples({COUNT}, seed=1) of tfcourse.data.commands",
        "command": "python -m tools.train_translator",
        "seed": 0,
        "learning_rate": RATE,
        "steps": STEPS,
        "batch": ROWS,
        "label_smoothing": SMOOTHING,
        "seconds": seconds,
        "held_out_loss": round(loss, 4),
        "executed": executed_accuracy(said, [e.shell for e in tests]),
        "dtype": "bfloat16",
        "sha256": hashlib.sha256(content).hexdigest(),
        "source_words": source.tokens[3:],
        "target_words": target.tokens[3:],
    }
    (WEIGHTS / f"{NAME}.safetensors").write_bytes(content)
    text = json.dumps(card, indent=1) + "\n"
    (WEIGHTS / f"{NAME}.json").write_text(text, "utf-8")
    print(text[: text.index('"source_words"')], flush=True)


if __name__ == "__main__":
    main()
