"""The cells of chapter 8 in which tfcourse.block is woven, for its experiments."""

NAMES = "imports LayerNorm RMSNorm swiglu NORMS ACTIVATIONS choose FeedForward"
NAMES += " Residual Block Stack"
WOVEN = [f"woven-block-{name}" for name in NAMES.split()]
