"""The pages of the site: their programs run, their links lead somewhere, no model lacks a page."""

import json
import math
import pathlib
import re
import shutil
import subprocess
import urllib.parse

import pytest

from docs import execute
from keras_ae import models

TOP = pathlib.Path(execute.__file__).parents[1]
DOCS = TOP / "docs"
PAGES = {path.relative_to(DOCS).as_posix(): path for path in sorted(DOCS.rglob("*.md"))}
WITH_CODE = [name for name, path in PAGES.items() if execute.read_blocks(path.read_text())]
# These cheap tests are tried in every run: the marker exempts them from the turns.
always = pytest.mark.divided


# ------------------------------------------------------------------ programs


@pytest.mark.costly
@pytest.mark.parametrize("page", WITH_CODE)
def test_the_programs_of_a_page_print_what_it_says(page, on_tensorflow):
    if page == "formats.md":
        pytest.importorskip("onnxruntime")
        pytest.importorskip("tf2onnx")
    found, _ = execute.run(PAGES[page])
    assert not execute.find_differences(found), "\n".join(execute.find_differences(found))


PAGE = """
```python
print(f"error {1 / 3:.2f}", (2, 3))
```

```text
error 0.33 (2, 3)
```

<!-- before:
hidden = 1
-->

```python
print("x", hidden)
```
"""


@pytest.mark.backend_free
def test_what_a_page_prints_is_compared(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(PAGE.replace('print("x", hidden)', "assert hidden == 1"))
    assert not execute.find_differences(execute.run(page)[0])
    page.write_text(PAGE)  # The last block prints something that the page does not have.
    assert len(execute.find_differences(execute.run(page)[0])) == 1
    page.write_text(PAGE.replace("0.33", "0.93").replace('print("x", hidden)', ""))
    assert len(execute.find_differences(execute.run(page)[0])) == 1


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("expected", "printed", "alike"),
    [
        ("a 0.50", "a 0.53", True),
        ("a 10.0 dB", "a 12.9 dB", True),
        ("a 10.0 dB", "a 15.0 dB", False),
        ("(2, 3)", "(2, 4)", False),
        ("a 0.5", "b 0.5", False),
        ("a 0.5", "a 0.5 0.5", False),
    ],
)
def test_numbers_may_differ_a_little(expected, printed, alike):
    assert execute.are_alike(expected, printed) is alike


@pytest.mark.backend_free
def test_what_is_written_is_what_was_printed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        PAGE.replace("0.33", "0.00") + "\n*These examples take 99 s of processor time.*\n"
    )
    found, seconds = execute.run(page)
    execute.write(page, found, seconds)
    assert "error 0.33" in page.read_text() and "take 0 s" in page.read_text()


# ------------------------------------------------------------------ links


def slug(title):
    """Return the anchor of a heading, as the site makes it."""
    plain = re.sub(r"[`*]|\[([^]]*)\]\([^)]*\)", r"\1", title)
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def anchors_of(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    return {slug(title) for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)}


def links_of(path):
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"\]\(([^()\s]*(?:\([^()]*\)[^()\s]*)*)\)", re.sub(r"`[^`]*`", "", text))


def check_links(path):
    for link in links_of(path):
        address = urllib.parse.urlsplit(link)
        if address.scheme:
            assert address.scheme == "https" and "." in address.netloc, link
            continue
        target = (path.parent / urllib.parse.unquote(address.path)) if address.path else path
        assert target.exists(), f"{path.name}: {link} leads to no file"
        if address.fragment:
            assert address.fragment in anchors_of(target), f"{path.name}: {link} has no heading"


@always
@pytest.mark.backend_free
def test_links_lead_somewhere():
    for path in (*PAGES.values(), TOP / "README.md", TOP / "benchmarks" / "RESULTS.md"):
        check_links(path)


@pytest.mark.backend_free
def test_a_link_to_nowhere_is_found(tmp_path):
    page = tmp_path / "page.md"
    for link in ("other.md", "#nothing", "http://example.com", "https://nowhere"):
        page.write_text(f"# Title\n\n[a]({link})\n")
        with pytest.raises(AssertionError):
            check_links(page)
    page.write_text("# A title\n\n[a](#a-title) [b](page.md) [c](https://example.com/(x))\n")
    check_links(page)


@always
@pytest.mark.backend_free
def test_the_navigation_has_every_page():
    """The pages of the models are added when the site is built."""
    text = (TOP / "mkdocs.yml").read_text().partition("\nnav:")[2]
    listed = set(re.findall(r"[\w/]+\.(?:md|ipynb)", text))
    notebooks = {f"notebooks/{path.name}" for path in TOP.glob("notebooks/*.ipynb")}
    written = {p for p in PAGES if p == "models/index.md" or not p.startswith("models/")}
    assert listed == written | notebooks | {"benchmarks/RESULTS.md"}


# ------------------------------------------------------------------ models


@always
@pytest.mark.backend_free
def test_every_model_has_an_equation_and_a_use():
    pages = {pathlib.PurePath(p).stem for p in PAGES if p.startswith("models/")} - {"index"}
    assert pages == set(models.FILES), "docs/models has a page of each model, and no other"
    for name in models.FILES:
        text = PAGES[f"models/{name}.md"].read_text()
        objective, _, use = text.partition("## Objective\n")[2].partition("## When to use it\n")
        assert f"\n# {name}\n" in f"\n{text}", name
        formulas = re.findall(r"^\$\$$(.*?)^\$\$$", objective, re.DOTALL | re.MULTILINE)
        assert formulas and any(s in formulas[0] for s in (r"\mathcal{L}", "aligned")), name
        assert len(use.split()) >= 8, f"{name}: when to use it?"


@pytest.mark.parametrize("name", models.FILES)
def test_the_code_has_the_shape_that_the_page_says(name):
    """The page has an expression of the model's attributes, or "positions" of integer codes."""
    import zoo

    text = PAGES[f"models/{name}.md"].read_text()
    said = re.search(r"^code: (.+)$", text, re.MULTILINE)
    said = said[1] if said else "(latent_dim,)"
    model = zoo.make(name)
    zoo.build(model)
    if said == "positions":
        assert model._code_dtype == "int32"
        return
    names = {**model.arguments, "latent_dim": model.latent_dim}
    names["patches"] = getattr(model, "_num_patches", None)
    names["positions"] = math.prod(getattr(model, "_places", ()))
    names["upper_positions"] = math.prod(getattr(model, "_upper_places", ()))
    names["steps"] = getattr(model, "_steps", [None])[0] if said.startswith("(steps") else None
    assert eval(said, {}, names) == model.code_shape


def formulas_of(text):
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    displayed = re.findall(r"^\$\$$(.*?)^\$\$$", text, re.DOTALL | re.MULTILINE)
    text = re.sub(r"^\$\$$.*?^\$\$$", "", text, flags=re.DOTALL | re.MULTILINE)
    return displayed + re.findall(r"\$([^$\n]+(?:\n[^$\n]+)?)\$", re.sub(r"`[^`]*`", "", text))


@pytest.mark.backend_free
def test_katex_takes_every_formula(tmp_path):
    from importlib.util import module_from_spec, spec_from_file_location

    pytest.importorskip("mkdocs")
    spec = spec_from_file_location("katex_hook", DOCS / "hooks" / "katex.py")
    hook = module_from_spec(spec)
    spec.loader.exec_module(hook)
    archive = hook.find_archive()
    if not archive.exists() or not shutil.which("node"):
        pytest.skip("needs Node.js, and the archive of KaTeX that a build of the site downloads")
    shutil.unpack_archive(archive, tmp_path, "gztar", filter="data")
    formulas = []
    for path in PAGES.values():
        formulas += formulas_of(path.read_text())
    (tmp_path / "formulas.json").write_text(json.dumps(formulas))
    program = (
        "const k = require('./package/dist/katex.js'); let n = 0;"
        "for (const f of require('./formulas.json'))"
        "{ k.renderToString(f, {displayMode: true}); n++ }"
        "console.log(n)"
    )
    done = subprocess.run(["node", "-e", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(formulas) > 300
