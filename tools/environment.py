"""The environment in which notebooks are executed, tested and compared.

The digits that a page shows must come out again on another machine. Left to itself,
each library picks its kernels by the processor; they round differently, and training
makes large differences of small ones. So all are held to the instructions of an x86-64
processor with AVX2. The price: MKL agrees across makers only in its mode COMPATIBLE,
where a large product takes about three times as long. What a clock
measures is therefore run in MEASURING, with the kernels that a reader's machine picks.
"""

import os
import sys

MEASURING = {
    "OMP_NUM_THREADS": "1",  # one order of summation
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": "0",  # the date that SVG figures carry
    "TFCOURSE_DEVICE": "cpu",
}
ENVIRONMENT = MEASURING | {
    "MKL_CBWR": "COMPATIBLE",
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}


def inside(environment):
    """The variables of this process, with these in place of any such environment's."""
    own = {n: value for n, value in os.environ.items() if n not in ENVIRONMENT}
    return own | environment


def enter(environment=ENVIRONMENT):
    """Start this program again in the environment, unless it is there already."""
    wanted = inside(environment)
    if wanted != dict(os.environ):
        os.execve(sys.executable, sys.orig_argv, wanted)
