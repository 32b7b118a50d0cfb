"""The environment in which notebooks are executed, tested and compared.

One thread and one hash seed give the same sums and the same order on every machine;
the fixed date keeps SVG figures the same from day to day.
"""

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "SOURCE_DATE_EPOCH": "0",
    "TFCOURSE_DEVICE": "cpu",
}
