"""Make pages of files outside of docs/: the notebooks, and the tables of what was measured.

A link in docs/ leads to such a file where it lies in the repository, so that it works there, too.
On the site, the page of the file has the same place below the top.
"""

import pathlib
import posixpath
import re

from mkdocs.plugins import event_priority
from mkdocs.structure.files import File

TOP = pathlib.Path(__file__).resolve().parents[2]
LINK = re.compile(r"(\]\()((?:\.\./)+(?:notebooks|benchmarks)/[^)#\s]+)")


def find_pages():
    """List the files that become pages, as paths from the top of the repository."""
    return [
        *(path.relative_to(TOP).as_posix() for path in sorted(TOP.glob("notebooks/*.ipynb"))),
        "benchmarks/RESULTS.md",
    ]


# Before the plugin of notebooks, which takes those that it finds among the files.
@event_priority(100)
def on_files(files, config):
    for path in find_pages():
        files.append(File(path, str(TOP), config.site_dir, config.use_directory_urls))
    return files


def on_page_markdown(markdown, page, **_):
    """Let links to files outside of docs/ lead to their pages."""
    pages, here = find_pages(), posixpath.dirname(page.file.src_uri)

    def replace(match):
        path = posixpath.normpath(posixpath.join("docs", here, match[2]))
        if path not in pages:
            return match[0]  # The build reports a link that leads nowhere.
        return match[1] + posixpath.relpath(path, here or ".")

    return LINK.sub(replace, markdown)
