"""Put KaTeX, which draws the formulas, into the built site.

The files come from the npm package `katex` when the site is built. They are not in the repository,
because they are 600 kB that nobody here edits; and no page loads them from another server, because
readers may be offline. `npm pack` is the lightest way to them: it downloads one archive, checks its
hash, and installs nothing. The archive is kept in the cache of the user for later builds.
"""

import os
import pathlib
import shutil
import subprocess
import tarfile

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

VERSION = "0.19.1"


def find_archive():
    """Return where KaTeX's archive is in the cache, or will be."""
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(home) / "keras_ae" / f"katex-{VERSION}.tgz"


def download(path):
    """Download KaTeX's archive to a path if it is not there."""
    if path.exists():
        return
    npm = shutil.which("npm")
    if npm is None:
        raise PluginError(
            "The formulas need npm, which downloads KaTeX once. Install Node.js, or put the "
            f"archive of the npm package katex {VERSION} at {path}."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", f"katex@{VERSION}", "--silent"]
    done = subprocess.run(command, cwd=path.parent, capture_output=True, text=True)
    if done.returncode or not path.exists():
        raise PluginError(f"npm could not download KaTeX {VERSION}: {done.stderr.strip()}")


def on_files(files, config):
    """Add the style, the program and the fonts that current browsers read."""
    path = find_archive()
    download(path)
    with tarfile.open(path) as archive:
        for member in archive.getmembers():
            name = member.name.removeprefix("package/dist/")
            is_font = name.startswith("fonts/") and name.endswith(".woff2")
            if is_font or name in ("katex.min.css", "katex.min.js"):
                content = archive.extractfile(member).read()
                files.append(File.generated(config, f"katex/{name}", content=content))
    return files
