"""Complete the pages of the models with what the code says of them.

docs/models/<Name>.md holds what a person wrote: the objective and when to use the model. This adds
the facts, the arguments, the pretrained models, and the pages on which the model occurs.
"""

import html
import importlib
import inspect
import json
import pathlib
import posixpath
import re

from markdown.extensions.toc import slugify

TOP = pathlib.Path(__file__).resolve().parents[2]
RESULTS = TOP / "benchmarks" / "RESULTS.md"
TABLE = "<!-- table of models -->"
FAMILIES = {
    "deterministic": "Without a posterior",
    "variational": "Variational",
    "importance_weighted": "Bounds of several samples",
    "hierarchical": "Several layers of latent variables",
    "geometric": "Geometry of the code",
    "adversarial": "With a discriminator",
    "discrete": "Integer codes",
    "sparse": "Sparse dictionaries",
    "conditional": "With a label or a condition",
    "multimodal": "Several modalities",
    "tabular": "Tables",
    "counts": "Counts",
    "recommendation": "Recommendations",
    "topics": "Topics",
    "clustering": "Clusters",
    "anomaly": "Anomalies",
    "series": "Sequences",
}
# Methods that a subclass of `Autoencoder` defines for the base class, and that users do not call.
INTERNAL = {
    "build", "build_from_config", "call", "compute_output_shape", "elbo_terms", "from_config",
    "get_build_config", "get_config", "loss_terms", "loss_weights", "train_on_batch",
}  # fmt: skip


def by_family():
    """Return the models: family -> sorted names."""
    from keras_ae.models import FILES

    found = {family: [] for family in FAMILIES}
    for name, module in FILES.items():
        found[module.split(".")[0]].append(name)
    return {family: sorted(names) for family, names in found.items()}


def on_config(config):
    """Add a page for each model to the navigation, in the section that has models/index.md."""
    for entry in config.nav:
        if isinstance(entry, dict) and "models/index.md" in next(iter(entry.values())):
            section = next(iter(entry.values()))
            for family, names in by_family().items():
                pages = [{name: f"models/{name}.md"} for name in names]
                section.append({FAMILIES[family]: pages})
    return config


def on_page_markdown(markdown, page, **_):
    from keras_ae.models import FILES

    folder, name = posixpath.split(page.file.src_uri.removesuffix(".md"))
    if page.file.src_uri == "models/index.md":
        return markdown.replace(TABLE, draw_table())
    if folder != "models" or name not in FILES:
        return markdown
    title, _, text = markdown.partition("\n")
    cls = load_class(name)
    parts = [title, summary(cls), draw_facts(cls, page.meta), text.strip(), *draw_rest(cls)]
    return "\n\n".join(part for part in parts if part)


def on_page_content(content, page, **_):
    """Let the names of models and of the package's modules lead to their pages."""
    here = posixpath.dirname(page.url)

    def replace(match):
        target = page_of(match[2])
        if target is None or target == page.url:
            return match[0]
        path = posixpath.relpath(target, here or ".")
        return f'<a class="model" href="{path}">{match[1]}</a>'

    names = re.compile(r"(<code>((?:keras_ae\.)?\w+(?:\.\w+)?)</code>)")
    parts = re.split(r"(<a\b.*?</a>|<h\d.*?</h\d>|<pre.*?</pre>)", content, flags=re.DOTALL)
    return "".join(p if number % 2 else names.sub(replace, p) for number, p in enumerate(parts))


def page_of(name):
    """Return the page about a name in the text, such as `VAE` or `keras_ae.losses`, or None."""
    from keras_ae.models import FILES

    package, _, rest = name.partition("keras_ae.")
    first, *more = (rest or package).split(".")
    if first in FILES and not more:
        return f"models/{first}.html"
    if rest == "Autoencoder":
        return "api/autoencoder.html"
    has_page = rest and (TOP / "docs" / "api" / f"{first}.md").exists()
    return f"api/{first}.html" if has_page else None


# ---------------------------------------------------------------------- facts


def load_class(name):
    import keras_ae

    return getattr(keras_ae, name)


def summary(cls):
    """Return the first line of a class's docstring."""
    return inspect.getdoc(cls).splitlines()[0]


def paper_of(cls):
    """Return the first line of the module's docstring, with a link to the paper."""
    text = importlib.import_module(cls.__module__).__doc__.splitlines()[0].rstrip(".")
    text = re.sub(r"(?<!/)\b(openreview\.net/)", r"https://\1", text)
    text = re.sub(r"arXiv:(\d{4}\.\d{4,5})", r"[arXiv:\1](https://arxiv.org/abs/\1)", text)
    text = re.sub(r"doi:(10\.[^\s,;]+)", link_doi, text)
    return re.sub(r"(?<!\()(https?://[^\s,;]+)", r"<\1>", text)


def link_doi(match):
    address = match[1].replace("(", "%28").replace(")", "%29")
    return f"[doi:{match[1]}](https://doi.org/{address})"


def describe_reading(cls):
    """Say what kinds of data a class takes."""
    from keras_ae.core.configuration import constructor_parameters

    names = constructor_parameters(cls)
    if "modalities" in names:
        return "a dictionary of arrays, in which a row of NaN is absent"
    said = ["a table, as a DataFrame or an array" if "columns" in names else "one array"]
    if cls.extra_inputs:
        inputs = ", ".join(f"`{name}`" for name in cls.extra_inputs)
        said.append(f"named inputs: {inputs}")
    if cls._allow_nan:
        said.append("NaN is a missing value")
    if cls._takes_sparse or names.get("likelihood") in ("multinomial",):
        said.append("`scipy.sparse` matrices")
    return "; ".join(said)


def describe_losses(cls):
    """List the losses by who minimizes them."""
    rows = ["+".join(f"`{name}`" for name in cls.objective).replace("+", ", ")]
    for player, names in cls.players.items():
        parts = (player,) if isinstance(player, str) else player
        who = " and ".join(part.replace("_", " ") for part in parts)
        rows.append(f"{who}: " + ", ".join(f"`{name}`" for name in names))
    return "; ".join(rows)


def draw_facts(cls, meta):
    code = meta.get("code", "(latent_dim,)")
    rows = [
        ("Paper", paper_of(cls)),
        ("Reads", describe_reading(cls)),
        ("Code of an example", f"`{code}`, {cls._code_dtype}"),
        ("Minimized losses", describe_losses(cls)),
    ]
    return "| | |\n|---|---|\n" + "\n".join(f"| **{name}** | {value} |" for name, value in rows)


def draw_rest(cls):
    """Return the sections that follow what a person wrote."""
    name = cls.__name__
    return [
        draw_pretrained(name),
        draw_gallery(name),
        draw_measured(name),
        draw_uses(name),
        draw_arguments(cls),
    ]


def draw_arguments(cls):
    from keras_ae.core.configuration import constructor_parameters

    given = constructor_parameters(cls)
    defaults = "\n".join(f"    {name}={value!r}," for name, value in given.items())
    members = [
        name
        for name, value in vars(cls).items()
        if not name.startswith("_")
        and name not in INTERNAL
        and (inspect.isfunction(value) or isinstance(value, property))
        and value.__doc__
    ]
    options = ["heading_level: 3", "show_root_heading: false", "show_root_toc_entry: false"]
    options.append(f"members: {json.dumps(members)}")
    options.append("inherited_members: false")
    listed = "\n".join(f"      {option}" for option in options)
    return (
        "## Arguments and methods\n\n"
        f"```python\nkeras_ae.{cls.__name__}(\n{defaults}\n)\n```\n\n"
        f"::: {cls.__module__}.{cls.__name__}\n    options:\n{listed}\n\n"
        "The methods that all models have are those of\n"
        "[Autoencoder](../api/autoencoder.md)."
    )


# ---------------------------------------------------------------------- figures and pictures


def draw_pretrained(name):
    from keras_ae.saving import collection

    known = {key: facts for key, facts in collection.describe().items() if facts["model"] == name}
    if not known:
        return ""
    lines = ["## Pretrained", ""]
    for key, facts in known.items():
        lines.append(f"- [{key}](../pretrained/{key}.md): {facts['sentence']} {facts['limits']}")
    has_picture = [key for key in known if (TOP / "docs" / "pictures" / f"{key}.png").exists()]
    lines += [f"\n![{key}](../pictures/{key}.png){{ .samples }}" for key in has_picture]
    return "\n".join(lines)


def draw_gallery(name):
    if not (TOP / "docs" / "gallery" / f"{name}.png").exists():
        return ""
    return (
        "## Samples\n\n"
        f"![Sixteen samples of {name}](../gallery/{name}.png){{ .samples }}\n\n"
        "*The first sixteen samples with seed 0, not selected, of a model that was trained on\n"
        "MNIST for ten epochs by `python -m benchmarks.reproduce samples`.*"
    )


def find_sections(name):
    """List the headings of the sections of RESULTS.md in which a model occurs."""
    heading, found = None, []
    for line in RESULTS.read_text().splitlines():
        if re.match(r"#{2,3} ", line):
            heading = line.lstrip("# ")
        if heading and re.search(rf"`{name}[`(\-]", line) and heading not in found:
            found.append(heading)
    return found


def draw_measured(name):
    sections = find_sections(name)
    if not sections:
        return ""
    links = [f"- [{each}](../benchmarks/RESULTS.md#{slugify(each, '-')})" for each in sections]
    return "## Measured\n\n" + "\n".join(links)


def find_uses(name):
    """Return the guides and notebooks whose code names a model: title -> path from docs/models."""
    used, found = re.compile(rf"\b{name}\b"), {}
    for path in sorted((TOP / "docs" / "guides").glob("*.md")):
        text = path.read_text()
        if any(used.search(code) for code in re.findall(r"```python.*?```", text, re.DOTALL)):
            found[text.splitlines()[0].lstrip("# ")] = f"../guides/{path.name}"
    for path in sorted((TOP / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        code = "".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
        if used.search(code):
            found["Notebook: " + "".join(cells[0]["source"]).splitlines()[0].lstrip("# ")] = (
                f"../notebooks/{path.name}"
            )
    return found


def draw_uses(name):
    uses = find_uses(name)
    links = "\n".join(f"- [{html.escape(title)}]({path})" for title, path in uses.items())
    return f"## Where it is used\n\n{links}" if uses else ""


def draw_table():
    """Return the models as tables, one for each family."""
    parts = []
    for family, names in by_family().items():
        parts.append(f"## {FAMILIES[family]}\n\n| model | what it is | paper |\n|---|---|---|")
        for name in names:
            cls = load_class(name)
            parts[-1] += f"\n| [{name}]({name}.md) | {summary(cls)} | {paper_of(cls)} |"
    return "\n\n".join(parts)
