"""Whether numbers must come out here to the last digit."""

import os


def same_arithmetic() -> bool:
    """True where this kernel computes as the one that made the stored outputs did.

    That is under the variables of tools/environment.py, which tests and `make execute`
    set. Elsewhere (JupyterLab, a GPU) sums are rounded in another order, training makes
    large differences of small ones, and live results need not equal stored ones.
    """
    here = os.environ.get("MKL_CBWR"), os.environ.get("TFCOURSE_DEVICE")
    return here == ("COMPATIBLE", "cpu")
