"""Let mkdocstrings draw the examples in docstrings, which are doctests below the word "Example"."""

import re

import griffe

# Paragraphs that begin with a prompt, below the title.
EXAMPLE = re.compile(r"^Example:\n+((?:>>>.*(?:\n.+)*\n*)+)", re.MULTILINE)
TITLE = re.compile(r"^Example:$", re.MULTILINE)


def indent_examples(text):
    """Return a docstring with its example as a section of Google's style."""

    def indent(match):
        lines = match[1].rstrip("\n").split("\n")
        return "Examples:\n" + "\n".join(f"    {line}".rstrip() for line in lines) + "\n\n"

    return TITLE.sub("Examples:", EXAMPLE.sub(indent, text))


class Examples(griffe.Extension):
    """Rewrites the docstring of every object that griffe reads."""

    def on_instance(self, *, node, obj, agent, **kwargs):
        if obj.docstring:
            obj.docstring.value = indent_examples(obj.docstring.value)
