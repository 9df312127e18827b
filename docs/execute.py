"""Run the Python blocks of pages, and compare what they print with what the pages say.

python docs/execute.py docs/guides/denoise.md           # runs the page
python docs/execute.py docs/guides/denoise.md --write   # and writes what it printed into the page

The blocks of a page run in order, as one program, in an empty folder. A block of text right after a
block of Python holds what that block prints. In a comparison, words and integers must be equal, and
other numbers nearly so, because training rounds differently on other machines. A block of text
after the comment `<!-- varies -->` is not compared. A comment that begins with `before:` holds
code that runs at its place and that readers do not see, such as the data that a page of reference
speaks of. The line that says how long the examples take is written, too.
"""

import argparse
import contextlib
import dataclasses
import io
import math
import os
import pathlib
import re
import tempfile
import time

BLOCK = re.compile(
    r"^<!-- before:\n(?P<hidden>.*?)^-->$|^```python\n(?P<shown>.*?)^```$"
    r"(?:\n\n(?P<varies><!-- varies -->\n)?```text\n(?P<output>.*?)^```$)?",
    re.DOTALL | re.MULTILINE,
)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")
TIME = re.compile(r"\*These examples take [^*]*\*")


@dataclasses.dataclass
class Block:
    code: str
    line: int
    expected: str | None  # None if the page has no block of output after it.
    varies: bool
    span: tuple  # Where the expected output is in the page.


def read_blocks(text):
    """Return the blocks of Python of a page."""
    blocks = []
    for match in BLOCK.finditer(text):
        name = "shown" if match["hidden"] is None else "hidden"
        line = text[: match.start(name)].count("\n")
        varies, span = bool(match["varies"]), match.span("output")
        blocks.append(Block(match[name], line, match["output"], varies, span))
    return blocks


def run(path):
    """Run the blocks of a page in an empty folder.

    Args:
        path: Path of the page.

    Returns:
        List of pairs of a block and what it printed; and the processor time in seconds.
    """
    path = pathlib.Path(path).resolve()
    blocks, namespace, found = read_blocks(path.read_text()), {"__name__": "page"}, []
    before, start = os.getcwd(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for block in blocks:
                printed = io.StringIO()
                # Empty lines in front keep the numbers of lines in error messages.
                code = compile("\n" * block.line + block.code, str(path), "exec")
                with contextlib.redirect_stdout(printed):
                    exec(code, namespace)
                found.append((block, printed.getvalue()))
        finally:
            os.chdir(before)
    return found, time.process_time() - start


def are_alike(expected, printed):
    """Tell whether words and integers are equal, and other numbers nearly so."""
    words = [NUMBER.sub("0", text).split() for text in (expected, printed)]
    if words[0] != words[1]:
        return False
    pairs = zip(NUMBER.findall(expected), NUMBER.findall(printed), strict=True)
    return all(
        a == b or ("." in a and math.isclose(float(a), float(b), rel_tol=0.3, abs_tol=0.05))
        for a, b in pairs
    )


def find_differences(found):
    """Return a text for each block that printed something else than the page says."""
    return [
        f"line {block.line}: expected\n{block.expected}but printed\n{printed}"
        for block, printed in found
        if not block.varies and not are_alike(block.expected or "", printed)
    ]


def write(path, found, seconds):
    """Write what the blocks printed, and how long they took, into the page."""
    text = path.read_text()
    for block, printed in reversed(found):
        if block.expected is not None:
            start, end = block.span
            text = text[:start] + printed + text[end:]
    took = f"*These examples take {seconds:.0f} s of processor time.*"
    path.write_text(TIME.sub(took, text))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write what was printed")
    parser.add_argument("pages", nargs="+", type=pathlib.Path)
    arguments = parser.parse_args()
    failed = 0
    for path in arguments.pages:
        found, seconds = run(path)
        if arguments.write:
            write(path, found, seconds)
        differences = [] if arguments.write else find_differences(found)
        failed += bool(differences)
        print(f"{path}: {len(found)} blocks in {seconds:.0f} s", *differences, sep="\n")
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
