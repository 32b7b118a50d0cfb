"""The package of the course: one module per chapter, each shown whole where it is built."""

__version__ = "0.1.0"
