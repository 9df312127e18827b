"""Let mkdocstrings read this package as a person does.

Examples in docstrings are doctests below the word "Example", and what a package's `__init__.py`
imports as itself (`from a import b as b`) is a part of that package.
"""

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


def is_export(member, own):
    """Tell whether an import leads into the package itself, to the same name."""
    path = member.target_path
    return path.startswith(own) and path.split(".")[-1] == member.name


class Reader(griffe.Extension):
    """Rewrites the docstring of every object, and lists what packages export."""

    def on_module(self, *, mod, **kwargs):
        if mod.is_init_module and mod.exports is None:
            own = f"{mod.path}."
            mod.exports = [
                name
                for name, member in mod.members.items()
                if member.is_alias and not name.startswith("_") and is_export(member, own)
            ]

    def on_instance(self, *, node, obj, agent, **kwargs):
        if obj.docstring:
            obj.docstring.value = indent_examples(obj.docstring.value)
