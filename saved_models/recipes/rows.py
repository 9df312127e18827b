"""Recipes of models of vectors, tables and counts."""

import figures
import keras
import numpy as np
import sources
from pictures import DIGITS, build
from recipe import Recipe

import keras_ae

FEW_LABELS_EPOCHS = 3


def make_semi_supervised(seed):
    """Make a model whose classifier moves each digit by up to two pixels in training."""
    conv = {"strides": 2, "activation": "relu", "padding": "same"}
    classifier = keras.Sequential(
        [
            keras.Input((784,)),
            keras.layers.Reshape((28, 28, 1)),
            keras.layers.RandomTranslation(0.08, 0.08, fill_mode="constant", seed=seed),
            keras.layers.Conv2D(16, 5, **conv),
            keras.layers.Conv2D(24, 5, **conv),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.4),
            keras.layers.Dense(32, "relu"),
        ],
        name="classifier",
    )
    options = {"classification_weight": 1.0, "network_options": {"units": (48,)}}
    model = keras_ae.SemiSupervisedVAE(16, classifier=classifier, seed=seed, **options)
    model.compile(keras.optimizers.Adam(1e-3))
    return model


def train_with_few_labels(model, train, seed):
    """Train the classifier with the labeled digits, then the other parts, and then all of them."""
    model.build({"x": (None, 784), "label": (None,)})
    parts = [model.classifier, model.features_to_logits]
    alone = keras.Sequential(parts)
    smooth = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    alone.compile(keras.optimizers.Adam(1e-3), smooth)
    labeled = slice(60_000, 60_100)  # The copies of labeled digits come last.
    wanted = np.eye(10)[train["label"][labeled]]
    alone.fit(train["x"][labeled], wanted, batch_size=50, epochs=500, verbose=0)
    steps = FEW_LABELS_EPOCHS * -(-len(train["x"]) // 100)
    for rate, epochs, is_frozen in (
        (2e-3, 1, True),
        (keras.optimizers.schedules.CosineDecay(2e-3, steps), FEW_LABELS_EPOCHS, False),
    ):
        for part in parts:
            part.trainable = not is_frozen
        model.compile(keras.optimizers.Adam(rate))
        options = {"batch_size": 100, "epochs": epochs, "verbose": 0}
        model.fit(train["x"], label=train["label"], **options)


def train_two_modalities(model, train, seed):
    """Raise the weight of the label in the second half, as in the row `multimodal`."""
    steps = 12 * -(-60_000 // 128)
    model.compile(keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps)))
    for weight in (1.0, 20.0):
        model.modality_weights["label"] = weight
        model.fit(train["x"], batch_size=128, epochs=6, verbose=0)


RECIPES = {
    "semi_supervised_vae_mnist": Recipe(
        "Classifies digits, of which it saw labels of 100 and 60,000 without.",
        "Few labels and many examples.",
        "With more labels, a plain classifier is as good.",
        sources.MNIST_FEW_LABELS,
        make_semi_supervised,
        (figures.classes,),
        training=train_with_few_labels,
        classes=DIGITS,
    ),
    "multimodal_vae_mnist": Recipe(
        "A VAE of digits together with their labels, either of which may be missing.",
        "A label of a picture, and a picture of a label.",
        "Pictures were binarized by random draws.",
        sources.MNIST_WITH_LABELS,
        build(
            keras_ae.MultimodalVAE,
            16,
            modalities={"image": "bernoulli", "label": "categorical"},
            network_options={"units": (64,)},
        ),
        (figures.losses, figures.other_modality),
        training=train_two_modalities,
        classes=DIGITS,
    ),
    "dec_digits": Recipe(
        "Finds ten clusters of digits of 8 by 8 pixels without labels.",
        "Clusters that are learned together with the code.",
        "Some clusters mix two digits, such as 1 and 8.",
        sources.DIGITS_ROWS,
        build(
            keras_ae.DEC,
            10,
            pretraining_steps=100 * 45,
            encoder="mlp",
            decoder="mlp",
            rate=1e-3,
            network_options={"units": (64, 128)},
        ),
        (figures.clusters,),
        200,
        32,
    ),
    "top_k_sae_classifier": Recipe(
        "Sparse features of the last layer of a classifier of digits.",
        "Interpreting a network: each example is the sum of eight directions.",
        "It belongs to the classifier of keras_ae.evaluation.DigitFeatures alone.",
        sources.CLASSIFIER_FEATURES,
        build(keras_ae.TopKSAE, 256, k=8, epochs=20, rate=1e-3),
        (figures.dictionary,),
        20,
    ),
    "concrete_ae_digits": Recipe(
        "Selects 16 of the 64 pixels of a digit, and computes the others from these.",
        "Selecting features without labels.",
        "Another training selects other pixels, which tell about as much.",
        sources.DIGITS_ROWS,
        build(keras_ae.ConcreteAE, 16, epochs=None, rate=2e-3, network_options={"units": (64,)}),
        (figures.reconstructions,),
        150,
        32,
    ),
    "linear_ae_digits": Recipe(
        "Principal components of digits of 8 by 8 pixels, learned by gradient descent.",
        "A baseline for other autoencoders.",
        "It computes nothing that PCA does not.",
        sources.DIGITS_ROWS,
        build(keras_ae.LinearAE, 16, epochs=None, rate=5e-3),
        (figures.reconstructions, figures.neighbors),
        100,
        32,
    ),
    "missing_data_iwae_wine": Recipe(
        "Fills in missing measurements of wines.",
        "Tables of numbers in which cells are missing.",
        "It knows the twelve columns of this table, in their order.",
        sources.WINE,
        build(
            keras_ae.MissingDataIWAE,
            8,
            num_samples=10,
            likelihood="student_t",
            standardize=True,
            epochs=100,
            examples=5848,
            rate=1e-3,
            network_options={"units": (64, 64)},
        ),
        (figures.missing_pixels(0.3),),
        100,
    ),
    "tabular_vae_adult": Recipe(
        "Makes rows of the census table Adult, with numbers, categories and missing cells.",
        "Rows to test a program with, which resemble real ones.",
        "It promises no privacy: rows are not copied, but nothing bounds what they tell.",
        sources.ADULT,
        build(
            keras_ae.TabularVAE,
            16,
            epochs=60,
            examples=32_561,
            batch_size=500,
            rate=1e-3,
            network_options={"units": (96, 96)},
        ),
        (figures.synthetic_rows,),
        60,
        500,
    ),
    "prod_lda_20_newsgroups": Recipe(
        "Finds 20 topics in messages of newsgroups.",
        "Topics of documents, and words of topics.",
        "It counts 3,072 words. Others are ignored.",
        sources.NEWSGROUPS,
        build(keras_ae.ProdLDA, 20, rate=2e-3, network_options={"units": (24,)}),
        (figures.topics,),
        40,
        200,
    ),
    "count_vae_worm": Recipe(
        "A VAE of the counts of 500 genes in nerve cells of a worm.",
        "Codes of cells that do not depend on how deeply a cell was sequenced.",
        "Genes and cells of another experiment need a model of their own.",
        sources.CELLS,
        build(
            keras_ae.CountVAE,
            10,
            epochs=40,
            examples=3768,
            network_options={"units": (48,), "dropout": 0.1},
        ),
        (figures.losses, figures.few_likelihoods, figures.neighbors),
        40,
    ),
}
