"""The registry: which chapter builds which modules, in the order of the course."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Chapter:
    """One chapter: its place, its modules, and the topic letters or ids it owes."""

    number: int
    title: str
    part: str
    modules: tuple[str, ...]
    topics: str

    @property
    def stem(self) -> str:
        """The file name without its ending, shared by chapter, exercises and solutions."""
        return f"{self.number:02}_{self.modules[0]}"


BEFORE = "Before attention"
TRANSFORMER = "The transformer"
LANGUAGE = "Language models"
FAST = "Fast and small"
OUTLOOK = "Outlook"

CHAPTERS = (
    Chapter(1, "Vanishing gradients", BEFORE, ("recurrent", "fitting"), "R"),
    Chapter(2, "One-hot vectors", BEFORE, ("one_hot",), "O"),
    Chapter(3, "Markov models", BEFORE, ("markov",), "M"),
    Chapter(4, "Embeddings", BEFORE, ("embedding",), "E"),
    Chapter(5, "Attention", TRANSFORMER, ("attention",), "A"),
    Chapter(6, "Multi-head attention", TRANSFORMER, ("multi_head_attention",), "H"),
    Chapter(7, "Position", TRANSFORMER, ("position",), "P"),
    Chapter(8, "The transformer block", TRANSFORMER, ("block",), "B"),
    Chapter(9, "Encoder–decoder", TRANSFORMER, ("encoder_decoder",), "S"),
    Chapter(10, "Byte pair encoding", LANGUAGE, ("bpe",), "T"),
    Chapter(11, "Training a GPT", LANGUAGE, ("gpt", "training"), "G4 G5 G7"),
    Chapter(12, "Generation", LANGUAGE, ("generation",), "G1 G2 G3 G6 G8"),
    Chapter(13, "KV caching", FAST, ("kv_cache",), "K"),
    Chapter(14, "Quantization", FAST, ("quantization",), "Q"),
    Chapter(15, "Quantizing the cache", FAST, ("vector_quantization",), "Q6 Q7"),
    Chapter(16, "Variations and limits", OUTLOOK, ("variations",), "V"),
)

ROOMS = ("notebook", "data", "widgets", "checks")


def by_number(number: int) -> Chapter:
    """The chapter with this number; ValueError where the registry has none."""
    for chapter in CHAPTERS:
        if chapter.number == number:
            return chapter
    raise ValueError(
        f"the registry (tfcourse/notebook/chapters.py) has no chapter {number}; "
        f"it has 1 to {len(CHAPTERS)}"
    )


def by_module(module: str) -> Chapter | None:
    """The chapter that builds this module, or None where it is not a teaching module."""
    return next((c for c in CHAPTERS if module in c.modules), None)
