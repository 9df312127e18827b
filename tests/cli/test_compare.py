"""`keras-ae compare` and `keras_ae.compare`: runs in processes, their figures and the report."""

import json
import math
import re

import numpy as np
import pytest
from command_line import assert_one_line, command

import keras_ae
from keras_ae.cli import compare as comparison
from keras_ae.cli import report, runs, trial

TINY = {"encoder": "mlp", "decoder": "mlp", "network_options": {"units": [8]}, "latent_dim": 2}
WORDS = [f"--set={name}={json.dumps(value)}" for name, value in TINY.items()]


class Ended:
    """What stands for a process that has ended."""

    def __init__(self, returncode=0):
        self.returncode = returncode

    def poll(self):
        return self.returncode


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """64 pictures of two classes, the second of which is brighter, sorted by class."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 32)
    x = np.clip(0.3 * rng.random((64, 12, 12, 1)) + 0.6 * labels[:, None, None, None], 0.0, 1.0)
    path = tmp_path_factory.mktemp("data") / "pictures.npz"
    np.savez(path, x=x.astype("float32"), y=labels)
    return path


@pytest.fixture(scope="module")
def place(data, tmp_path_factory):
    """A report of one model that trains and one that cannot, each in a process of its own."""
    folder = tmp_path_factory.mktemp("compare") / "report"
    words = ("--models", "AE", "MultimodalVAE", "--seeds", "3", "--epochs", "1", "--processes", "2")
    assert command("compare", "--data", data, *words, *WORDS, "--output", folder) == 0
    return folder


def read_table(folder):
    import pandas

    return pandas.read_csv(folder / "results.csv")


@pytest.fixture
def here(monkeypatch):
    """Run every model in this process, because another takes seconds to start."""
    begun = []

    def start(each):
        begun.append(each.name)
        try:
            trial.run(each.settings, each.folder)
        except (TypeError, ValueError) as error:
            each.log.write_text(f"a warning\nkeras-ae: error: {error}\n")
            return Ended(2)
        return Ended()

    monkeypatch.setattr(comparison, "_start", start)
    return begun


# ---------------------------------------------------------------------- runs


@pytest.mark.costly
def test_a_run_that_fails_leaves_the_others(place):
    table = read_table(place)
    assert table["model"].tolist() == ["AE", "MultimodalVAE"] and table["seed"].tolist() == [3, 3]
    good, bad = (row for _, row in table.iterrows())
    assert good["MSE"] > 0 and good["PSNR (dB)"] > 0 and good["training (s)"] > 0
    assert good["beats untrained"] == "yes" and good["features"] == "pca-3"
    assert math.isnan(bad["MSE"]) and "takes a dictionary of its modalities" in bad["error"]
    assert "\n" not in bad["error"]
    for name in ("report.md", "report.html"):
        text = (place / name).read_text()
        assert "seed 3: x is a ndarray" in text and "Fréchet distance" in text
    page = (place / "report.html").read_text()
    assert page.count('src="data:image/png;base64,') == 3
    assert not re.search(r'(src|href)="(?!data:)', page)


@pytest.mark.costly
def test_what_is_finished_is_not_trained_again(place, data, here, capsys):
    file = place / "runs" / "ae_3" / trial.FIGURES
    before = file.stat().st_mtime_ns
    options = {"epochs": 1, "arguments": TINY, "verbose": 0}
    table = keras_ae.compare(data, ["AE"], [3], place, **options)
    assert here == [] and file.stat().st_mtime_ns == before and table["model"].tolist() == ["AE"]
    assert capsys.readouterr().out == ""
    # A trained model whose figures are missing is only evaluated.
    file.unlink()
    (place / "runs" / "ae_3" / "metrics.json").touch()
    again = keras_ae.compare(data, ["AE"], [3], place, **options)
    assert here == ["AE, seed 3"] and again["MSE"][0] == pytest.approx(table["MSE"][0], rel=1e-4)
    assert again["training (s)"].isna()[0]
    with pytest.raises(ValueError, match="AE, seed 3 in .* was started with epochs=1, not 2"):
        keras_ae.compare(data, ["AE"], [3], place, **options | {"epochs": 2})
    # Figures of another version of the package stay what they are, and are named by it.
    figures = json.loads(file.read_text())
    file.write_text(json.dumps({**figures, "versions": "keras_ae 0.0"}))
    keras_ae.compare(data, ["AE"], [3], place, **options)
    assert "- versions: keras\\_ae 0.0\n" in (place / "report.md").read_text()
    # So do those of data that has been replaced since.
    content = data.read_bytes()
    try:
        with np.load(data) as arrays:
            changed = {"x": 1.0 - arrays["x"], "y": arrays["y"]}
        np.savez(data, **changed)
        with pytest.raises(ValueError, match="has changed since the runs in .* Pass another out"):
            keras_ae.compare(data, ["AE"], [3], place, **options)
    finally:
        data.write_bytes(content)


@pytest.mark.costly
def test_every_model_has_the_figures_that_apply(data, here, tmp_path):
    small = {"num_codes": 4, "code_length": 2, "prior_options": {"units": 4, "num_layers": 1}}
    arguments = {**TINY, "VQVAE": small}
    table = keras_ae.compare(
        data, ["VAE", "VQVAE"], [0], tmp_path / "r", epochs=1, arguments=arguments, verbose=0
    )
    vae, vqvae = (row for _, row in table.iterrows())
    assert runs.read_settings(tmp_path / "r" / "runs" / "vae_0")[0].arguments == TINY
    for row in (vae, vqvae):
        for name in ("MSE", "SSIM", "precision", "coverage", "kernel distance", "parameters"):
            assert math.isfinite(row[name]), name
        assert 0 <= row["linear probe (%)"] <= 100
        assert 50 <= row["accuracy of k-means (%)"] <= 100 and row["its NMI"] >= 0
        assert row["accuracy of the model’s clusters (%)"] is None and row["MIG"] is None
        assert row["untrained MSE"] != row["MSE"]
    assert vae["log-likelihood (nats)"] >= -vae["negative bound (nats)"] - 0.5
    assert vae["likelihood"] == "Bernoulli"
    assert vae["its standard error (nats)"] > 0 and vae["active units"] in (0, 1, 2)
    assert math.isnan(vae["codebook usage (%)"]) and math.isnan(vqvae["active units"])
    assert vqvae["codebook usage (%)"] in (25, 50, 75, 100)
    assert 1 <= vqvae["codebook perplexity"] <= 4
    # The classes differ in brightness, and the sorted data is not cut off after the first class.
    stored = json.loads((tmp_path / "r" / "runs" / "vae_0" / trial.FIGURES).read_text())
    assert stored["probe_baselines"]["data"]["linear"] == 1.0


@pytest.mark.costly
def test_factors_and_clusters_are_scored(here, tmp_path):
    """The pictures are two bars, whose heights are the factors, which a code of pixels has."""
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 3, (1200, 2))
    x = np.zeros((1200, 4, 4, 1), "float32")
    for column, heights in enumerate(factors.T):
        x[:, :, 2 * column] = (np.arange(4) <= heights[:, None])[..., None]
    # A column with one value is no factor, and fails no run.
    np.savez(tmp_path / "bars.npz", x=x, y=np.pad(factors, ((0, 0), (0, 1))))
    table = keras_ae.compare(
        tmp_path / "bars.npz", ["AE"], [0], tmp_path / "r", epochs=1, arguments=TINY, verbose=0
    )
    row = table.iloc[0]
    names = ["MIG", "DCI: disentanglement", "DCI: completeness", "SAP", "modularity", "IRS"]
    assert all(0 <= row[name] <= 1 for name in [*names, "explicitness"])
    assert row["Gaussian total correlation (nats)"] >= 0 and row["DCI: accuracy (%)"] > 33
    assert row["score of FactorVAE"] is None
    text = (tmp_path / "r" / "report.md").read_text()
    assert "## Disentanglement" in text and "## Clusters" in text

    groups = rng.integers(0, 2, 200)
    spread = rng.normal(size=(200, 3)).astype("float32")
    np.savez(tmp_path / "groups.npz", x=spread + 8 * groups[:, None], y=groups)
    options = {"num_clusters": 2, "network_options": {"units": [8]}, "latent_dim": 2}
    table = keras_ae.compare(
        tmp_path / "groups.npz", ["IDEC"], [0], tmp_path / "g", arguments=options, verbose=0
    )
    assert table["accuracy of the model’s clusters (%)"][0] > 95
    assert table["accuracy of k-means (%)"][0] > 95


def test_the_objective_of_before_has_the_weights_of_the_end(data):
    """A schedule that has ended weighs the divergence of the untrained model, too."""
    schedule = {"class_name": "keras_ae>LinearWarmUp", "config": {"num_steps": 2}}
    settings = runs.Settings("VAE", str(data), arguments={**TINY, "kl_weight": schedule})
    x = runs.examples(str(data), "train")
    model = runs.make_model(settings)
    model.fit(x, epochs=2, verbose=0)
    untrained = trial._make_untrained(model, settings, x)
    found = untrained.evaluate(x, return_dict=True, verbose=0)
    assert found["loss"] == pytest.approx(found["reconstruction_loss"] + found["kl_loss"])
    # The two share no arrays, which a loop on JAX would have used up.
    assert np.all(np.isfinite(model.evaluate(x, verbose=0)))


def test_a_comparison_without_any_finished_run(data, monkeypatch, tmp_path):
    def start(each):
        each.log.write_text("Traceback\nAssertionError: odd\n")
        return Ended(-9 if each.settings.seed else 1)

    monkeypatch.setattr(comparison, "_start", start)
    with pytest.raises(RuntimeError, match="every run failed. The first: AssertionError: odd"):
        keras_ae.compare(data, ["AE"], output=tmp_path / "r", verbose=0)
    assert comparison._read_error(tmp_path / "r" / "runs" / "ae_0.log", -9).endswith("signal 9.")


@pytest.mark.costly
def test_data_that_is_streamed_and_labels_that_a_model_reads(data, monkeypatch):
    settings = runs.Settings(
        "ConditionalVAE", str(data), 1, 32, arguments=TINY | {"num_classes": 2}
    )
    found = []
    for limit in (runs.IN_MEMORY, 1000):
        monkeypatch.setattr(runs, "IN_MEMORY", limit)
        model = runs.make_model(settings)
        x = runs.examples(str(data), "train", model)
        assert runs.are_arrays(x) == (limit > 1000)
        model.build({"x": (None, 12, 12, 1), "label": (None,)})
        found.append(trial.evaluate(model, settings, runs.measure(model, str(data), "test")))
    # The first examples of a stream are other ones than those that are scattered over an array.
    assert found[0].keys() == found[1].keys()
    for name in ("objective", "untrained_objective", "mse"):
        assert found[1][name] == pytest.approx(found[0][name], rel=1e-4), name


# ---------------------------------------------------------------------- the report


def result(model, seed, **figures):
    judged = {"beats_untrained": figures.pop("judged", "yes"), "error": figures.pop("error", None)}
    return {"model": model, "seed": seed, **figures, **judged}


RESULTS = [
    result("A", 0, psnr=20.0, codebook_usage=0.5),
    result("A", 1, psnr=22.0, codebook_usage=0.7, judged="not in objective"),
    result("B", 0, psnr=30.0),
    result("B", 1, error="<b>bad | news</b>"),
    result("C", 0, error="worse"),
]


def test_means_and_spread_over_seeds():
    text = report.format_markdown(RESULTS, {"data": "d", "command": "c --set 'a_b'"})
    assert "| A | 21.00 ± 1.41 |" in text and "| B | **30.00** |" in text
    assert "| A | 60.0 ± 14.1 |" in text and "codebook usage (%)" in text
    assert "✗ not in objective (seed 1)" in text
    assert r"seed 1: \<b>bad \| news\</b>" in text and "seed 0: worse" in text
    assert "`c --set 'a_b'`" in text and "Likelihood" not in text


def test_likelihoods_of_other_kinds_have_no_best_one():
    figures = {"likelihood": "Bernoulli", "negative_bound": 90.0}
    alike = [result("A", 0, **figures), result("B", 0, **figures | {"negative_bound": 80.0})]
    assert "| B | **80.00** | Bernoulli |" in report.format_markdown(alike, {})
    alike[1]["likelihood"] = "Gaussian"
    alike.append(result("C", 0, mse=1.0))
    text = report.format_markdown(alike, {})
    assert "| B | 80.00 | Gaussian |" in text and "**" not in text
    assert "| C |  |" not in text.partition("## Likelihood")[2]


def test_a_page_shows_what_errors_say_and_runs_nothing():
    page = report.format_page(RESULTS, {"data": "<script>"}, {})
    assert "&lt;b&gt;bad | news&lt;/b&gt;" in page and "<script>" not in page


def test_markdown_shows_a_description_as_it_is():
    text = report.format_markdown([], {"data": "a_b", "command": "keras-ae compare --data a_b"})
    assert "- data: a\\_b\n- command: `keras-ae compare --data a_b`\n" in text
    assert "`" not in report.format_markdown([], {"data": "a_b"}).replace("\\`", "")
    assert "\\`" not in report.format_markdown([], {"data": "a_b"})


def test_copies_that_are_exact():
    x = np.zeros((2, 4, 4, 1))
    assert trial._score_pictures(x, x)["psnr"] == math.inf
    assert trial._score_pictures(x, x + [[[[0.0]]], [[[0.1]]]])["psnr"] == pytest.approx(20.0)


def test_columns_have_units():
    rows = report.name_columns(RESULTS)
    assert rows[0]["PSNR (dB)"] == 20.0 and rows[0]["codebook usage (%)"] == 50.0
    assert rows[2]["codebook usage (%)"] is None and rows[4]["error"] == "worse"
    assert {"negative bound (nats)", "training (s)", "its standard error (nats)"} <= set(rows[0])
    assert rows[0]["likelihood"] is None


@pytest.mark.parametrize(
    ("figures", "wanted"),
    [
        ({"objective": 1.0, "mse": 1.0}, "yes"),
        ({"objective": 3.0, "mse": 1.0}, "not in objective"),
        ({"objective": 1.0, "mse": 2.0}, "not in reconstruction"),
        ({"objective": math.nan, "mse": math.nan}, "no"),
        ({"objective": 3.0, "mse": 1.0, "has_players": True}, "yes"),
        ({"objective": 1.0, "mse": 3.0, "has_players": True}, "no"),
    ],
)
def test_a_model_must_beat_its_untrained_self(figures, wanted):
    before = {"untrained_objective": 2.0, "untrained_mse": 2.0, "has_players": False}
    assert comparison._judge(before | figures) == wanted


# ---------------------------------------------------------------------- the command line


def test_lists_in_words_and_in_a_file(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(
        comparison, "compare", lambda *given, **options: calls.append((given, options))
    )
    words = ("--seeds", 0, 1, "--models", "AE", "VAE", "--epochs", 2, "--seeds=5")
    assert command("compare", *words, "--set", "latent_dim=3", "--set", "VAE.kl_weight=2") == 0
    (data, names, seeds, _), options = calls.pop()
    assert (data, names, seeds) == ("digits", ["AE", "VAE"], [0, 1, 5])
    assert options["arguments"] == {"latent_dim": 3, "VAE": {"kl_weight": 2}}
    assert options["epochs"] == 2
    file = tmp_path / "compare.toml"
    file.write_text(
        'models = ["BetaVAE", "AE"]\nseeds = [1, 2]\nprocesses = 3\n'
        '[set]\nlatent_dim = 2\nBetaVAE = {beta = 4, name = "x"}\n'
    )
    words = ("--config", file, "--set", "BetaVAE.beta=8")
    assert command("compare", *words) == 0
    (_, names, seeds, _), options = calls.pop()
    assert (names, seeds, options["processes"]) == (["BetaVAE", "AE"], [1, 2], 3)
    assert options["arguments"] == {"latent_dim": 2, "BetaVAE": {"beta": 8, "name": "x"}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--models", "VEA"], "Did you mean 'VAE'?"),
        ([], "Missing option '--models'"),
        (["--models", "--seeds", "1"], "--models: write at least one value"),
        (["--models", "AE", "AE"], "a list of different entries"),
        (["--models", "AE", "--seeds", "x"], "Invalid value for '--seeds'"),
        (["--models", "AE", "--seeds", "0", "-1"], "seed=-1"),
        (["--models", "AE", "--set", "beta=2"], "none of AE has an argument 'beta'"),
        (["--models", "AE", "VAE", "--set", "AE.kl_weight=2"], "AE has no argument 'kl_weight'"),
        (["--models", "AE", "--set", "VAE.beta=2"], "VAE, which is not among the models"),
        (["--models", "AE", "--set", "seed=2"], "seeds=[0, 1, 2]"),
        (["--models", "AE", "--set", "AE=2"], "arguments['AE']=2 must be a dictionary"),
        (["--models", "AE", "--epochs", "0"], "epochs=0"),
        (["--models", "AE", "--processes", "0"], "processes=0"),
        (["--models", "AE", "--data", "no_such_data"], "name='no_such_data' is unknown"),
    ],
)
def test_mistakes(words, message, tmp_path, capsys):
    assert command("compare", *words, "--output", tmp_path / "r") == 2
    assert_one_line(capsys.readouterr(), message)
    assert not (tmp_path / "r").exists()


def test_a_folder_with_other_files_is_left_alone(tmp_path, data):
    (tmp_path / "mine.txt").write_text("text")
    for output, words in ((tmp_path, "holds no report"), (tmp_path / "mine.txt", "is a file")):
        with pytest.raises(FileExistsError, match=words):
            keras_ae.compare(data, ["AE"], output=output)
    with pytest.raises(TypeError, match="data=ndarray of shape .* must be a name or a path"):
        keras_ae.compare(np.zeros((9, 3)), ["AE"], output=tmp_path / "r")
    with pytest.raises(TypeError, match="arguments cannot be written as JSON"):
        keras_ae.compare(data, ["AE"], output=tmp_path / "r", arguments={"encoder": object()})
    for wrong in ("AE", [], ["AE", 3], 3):
        with pytest.raises((TypeError, ValueError), match="must be a list, such as"):
            keras_ae.compare(data, wrong, output=tmp_path / "r")


def test_lists_of_a_file_have_words(tmp_path, capsys):
    file = tmp_path / "compare.toml"
    for text in ('models = "AE"', "models = []", "models = [[1]]", "models = {AE = 1}"):
        file.write_text(text)
        assert command("compare", "--config", file) == 2
        assert_one_line(capsys.readouterr(), "must be a list of numbers or strings")
