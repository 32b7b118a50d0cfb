"""Grading a folder of submissions: `python -m tfcourse.grading --help`.

Learners import nothing of it. The checks are those of `tfcourse.checks`; what learners
wrote is run in a sandbox, and reached through a pipe.
"""
