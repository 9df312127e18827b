"""The tables of a comparison, as columns with units, as Markdown, and as one page of HTML."""

import base64
import dataclasses
import html
import math
import statistics

from keras_ae.cli.terminal import escape


@dataclasses.dataclass(frozen=True)
class _Column:
    """A figure of a run.

    Args:
        key: Its name in the results.
        title: What it is, with its unit.
        digits: Decimal places in the report.
        better: 1 if more is better, -1 if less is better, and 0 if models cannot be ranked by it.
        factor: What the figure is multiplied by, 100 for percent. Defaults to 1.
    """

    key: str
    title: str
    digits: int
    better: int = 0
    factor: int = 1


_GROUPS = {
    "Training": (
        _Column("parameters", "parameters", 0),
        _Column("code_numbers", "numbers in a code", 0),
        _Column("training_seconds", "training (s)", 0),
        _Column("objective", "objective (nats or loss per example)", 2),
        _Column("untrained_objective", "untrained objective (nats or loss per example)", 2),
        _Column("untrained_mse", "untrained MSE", 4),
    ),
    "Likelihood": (
        _Column("negative_bound", "negative bound (nats)", 2, -1),
        _Column("log_likelihood", "log-likelihood (nats)", 2, 1),
        _Column("log_likelihood_standard_error", "its standard error (nats)", 2),
    ),
    "Reconstructions": (
        _Column("mse", "MSE", 4, -1),
        _Column("psnr", "PSNR (dB)", 2, 1),
        _Column("ssim", "SSIM", 3, 1),
        _Column("multiscale_ssim", "MS-SSIM", 3, 1),
        _Column("frechet_distance_of_reconstructions", "Fréchet distance (copies)", 2, -1),
    ),
    "Samples": (
        _Column("frechet_distance", "Fréchet distance", 2, -1),
        _Column("kernel_distance", "kernel distance", 4, -1),
        _Column("kernel_distance_deviation", "its deviation over subsets", 4),
        _Column("precision", "precision", 3, 1),
        _Column("recall", "recall", 3, 1),
        _Column("density", "density", 3, 1),
        _Column("coverage", "coverage", 3, 1),
    ),
    "Codes": (
        _Column("active_units", "active units", 1),
        _Column("codebook_usage", "codebook usage (%)", 1, 0, 100),
        _Column("perplexity", "codebook perplexity", 1),
        _Column("linear_probe", "linear probe (%)", 1, 1, 100),
        _Column("neighbor_probe", "nearest-neighbor probe (%)", 1, 1, 100),
    ),
    "Clusters": (
        _Column("clusters_accuracy", "accuracy of the model’s clusters (%)", 1, 1, 100),
        _Column("k_means_accuracy", "accuracy of k-means (%)", 1, 1, 100),
        _Column("k_means_normalized_mutual_information", "its NMI", 3, 1),
        _Column("k_means_adjusted_rand_index", "its adjusted Rand index", 3, 1),
    ),
    "Disentanglement": (
        _Column("factor_vae_score", "score of FactorVAE", 3, 1),
        _Column("mutual_information_gap", "MIG", 3, 1),
        _Column("dci_disentanglement", "DCI: disentanglement", 3, 1),
        _Column("dci_completeness", "DCI: completeness", 3, 1),
        _Column("dci_accuracy", "DCI: accuracy (%)", 1, 1, 100),
        _Column("sap", "SAP", 3, 1),
        _Column("modularity", "modularity", 3, 1),
        _Column("explicitness", "explicitness", 3, 1),
        _Column("irs", "IRS", 3, 1),
        _Column("downstream_accuracy", "downstream accuracy (%)", 1, 1, 100),
        _Column("gaussian_total_correlation", "Gaussian total correlation (nats)", 2, -1),
    ),
}
_COLUMNS = [column for columns in _GROUPS.values() for column in columns]
_EXPLANATIONS = {
    "Training": "The objective is that of each model on the test data. Models with other "
    "objectives cannot be compared by it. The seconds are those of the whole run, with the losses "
    "of the test data, the pictures and the saved model, on a machine that runs may have shared.",
    "Likelihood": "The log-likelihood is estimated by importance sampling from {samples} draws for "
    "each of at most 2,000 test examples. Models with other likelihoods cannot be compared by it, "
    "because a density is no probability.",
    "Reconstructions": "MSE is the mean over all numbers of all examples, in squared units of the "
    "data. PSNR is the mean over the examples that are not copied exactly.",
    "Samples": "{examples} samples are compared with as many test examples in the features "
    "{features}. As many training examples have the figures of the row “training data”, which are "
    "those of perfect samples.",
    "Codes": "The probes predict the labels of test data from codes, and of models with integer "
    "codes from their embeddings. The last rows have probes of the data itself, and of 16 of its "
    "principal components.",
    "Clusters": "Test data are divided into as many clusters as there are classes, and these are "
    "matched with the classes. Those of k-means are clusters of the codes. Its figures are means "
    "over three starts.",
    "Disentanglement": "The labels are vectors, whose numbers count as factors of variation. The "
    "scores tell how well single dimensions of the codes stand for single factors. Codes of more "
    "than 64 numbers have none.",
}
_PICTURES = {
    "samples.png": "Samples",
    "reconstructions.png": "Test data above their reconstructions",
    "loss_curves.png": "Losses over the epochs",
}
_STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 1200px; margin: 2em auto; padding: 0 1em; }
div { overflow-x: auto; }
table { border-collapse: collapse; margin: 0.5em 0; }
th, td { padding: 0.25em 0.7em; text-align: right; border-bottom: 1px solid #ddd; }
th { vertical-align: bottom; font-weight: 600; max-width: 11em; }
th:first-child, td:first-child, .text { text-align: left; }
.best { font-weight: 700; }
.reference { color: #666; font-style: italic; }
.failed { color: #b00; }
.models { display: grid; grid-template-columns: repeat(auto-fit, minmax(340px, 1fr)); gap: 1.5em; }
img { max-width: 100%; display: block; }
figure { margin: 0 0 0.8em; }
figcaption { color: #666; font-size: 13px; }
code { overflow-wrap: anywhere; }
"""


def name_columns(results):
    """Rename the figures of all runs to columns with units.

    Args:
        results: List of dictionaries, one for each run, with "model", "seed", "beats_untrained",
            "error" and the figures that `keras_ae.cli.trial` computed.

    Returns:
        List of dictionaries with all columns. What a run does not have is None.
    """
    rows = []
    for result in results:
        row = {"model": result["model"], "seed": result["seed"]}
        for column in _COLUMNS:
            value = result.get(column.key)
            row[column.title] = None if value is None else value * column.factor
        row["likelihood"] = result.get("likelihood")
        row["features"] = result.get("features")
        row["samples compared"] = result.get("examples")
        row["Fréchet distance of training data"] = result.get("frechet_distance_of_real")
        row["kernel distance of training data"] = result.get("kernel_distance_of_real")
        row["beats untrained"], row["error"] = result["beats_untrained"], result["error"]
        rows.append(row)
    return rows


def format_markdown(results, description):
    """Return the report as Markdown."""
    lines = ["# Comparison of models", ""]
    for name, text in description.items():
        # A backquote would end the code, and occurs in no option but a file's name.
        is_code = name == "command" and "`" not in text
        lines.append(f"- {name}: " + (f"`{escape(text)}`" if is_code else _escape_markdown(text)))
    for title, head, rows, text in _make_tables(results):
        lines += ["", f"## {title}", "", text, ""] if text else ["", f"## {title}", ""]
        lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        for cells, kind, best in rows:
            cells = [_escape_markdown(cell) for cell in cells]
            cells = [f"**{c}**" if i in best else c for i, c in enumerate(cells)]
            cells[0] = f"*{cells[0]}*" if kind == "reference" else cells[0]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _escape_markdown(text):
    text = escape(text)
    for character in "\\|*_`<&[]":
        text = text.replace(character, f"\\{character}")
    return text


def format_page(results, description, pictures):
    """Return the report as a page of HTML that needs no other file.

    Args:
        results: See `name_columns`.
        description: Dictionary of name -> text about the comparison.
        pictures: Dictionary from the name of each model to the folder of a run with pictures.
    """
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8"><title>Comparison of models</title>',
        f"<style>{_STYLE}</style></head><body>",
        "<h1>Comparison of models</h1><table>",
    ]
    for name, text in description.items():
        text = f"<code>{html.escape(text)}</code>" if name == "command" else html.escape(text)
        parts.append(f'<tr><td>{html.escape(name)}</td><td class="text">{text}</td></tr>')
    parts.append("</table>")
    for title, head, rows, text in _make_tables(results):
        parts.append(f"<h2>{html.escape(title)}</h2><p>{html.escape(text)}</p><div><table><tr>")
        for cell in head:
            name = "text" if cell in _TEXTS else ""
            parts.append(f'<th class="{name}">{html.escape(cell)}</th>')
        parts.append("</tr>")
        for cells, kind, best in rows:
            parts.append(f'<tr class="{kind}">')
            for number, cell in enumerate(cells):
                name = "best" if number in best else "text" if head[number] in _TEXTS else ""
                parts.append(f'<td class="{name}">{html.escape(escape(cell))}</td>')
            parts.append("</tr>")
        parts.append("</table></div>")
    parts.append('<h2>Pictures</h2><p>Of each model’s first seed.</p><div class="models">')
    for model, folder in pictures.items():
        parts.append(f"<section><h3>{html.escape(model)}</h3>")
        for file, caption in _PICTURES.items():
            if (folder / file).exists():
                data = base64.b64encode((folder / file).read_bytes()).decode()
                words = html.escape(f"{model}: {caption}")
                parts.append(
                    f'<figure><img alt="{words}" src="data:image/png;base64,{data}">'
                    f"<figcaption>{html.escape(caption)}</figcaption></figure>"
                )
        parts.append("</section>")
    return "\n".join([*parts, "</div></body></html>"]) + "\n"


# ---------------------------------------------------------------------- tables

_TEXTS = _UNTRAINED, _ERROR, _LIKELIHOOD = "beats untrained", "error", "likelihood"


def _make_tables(results):
    """Yield the title, the heads, the rows and the explanation of each table.

    Each row has its cells, its kind ("model", "failed" or "reference"), and the indices of those
    cells that are the best ones of their columns.
    """
    by_model = {}
    for result in results:
        by_model.setdefault(result["model"], []).append(result)
    finished = [result for result in results if result["error"] is None]
    for title, columns in _GROUPS.items():
        columns = [c for c in columns if any(r.get(c.key) is not None for r in finished)]
        means = {
            (model, column): _average(runs, column)
            for model, runs in by_model.items()
            for column in columns
        }
        best = {column: _find_best(column, means) for column in columns}
        kinds = {
            model: {run["likelihood"] for run in runs if "likelihood" in run}
            for model, runs in by_model.items()
        }
        if title == "Likelihood" and len(set().union(*kinds.values())) > 1:
            best = dict.fromkeys(columns, ())
        rows = []
        for model, runs in by_model.items():
            failed = all(run["error"] is not None for run in runs)
            cells = [model, *(_format(means[model, column], column) for column in columns)]
            if title == "Training":
                cells += [_tell_untrained(runs), _tell_errors(runs)]
            elif not any(cells[1:]):
                continue
            elif title == "Likelihood":
                cells.append(", ".join(kinds[model]))
            marked = {i for i, c in enumerate(columns, 1) if model in best[c]}
            rows.append((cells, "failed" if failed else "model", marked))
        rows += [(cells, "reference", ()) for cells in _make_references(title, columns, finished)]
        head = ["model", *(_name_with_direction(column) for column in columns)]
        head += {"Training": [_UNTRAINED, _ERROR], "Likelihood": [_LIKELIHOOD]}.get(title, [])
        if title == "Training" and len(finished) == len(results):
            head.pop()
            rows = [(cells[:-1], kind, marked) for cells, kind, marked in rows]
        if columns or title == "Training":
            known = next((r for r in finished if "features" in r), {})
            likely = next((r for r in finished if "log_likelihood_samples" in r), {})
            text = _EXPLANATIONS[title].format(
                features=known.get("features"),
                examples=known.get("examples"),
                samples=likely.get("log_likelihood_samples"),
            )
            yield title, head, rows, text


def _name_with_direction(column):
    # A space that does not break, because an arrow alone on a line says nothing.
    return column.title + {1: "\u00a0↑", -1: "\u00a0↓", 0: ""}[column.better]


def _average(runs, column):
    """Return the mean and the deviation of a figure over the seeds, or None if no run has it."""
    values = [run[column.key] for run in runs if run.get(column.key) is not None]
    if not values:
        return None
    values = [value * column.factor for value in values]
    spread = (
        statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None
    )
    return statistics.fmean(values), spread


def _find_best(column, means):
    """Return the models whose mean is the best one of a column, as it is printed."""
    known = {
        model: round(value[0], column.digits) * column.better
        for (model, other), value in means.items()
        if other == column and value is not None and math.isfinite(value[0])
    }
    if not column.better or len(set(known.values())) < 2:
        return ()
    return [model for model, value in known.items() if value == max(known.values())]


def _format(value, column):
    if value is None:
        return ""
    mean, spread = value
    text = f"{mean:,.{column.digits}f}"
    return text if not spread else f"{text} ± {spread:,.{max(column.digits, 1)}f}"


def _tell_untrained(runs):
    """Say in what a model does not beat its untrained self, and with which seeds."""
    lost = {}
    for run in runs:
        if run["error"] is None:
            lost.setdefault(run["beats_untrained"], []).append(str(run["seed"]))
    if not lost or list(lost) == ["yes"]:
        return "yes" if lost else ""
    lost.pop("yes", None)
    return "✗ " + "; ".join(f"{how} (seed {', '.join(seeds)})" for how, seeds in lost.items())


def _tell_errors(runs):
    return "; ".join(
        f"seed {run['seed']}: {run['error']}" for run in runs if run["error"] is not None
    )


def _make_references(title, columns, finished):
    """Return the rows that say what data itself would have."""
    keys = [column.key for column in columns]
    if title == "Samples":
        known = next((r for r in finished if "frechet_distance_of_real" in r), None)
        real = known and {
            "frechet_distance": known["frechet_distance_of_real"],
            "kernel_distance": known["kernel_distance_of_real"],
        }
        references = {"training data": real} if real else {}
    elif title == "Codes":
        known = next((r for r in finished if "probe_baselines" in r), {})
        references = {
            name.replace("_", " "): {
                "linear_probe": found["linear"],
                "neighbor_probe": found["nearest_neighbors"],
            }
            for name, found in known.get("probe_baselines", {}).items()
        }
    else:
        return []
    rows = []
    for name, figures in references.items():
        values = [figures.get(key) for key in keys]
        cells = [
            "" if value is None else _format((value * column.factor, None), column)
            for value, column in zip(values, columns, strict=True)
        ]
        rows.append([name, *cells])
    return rows
