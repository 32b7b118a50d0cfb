"""Paper chases of 1 to 8 notes by depth; each block left out, each probed (B6, B8)."""

import torch
from torch import nn

from tools.experiments import chapter_cells, rounded, run

CELLS = "setup stream-probe depth-hunts depth-follower depth-chase"
NOTES = (1, 2, 4, 8)


def rows(depths=(1, 2, 3, 4)):
    """One row per depth: right answers, and without each block; what probes read."""
    names = chapter_cells("08_block", *CELLS.split())
    unseen, answers = names["hunts"](1000, torch.Generator().manual_seed(99), NOTES)

    def right(model):
        found = model(unseen).argmax(dim=-1) == answers
        return rounded(found.double().mean(dim=(0, 1)).tolist())

    for depth in depths:
        model, loss, shares = names["chase"](depth, True, 100, 0, 1200, NOTES)
        row = {"depth": depth, "loss": round(loss, 4), "right": rounded(shares)}
        blocks = model.stack.blocks
        with torch.no_grad():
            x, row["probed"], row["without"] = model.place(model.note(unseen)), [], []
            for block in [nn.Identity(), *blocks]:
                x = block(x)
                asked = answers.unbind(dim=-1)
                row["probed"].append(rounded(names["probed"](x, a) for a in asked))
            for number, block in enumerate(blocks):
                blocks[number] = Silent()
                row["without"].append(right(model))
                blocks[number] = block
        yield row


class Silent(nn.Module):
    """In the place of a block: adds nothing."""

    def forward(self, x, cache=None):
        return x


if __name__ == "__main__":
    run("08_depth", rows, lambda: rows([1]))
