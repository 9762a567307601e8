"""The laboratory: a small world with ground truth, and the models that are trained on it.

Stands outside the package and is no part of the wheel. docs/lab.md tells of it.
"""
