"""Recipes of models of pictures."""

import figures
import keras
import sources
from recipe import Recipe

import keras_ae
from keras_ae import corruptions, networks, samplers
from keras_ae.schedules import LinearWarmUp

# Small networks, because an artifact has the weights twice, and is to stay below 1.5 MB.
SMALL = {"filters": (16, 32, 32), "units": ()}
# Dense networks take a thirtieth of the time.
DENSE = {"encoder": "mlp", "decoder": "mlp", "network_options": {"units": (80,)}}
CROSS_ENTROPY = {"reconstruction_loss": "binary_crossentropy"}
BOUND = (figures.losses, figures.likelihood, figures.active_units)


def build(cls, *args, epochs=None, examples=60_000, rate=2e-3, batch_size=128, **given):
    """Return a function of a seed that makes and compiles a model.

    With the number of `epochs`, the learning rate falls to 0 with a cosine.
    """

    def make(seed):
        model = cls(*args, seed=seed, **given)
        steps = -(-examples // batch_size)
        schedule = rate
        if epochs is not None:
            schedule = keras.optimizers.schedules.CosineDecay(rate, epochs * steps)
        model.compile(keras.optimizers.Adam(schedule))
        return model

    return make


def train_classifier(seed):
    """Return the feature maps of a small classifier of digits, which a PerceptualVAE compares."""
    keras.utils.set_random_seed(seed)
    train = sources.MNIST.load()["train"]
    conv = {"strides": 2, "padding": "same", "activation": "relu"}
    network = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(8, 5, **conv, name="first"),
            keras.layers.Conv2D(16, 5, **conv, name="second"),
            keras.layers.Flatten(),
            keras.layers.Dense(10, name="logits"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile("adam", loss)
    network.fit(train["x"], train["label"], batch_size=128, epochs=2, verbose=0)
    maps = [network.get_layer(name).output for name in ("first", "second")]
    return keras.Model(network.inputs, maps, name="features")


def make_perceptual(seed):
    features = train_classifier(seed)
    model = keras_ae.PerceptualVAE(16, features=features, network_options=SMALL, seed=seed)
    model.compile(keras.optimizers.Adam(1e-3))
    return model


def make_adversarial(seed):
    """Make a model with a smaller discriminator than by default, for the size of the file."""
    given = {"discriminator": networks.discriminator(8, units=(80, 80)), **DENSE, **CROSS_ENTROPY}
    return build(keras_ae.AdversarialAE, 8, epochs=30, rate=1e-3, **given)(seed)


def fit_prior(epochs):
    def finish(model, train, seed):
        keras.utils.set_random_seed(seed)
        model.fit_prior(train["x"], epochs=epochs, verbose=0)

    return finish


def fit_flow(model, train, seed):
    """Fit a flow with smaller layers and fewer steps than by default, for the size of the file."""
    flow = samplers.FlowMatching(units=144, steps=8)
    model.fit_sampler(train["x"], flow, seed=seed, verbose=0)


def fit_mixture(model, train, seed):
    model.fit_sampler(train["x"], "gaussian_mixture", seed=seed, verbose=0)


def fit_mixture_by_label(model, train, seed):
    model.fit_sampler(train["x"], label=train["label"], seed=seed, verbose=0)


DIGITS = tuple("0123456789")
BLURRED = (
    "Samples from the prior are blurred, and some are no digits: see ae_mnist for better ones."
)

RECIPES = {
    "vae_mnist": Recipe(
        "A variational autoencoder of handwritten digits with a code of 16 numbers.",
        "A first model to load, to explore and to fine-tune.",
        BLURRED,
        sources.MNIST,
        build(keras_ae.VAE, 16, epochs=20, network_options=SMALL),
        (*BOUND, figures.samples, figures.neighbors),
        20,
    ),
    "iwae_mnist": Recipe(
        "A VAE of digits that was trained with a tighter bound, of five importance samples.",
        "A bound that is nearer to the likelihood, which more samples raise further.",
        BLURRED,
        sources.MNIST,
        build(keras_ae.IWAE, 16, epochs=30, **DENSE),
        BOUND,
        30,
    ),
    "sigma_vae_fashion": Recipe(
        "A VAE of pictures of clothes, whose noise has the variance that fits them best.",
        "Gray pictures that are no bits, and a likelihood of real numbers.",
        "It saw 8,226 pictures only, and reconstructs shapes better than patterns. Its codes are "
        "far from the prior, so that samples come from a mixture of Gaussians.",
        sources.FASHION,
        build(keras_ae.SigmaVAE, 16, epochs=30, examples=8226, network_options=SMALL),
        (figures.losses, figures.reconstructions, figures.neighbors),
        30,
        finish=fit_mixture,
    ),
    "ladder_vae_mnist": Recipe(
        "A VAE of digits with two layers of codes.",
        "To see what each layer of a hierarchy holds.",
        "Most of the information is in the lower layer.",
        sources.MNIST_ROWS,
        build(
            keras_ae.LadderVAE,
            16,
            upper_dims=(8,),
            units=(32,),
            epochs=20,
            network_options={"units": (64,)},
        ),
        (figures.losses, figures.likelihood, figures.samples),
        20,
    ),
    "vqvae_mnist": Recipe(
        "Digits as 49 integer codes of 128, with a learned prior over the codes.",
        "Sharp samples, and codes that can be edited one by one.",
        "Samples are drawn code by code, which takes longer than those of a VAE.",
        sources.MNIST,
        build(
            keras_ae.VQVAE,
            8,
            num_codes=128,
            epochs=5,
            network_options={"filters": (16, 32)},
            prior_options={"units": 32, "num_layers": 4},
            **CROSS_ENTROPY,
        ),
        (figures.reconstructions, figures.codebook, figures.code_likelihood, figures.samples),
        5,
        finish=fit_prior(5),
    ),
    "fsqvae_mnist": Recipe(
        "Digits as 49 integer codes that come from rounding, with a learned prior.",
        "Integer codes without a codebook that has to be learned.",
        "Samples are drawn code by code, which takes longer than those of a VAE.",
        sources.MNIST,
        build(
            keras_ae.FSQVAE,
            3,
            levels=5,
            epochs=5,
            network_options={"filters": (16, 32)},
            prior_options={"units": 32, "num_layers": 4},
            **CROSS_ENTROPY,
        ),
        (figures.reconstructions, figures.codebook, figures.code_likelihood, figures.samples),
        5,
        finish=fit_prior(5),
    ),
    "wae_mnist": Recipe(
        "An autoencoder of digits whose codes are pulled toward a standard normal.",
        "Sharper reconstructions than those of a VAE, with a prior to draw from.",
        "Its codes follow the prior less closely than those of a VAE.",
        sources.MNIST,
        build(keras_ae.WAE, 16, weight=700.0, epochs=30, **DENSE, **CROSS_ENTROPY),
        (figures.losses, figures.reconstructions, figures.samples),
        30,
    ),
    "adversarial_ae_mnist": Recipe(
        "An autoencoder of digits whose codes a discriminator cannot tell from a prior.",
        "To compare with wae_mnist, which has the same aim.",
        "The figures depend more on the seed than those of other models.",
        sources.MNIST,
        make_adversarial,
        (figures.reconstructions, figures.samples),
        30,
    ),
    "vaegan_mnist": Recipe(
        "A VAE of digits whose reconstructions are compared in a discriminator's features.",
        "Sharp edges.",
        "The bound of its pixels is not what it was trained for.",
        sources.MNIST,
        build(keras_ae.VAEGAN, 16, rate=1e-3, network_options=SMALL),
        (figures.losses, figures.samples),
        4,
    ),
    "perceptual_vae_mnist": Recipe(
        "A VAE of digits whose reconstructions are compared in a classifier's features.",
        "To see what another measure of likeness does to reconstructions.",
        "Its loss is no bound on the likelihood of pixels.",
        sources.MNIST,
        make_perceptual,
        (figures.losses, figures.samples),
        5,
    ),
    "dae_mnist": Recipe(
        "Removes noise of half the range of gray from digits.",
        "Denoising, and codes that noise does not change much.",
        "Noise of other kinds was not seen in training.",
        sources.MNIST,
        build(
            keras_ae.DenoisingAE,
            16,
            corruption=corruptions.AdditiveGaussian(0.5),
            epochs=30,
            **DENSE,
            **CROSS_ENTROPY,
        ),
        (figures.repair(corruptions.AdditiveGaussian(0.5)), figures.neighbors),
        30,
    ),
    "unet_ae_mnist": Recipe(
        "Fills in a rectangle that hides a quarter of a digit.",
        "Repairing pictures.",
        "What is hidden is guessed. Where two digits are possible, it mixes them.",
        sources.MNIST,
        build(
            keras_ae.UNetAE,
            16,
            corruption=corruptions.Rectangle(share=0.25),
            epochs=3,
            network_options=SMALL,
            unet_options={"filters": (8, 16, 32)},
            **CROSS_ENTROPY,
        ),
        (figures.repair(corruptions.Rectangle(share=0.25)),),
        3,
    ),
    "masked_ae_mnist": Recipe(
        "A small vision transformer that predicts the patches of a digit that it did not see.",
        "To see what a picture's visible parts tell of its hidden ones.",
        "Its codes are too small and its training too short for good features of digits.",
        sources.MNIST,
        build(
            keras_ae.MaskedAE,
            12,
            patch_size=7,
            epochs=8,
            rate=1e-3,
            network_options={"width": 36, "blocks": 2},
        ),
        (figures.losses, figures.neighbors),
        8,
    ),
    "hyperspherical_vae_mnist": Recipe(
        "A VAE of digits whose codes are points on a sphere.",
        "Codes to compare by their angle.",
        BLURRED,
        sources.MNIST,
        build(keras_ae.HypersphericalVAE, 8, epochs=30, **DENSE),
        (figures.losses, figures.likelihood, figures.neighbors),
        30,
    ),
    "poincare_vae_mnist": Recipe(
        "A VAE of digits whose codes are points of a hyperbolic disk.",
        "A picture of all digits in a disk.",
        "Two dimensions are too few to reconstruct every digit.",
        sources.MNIST,
        build(keras_ae.PoincareVAE, 2, epochs=30, **DENSE),
        (figures.losses, figures.likelihood, figures.neighbors),
        30,
    ),
    "ae_mnist": Recipe(
        "An autoencoder of digits with flow matching as the density of its codes.",
        "Sharp samples from an autoencoder that has no prior of its own.",
        "It has no likelihood.",
        sources.MNIST,
        build(keras_ae.AE, 16, epochs=20, network_options=SMALL, **CROSS_ENTROPY),
        (figures.reconstructions, figures.samples, figures.neighbors),
        20,
        finish=fit_flow,
    ),
    "ae_mnist_by_label": Recipe(
        "An autoencoder of digits with a mixture of Gaussians for each digit.",
        "Samples of a digit that you choose, from a model that was trained without labels.",
        "It has no likelihood.",
        sources.MNIST,
        build(keras_ae.AE, 16, epochs=30, **DENSE, **CROSS_ENTROPY),
        (figures.reconstructions, figures.samples_of_labels),
        30,
        finish=fit_mixture_by_label,
        classes=DIGITS,
    ),
    "conditional_vae_mnist": Recipe(
        "A VAE of digits that is told which digit it is.",
        "Samples of a digit that you choose, and the style of one digit in another.",
        BLURRED,
        sources.MNIST_ROWS,
        build(keras_ae.ConditionalVAE, 16, epochs=30, network_options={"units": (80,)}),
        (figures.losses_with_label, figures.likelihood_with_label, figures.samples_of_labels),
        30,
        inputs=("label",),
        classes=DIGITS,
    ),
    "joint_vae_mnist": Recipe(
        "A VAE of digits with one choice of ten and ten numbers as its code.",
        "A category that was found without labels.",
        "The categories match the digits in part only, and depend on the seed.",
        sources.MNIST_ROWS,
        build(
            keras_ae.JointVAE,
            epochs=None,
            rate=1e-3,
            continuous_capacity=LinearWarmUp(16 * 469, end=5.0),
            discrete_capacity=LinearWarmUp(16 * 469, end=2.302585),
            encoder="mlp",
            decoder="mlp",
            network_options={"units": (64,)},
        ),
        (figures.losses, figures.clusters),
        16,
    ),
    "vamp_vae_omniglot": Recipe(
        "A VAE of letters of many alphabets, whose prior is a mixture of its own posteriors.",
        "Drawings of lines, and a prior with many modes.",
        "It was tested on characters that it never saw, and reconstructs rare strokes badly.",
        sources.OMNIGLOT,
        build(
            keras_ae.VampVAE,
            32,
            num_components=40,
            epochs=60,
            examples=5260,
            network_options=SMALL,
        ),
        (*BOUND, figures.reconstructions),
        60,
    ),
    "vqvae2_fashion": Recipe(
        "Pictures of clothes as two maps of integer codes, with a learned prior.",
        "Reconstructions that keep patterns.",
        "It saw 8,226 pictures only, so that samples resemble some of them.",
        sources.FASHION,
        build(
            keras_ae.VQVAE2,
            8,
            num_codes=64,
            hidden_units=16,
            epochs=15,
            examples=8226,
            network_options={"filters": (16, 32)},
        ),
        (figures.reconstructions,),
        15,
    ),
    "vae_digits": Recipe(
        "A VAE of digits of 8 by 8 pixels.",
        "A model that trains and runs in a moment.",
        BLURRED,
        sources.DIGITS,
        build(
            keras_ae.VAE,
            8,
            epochs=100,
            examples=1437,
            batch_size=32,
            network_options={"filters": (16, 32), "units": ()},
        ),
        (*BOUND, figures.neighbors),
        100,
        32,
    ),
}
