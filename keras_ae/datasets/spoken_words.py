"""Synthetic words of synthetic speakers, for tests and examples without recordings.

A word is a chain of sounds, each with three formants, a strength of voice and a strength of noise.
Pulses of the vocal folds (Rosenberg 1971, doi:10.1121/1.1912389) and noise pass through resonators
in cascade (Klatt 1980, doi:10.1121/1.383940). The formants of the vowels are the means of men in
Peterson and Barney 1952, doi:10.1121/1.1906875, except for the vowel of "eight", which is not among
theirs.
"""

import numpy as np

from keras_ae.core import arguments, memory

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
"""The words of `formant_words`, in the order of their labels."""

# Sound: three formants in Hz, strength of voice, strength of noise, center of noise in Hz, and its
# duration relative to other sounds. Those of consonants are rough.
_SOUNDS = {
    "i": (270, 2290, 3010, 1.0, 0.0, 3000, 1.4),
    "I": (390, 1990, 2550, 1.0, 0.0, 3000, 1.0),
    "E": (530, 1840, 2480, 1.0, 0.0, 3000, 1.2),
    "e": (460, 2000, 2550, 1.0, 0.0, 3000, 1.0),
    "a": (730, 1090, 2440, 1.0, 0.0, 3000, 1.2),
    "V": (640, 1190, 2390, 1.0, 0.0, 3000, 1.2),
    "o": (570, 840, 2410, 1.0, 0.0, 3000, 1.4),
    "u": (300, 870, 2240, 1.0, 0.0, 3000, 1.5),
    "w": (290, 610, 2150, 0.6, 0.0, 3000, 0.7),
    "r": (420, 1300, 1600, 0.7, 0.0, 3000, 0.7),
    "n": (250, 1450, 2300, 0.35, 0.0, 3000, 0.9),
    "v": (300, 1100, 2300, 0.25, 0.15, 3000, 0.6),
    "z": (300, 1600, 2500, 0.2, 0.5, 3700, 0.9),
    "s": (320, 1600, 2500, 0.0, 0.7, 3700, 1.2),
    "f": (340, 1100, 2100, 0.0, 0.2, 2600, 1.0),
    "k": (300, 1700, 2300, 0.0, 0.6, 1800, 0.25),
    "t": (300, 1700, 2600, 0.0, 0.7, 3300, 0.25),
    ".": (300, 1500, 2500, 0.0, 0.0, 3000, 0.5),  # A closure, silent before a burst.
}
_SPELLINGS = ("zIro", "wVn", ".tu", "fri", "for", "faIv", "sI.ks", "sEvVn", "eI.t", "naIn")
_BANDWIDTHS = (70.0, 100.0, 150.0)
_NOISE_BANDWIDTH = 600.0
# At this level, noise of strength 1 is half as loud as a vowel.
_LEVEL_OF_NOISE = 0.03
# Fall over the whole wave, height of the rise (both as logarithms), and place of the rise.
_CONTOUR = ((0.05, 0.35), (0.0, 0.25), (0.25, 0.6))


def formant_words(
    number: int, seed: int = 0, rate: int = 8000, seconds: float = 0.75, speakers: int = 20
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make synthetic words that resemble speech: the ten digits in English.

    Each word begins at 12 to 20 % of `seconds`, after a silence in which denoisers can find out the
    noise. Its first sound rises smoothly, within 48 ms before its beginning. Durations of sounds,
    pitch contour, formants and loudness vary from word to word. Speakers differ in pitch (90 to 250
    Hz) and in the scale of their formants (0.9 to 1.2). Speaker s has the same voice for every seed
    and every number of speakers. These words are no recordings, and a result on them is none on
    speech.

    Args:
        number: Number of words, a positive integer.
        seed: Integer of at least 0. Defaults to 0.
        rate: Samples per second, an integer from 4000 to 48000. Defaults to 8000.
        seconds: Duration of each wave, a number from 0.3 to 10. Defaults to 0.75.
        speakers: Number of speakers, a positive integer. Defaults to 20.

    Returns:
        Waves, a float32 array of shape (number, seconds * rate) from -1 to 1; labels, an int64
        array of shape (number,), from 0 to 9; and speakers, an int64 array of shape (number,).

    Raises:
        ValueError: If an argument is out of range.

    Example:

        >>> from keras_ae import datasets
        >>> waves, labels, speakers = datasets.formant_words(6, seed=1)
        >>> waves.shape, labels.shape, int(speakers.max()) < 20
        ((6, 6000), (6,), True)
    """
    name = "formant_words"
    number = arguments.integer(name, "number", number)
    rate = arguments.integer(name, "rate", rate, least=4000, most=48000)
    seconds = arguments.number(name, "seconds", seconds, least=0.3, most=10)
    speakers = arguments.integer(name, "speakers", speakers, most=100_000)
    rng = np.random.default_rng(arguments.integer(name, "seed", seed, least=0))
    samples = round(seconds * rate)
    memory.refuse_beyond(
        200.0 * number * samples, f"{name}: {number} words of {seconds} s", "Make fewer at a time."
    )
    labels = rng.integers(len(WORDS), size=number)
    chosen = rng.integers(speakers, size=number)
    pitches, scales = _make_voices(speakers)
    tracks = _make_tracks(labels, samples, rate, seconds, rng)
    scale = scales[chosen] * rng.uniform(0.97, 1.03, number)
    tracks[:, :3] *= scale[:, None, None].astype("float32")
    pitch = _make_pitch(pitches[chosen], samples, rng)
    pulses = _make_pulses(pitch / rate, rng) * (rate / 8000)
    noise = rng.standard_normal((number, samples))
    waves = _resonate(tracks[:, 3] * pulses, tracks[:, :3], _BANDWIDTHS, rate)
    hiss = _resonate(tracks[:, 4] * noise, tracks[:, 5:6], (_NOISE_BANDWIDTH,), rate)
    waves = waves + _LEVEL_OF_NOISE * hiss
    peaks = np.max(np.abs(waves), axis=1, keepdims=True)
    waves *= rng.uniform(0.3, 0.9, (number, 1)) / peaks
    return waves.astype("float32"), labels, chosen


def _make_voices(speakers):
    """Return the mean pitch in Hz and the scale of the formants of each speaker."""
    # This generator has a fixed seed, and speakers are its rows, so that they do not depend on
    # their number.
    draws = np.random.default_rng(0).random((speakers, 2))
    # Short vocal tracts mostly have light vocal folds.
    return 90 * (250 / 90) ** draws[:, 0], 0.9 + 0.2 * draws[:, 0] + 0.1 * draws[:, 1]


def _make_tracks(labels, samples, rate, seconds, rng):
    """Return the parameters of the sounds at each sample, an array (words, 6, samples)."""
    from scipy import ndimage

    # Parameters move slowly, so that they are computed every 2 ms and interpolated.
    points = np.arange(0, seconds + 0.004, 0.002)
    begins = rng.uniform(0.12, 0.2, len(labels)) * seconds
    lengths = rng.uniform(0.5, 0.7, len(labels)) * seconds
    tracks = np.empty((len(labels), 6, len(points)), "float32")
    for label, spelling in enumerate(_SPELLINGS):
        rows = np.flatnonzero(labels == label)
        # The closures around a word are the silence before and after it.
        table = np.array([_SOUNDS[sound] for sound in f".{spelling}."])
        durations = table[1:-1, 6] * rng.uniform(0.8, 1.25, (len(rows), len(spelling)))
        ends = np.cumsum(durations, axis=1) / durations.sum(axis=1, keepdims=True)
        ends = begins[rows, None] + lengths[rows, None] * np.pad(ends, ((0, 0), (1, 0)))
        index = (points >= ends[:, :, None]).sum(axis=1)
        tracks[rows] = np.moveaxis(table[index, :6], 1, 2)
    # Bursts are sharper than the movements of the tongue.
    for part, deviation in ((tracks[:, :4], 6), (tracks[:, 4:], 2)):
        part[:] = ndimage.gaussian_filter1d(part, deviation, axis=2, mode="nearest")
    position = np.arange(samples) / rate / 0.002
    index = position.astype("int64")
    share = (position - index).astype("float32")
    return (1 - share) * tracks[..., index] + share * tracks[..., index + 1]


def _make_pitch(pitches, samples, rng):
    """Return the pitch in Hz at each sample: it falls, with a rise somewhere in the word."""
    time = np.linspace(0, 1, samples)
    fall, rise, place = (rng.uniform(low, high, (len(pitches), 1)) for low, high in _CONTOUR)
    contour = -fall * time + rise * np.exp(-(((time - place) / 0.15) ** 2))
    level = rng.uniform(-0.06, 0.06, (len(pitches), 1))
    return pitches[:, None] * np.exp(level + contour)


def _make_pulses(cycles, rng):
    """Return the derivative of the flow through the vocal folds, with `cycles` per sample."""
    phase = (np.cumsum(cycles, axis=1) + rng.random((len(cycles), 1))) % 1
    # The folds open during 40 % of a cycle and close during 16 %, as in Rosenberg's pulse C.
    opening = 0.5 * (1 - np.cos(np.pi * phase / 0.4))
    closing = np.cos(np.pi / 2 * (phase - 0.4) / 0.16)
    flow = np.where(phase < 0.4, opening, np.where(phase < 0.56, closing, 0.0))
    return np.diff(flow, axis=1, prepend=flow[:, :1])


def _resonate(source, frequencies, bandwidths, rate):
    """Pass sources (words, samples) through resonators (words, resonators, samples) in cascade."""
    # The time axis comes first, because the loop below goes along it.
    signal = np.ascontiguousarray(source.T, "float32")
    for number, bandwidth in enumerate(bandwidths):
        # A low rate has no room for the highest formants of small speakers.
        angle = 2 * np.pi * np.minimum(np.ascontiguousarray(frequencies[:, number].T) / rate, 0.46)
        radius = float(np.exp(-np.pi * bandwidth / rate))
        first, second = 2 * radius * np.cos(angle), -(radius**2)
        signal = (1 - first - second) * signal
        for step in range(1, len(signal)):
            signal[step] += first[step] * signal[step - 1]
            if step > 1:
                signal[step] += second * signal[step - 2]
    return signal.T
