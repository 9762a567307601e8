"""A drawing of a page (`nudging.eval.report.svg`) as a file of its own, with its colours."""

from __future__ import annotations


def as_file(svg: str, style: str) -> str:
    """`style`: CSS for the classes of the drawing."""
    named = svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    return named.replace(">", f"><style>{style}</style>", 1) + "\n"
