"""Loss on unseen text by size and by steps: four widths, the same tokens each (G5).

Every model reads the same windows in the same order. After warm-up the rate stays where
it is, so that each point is what training up to there gives; wider models take smaller
steps, by 1 / d. The last row holds, for each number of steps, the straight line through
the logarithms: loss = factor * parameters ** -exponent.
"""

import math

import torch

from tools.experiments import chapter_cells, run

CELLS = "setup text naive"
WIDTHS = (32, 64, 128, 256)
POINTS = (50, 200, 500, 1000)  # steps; one pass through the text is 1007


def scores(names, width, points):
    """The parameters in a model's blocks, and its nats a token on unseen text by steps."""
    shape = names["GPTConfig"](
        vocab_size=names["N"],
        context_length=names["T"],
        d_model=width,
        n_heads=4,
        n_layers=2,
        norm="rms",
        position="rotary",
        bias=False,
    )
    recipe = names["Recipe"](
        steps=max(points), batch=8, lr=0.32 / width, warm_up=30, floor=1.0
    )
    gen = torch.Generator().manual_seed(0)
    model = names["initialize_gpt"](names["GPT"](shape), gen)
    optimizer, found = names["make_optimizer"](model, recipe), []
    for step in range(recipe.steps):
        names["train_step"](model, names["ids"], recipe, optimizer, step)
        if step + 1 in points:
            found.append(round(names["evaluate"](model, names["unseen"]), 4))
    return sum(p.numel() for p in model.stack.parameters()), found


def power_law(sizes, losses):
    """factor and exponent of the line through the logarithms, by least squares."""
    x = torch.tensor([[1.0, -math.log(size)] for size in sizes], dtype=torch.float64)
    y = torch.tensor(losses, dtype=torch.float64).log()[:, None]
    intercept, exponent = torch.linalg.lstsq(x, y).solution[:, 0].tolist()
    return {"factor": round(math.exp(intercept), 4), "exponent": round(exponent, 4)}


def rows(widths=WIDTHS, points=POINTS):
    """One row per width; then, for two widths or more, the fits."""
    names, made = chapter_cells("11_gpt", *CELLS.split()), []
    for width in widths:
        size, found = scores(names, width, points)
        made.append((size, found))
        tokens = [8 * names["T"] * steps for steps in points]
        yield {"width": width, "parameters": size, "tokens": tokens, "nats": found}
    if len(made) > 1:
        sizes, found = zip(*made, strict=True)
        fits = [power_law(sizes, losses) for losses in zip(*found, strict=True)]
        yield {"steps": list(points), "fits": fits}


if __name__ == "__main__":
    run("11_scaling", rows, lambda: rows(WIDTHS[:1], POINTS[:1]))
