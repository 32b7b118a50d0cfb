"""`python -m tfcourse.grading`"""

import os
import sys

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"  # before torch: the graders stand side by side

from tfcourse.grading.command import main

if __name__ == "__main__":
    sys.exit(main())
