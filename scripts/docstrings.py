"""Docstrings as the site shows them, an extension of Griffe: what Markdown would misread becomes code."""

import re

import griffe

EXAMPLE = re.compile(r"(?m)^>>> .*(?:\n(?!\s*$).*)*")
"""A doctest: its first line, and all lines up to an empty one."""


class Examples(griffe.Extension):
    """Fences around doctests, whose three angle brackets Markdown takes for three quotations."""

    def on_object(self, *, obj: griffe.Object, **kwargs: object) -> None:
        """Change the text of one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLE.sub(lambda match: f"```pycon\n{match[0]}\n```", obj.docstring.value)
