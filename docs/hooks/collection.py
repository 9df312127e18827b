"""Make a page for each pretrained model, and a table of all, of the cards in saved_models/."""

import json
import pathlib

from mkdocs.structure.files import File

TOP = pathlib.Path(__file__).resolve().parents[2]
FOLDER = "pretrained"
TABLE = "<!-- table of pretrained models -->"
# The figures that a reader looks for first, and how the table calls them.
HEADLINES = {
    "frechet_distance_of_samples": "Fréchet distance of samples",
    "roc_auc": "ROC AUC",
    "accuracy": "accuracy",
    "clustering_accuracy": "clustering accuracy",
    "mutual_information_gap": "mutual information gap",
    "accuracy_of_label_from_image": "accuracy of labels",
    "psnr_of_repaired": "PSNR of repaired pictures",
    "roc_auc_of_sampled_rows": "ROC AUC after training on samples",
    "npmi": "coherence of topics",
    "perplexity": "perplexity",
    "explained_variance": "explained variance",
    "log_likelihood": "log-likelihood",
    "share_of_the_mean_example": "error compared with the mean's",
    "nearest_neighbor_accuracy": "nearest-neighbor accuracy",
}


def read_cards():
    """Return the cards in the repository: name -> card."""
    paths = sorted((TOP / "saved_models").glob("*/card.json"))
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def on_config(config):
    """Add the pages to the navigation, in the section that has pretrained.md."""
    for entry in config.nav:
        if isinstance(entry, dict) and "pretrained.md" in next(iter(entry.values())):
            section = next(iter(entry.values()))
            section += [{name: f"{FOLDER}/{name}.md"} for name in read_cards()]
    return config


def on_files(files, config):
    for name, card in read_cards().items():
        page = draw_page(name, card)
        files.append(File.generated(config, f"{FOLDER}/{name}.md", content=page))
    return files


def on_page_markdown(markdown, **_):
    return markdown.replace(TABLE, draw_table()) if TABLE in markdown else markdown


def draw_table():
    rows = [
        f"| [{name}]({FOLDER}/{name}.md) | [{card['model']}](models/{card['model']}.md) | "
        f"{card['sentence']} | {draw_headline(card['figures'])} | {size_of(name) / 1e6:.1f} |"
        for name, card in read_cards().items()
    ]
    head = ("| name | model | what it is | a figure of the test split | MB |", "|---" * 5 + "|")
    return "\n".join([*head, *rows])


def draw_headline(figures):
    for name, title in HEADLINES.items():
        if name in figures:
            return f"{title} {figures[name]:.4g}"
    name, value = next((n, v) for n, v in figures.items() if isinstance(v, float))
    return f"{name.replace('_', ' ')} {value:.4g}"


def size_of(name):
    """Return the bytes of a model's files."""
    paths = (TOP / "saved_models" / name).rglob("*")
    return sum(path.stat().st_size for path in paths if path.is_file())


def draw_page(name, card):
    picture = TOP / "docs" / "pictures" / f"{name}.png"
    parts = [
        f"# {name}",
        card["sentence"],
        f"```python\nimport keras_ae\n\nmodel = keras_ae.load({name!r})\n```",
        f"![{name}](../pictures/{name}.png){{ .samples }}" if picture.exists() else "",
        draw_facts(name, card),
        f"## Figures\n\n{draw_figures(card)}",
        f"Trained and measured by\n\n```sh\n{card['command']}\n```",
    ]
    return "\n\n".join(part for part in parts if part)


def draw_facts(name, card):
    latents = card["latents"]
    rows = {
        "Model": f"[{card['model']}](../models/{card['model']}.md): {card['paper']}",
        "Good for": card["use"],
        "Limits": card["limits"],
        "Data": f"{card['source']}. License: {card['data_license']}",
        "Split": card["splits"],
        "Shape of an example": f"`{card['data_shape']}`",
        "Shape of a code": f"`{latents['shape']}`",
        "Sampler": f"`{card['sampler']}`" if card.get("sampler") else "none",
        "Functions": ", ".join(f"`{each}`" for each in card["endpoints"]),
        "Classes": ", ".join(card.get("classes", ())),
        "Size": f"{card['parameters']:,} parameters, {size_of(name) / 1e6:.2f} MB",
        "Version": f"{card['version']}, of {card['date']}",
        "License": card["license"],
    }
    lines = [f"| **{title}** | {value} |" for title, value in rows.items() if value]
    return "| | |\n|---|---|\n" + "\n".join(lines)


def draw_figures(card):
    """Return the figures of the test split, and their mean and deviation over several seeds."""
    figures = {name: v for name, v in card["figures"].items() if isinstance(v, int | float)}
    spread = card.get("over_seeds", {})
    several = f" of seed {card['seeds'][0]} | mean ± deviation of {len(card['seeds'])} seeds |"
    lines = [f"| test split |{several if spread else ' |'}", "|---|---|" + "---|" * bool(spread)]
    for name, value in figures.items():
        line = f"| {name.replace('_', ' ')} | {value:.6g} |"
        if spread:
            found = spread[name]
            line += f" {found['mean']:.4g} ± {found['standard_deviation']:.2g} |"
        lines.append(line)
    return "\n".join(lines)
