"""What takes too long for a chapter, and was computed before: results and weights.

Each file names the command that makes it again. Weights lie beside a model card.
"""

import hashlib
import json
from pathlib import Path

from safetensors.torch import load
from torch import Tensor

RESULTS = Path(__file__).with_name("results")
WEIGHTS = Path(__file__).with_name("weights")


def stored_results(name: str) -> dict:
    """The rows of an experiment, with its command, seed, versions and seconds.

    ValueError, naming the stored ones, where there is no such experiment.
    """
    return json.loads(_bytes(RESULTS, f"{name}.json"))


def stored_weights(name: str) -> tuple[dict[str, Tensor], dict]:
    """A model's tensors by name, as float32, and its model card.

    ValueError where there are no such weights, or they are not those of the card.
    """
    card = json.loads(_bytes(WEIGHTS, f"{name}.json"))
    content = _bytes(WEIGHTS, f"{name}.safetensors")
    if hashlib.sha256(content).hexdigest() != card["sha256"]:
        raise ValueError(
            f"the weights {name!r} are not those of their card: "
            f"make them again with `{card['command']}`"
        )
    return {key: tensor.float() for key, tensor in load(content).items()}, card


def _bytes(folder: Path, name: str) -> bytes:
    path = folder / name
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in folder.glob("*.json"))) or "none"
        raise ValueError(
            f"no stored {folder.name} named {path.stem!r}; stored: {there}"
        )
    return path.read_bytes()
