"""Sound as examples: WAV files, noise at a given level, and log-mel spectrograms and back.

A wave is a row of samples, float32, of which 1 is full scale. The short-time Fourier transform is
that of Keras, so that all of this runs on every backend. It takes and returns NumPy arrays.
"""

import functools
import math
import struct
import warnings

import keras
import numpy as np
from keras import ops

from keras_ae.core import arguments, conversion, memory
from keras_ae.core.types import Array, Path
from keras_ae.datasets.files import as_path, list_files

# What is more quiet than -80 dB of full scale counts as silence.
_FLOOR = 1e-4
_LARGEST_RATE = 1_000_000
# The squares of larger numbers overflow in float32.
_LARGEST = 1e15
# Samples that are transformed at a time, which limits the memory for their spectra.
_BLOCK = 2**22
# What SciPy raises for a file that is no WAV file, or of which bytes are missing or wrong.
_UNREADABLE = (
    ValueError,
    TypeError,
    EOFError,
    OverflowError,
    MemoryError,
    UnboundLocalError,
    ZeroDivisionError,
    struct.error,
)


def load_audio(
    path: Path, rate: int, seconds: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Read the WAV files of a folder and its subfolders, or one file, as waves and labels.

    Integers become numbers from -1 to 1, channels are averaged, and sound of another rate is
    resampled. Hidden files are left out.

    Args:
        path: Path of a folder or of a WAV file. The subfolders of the folder are classes, numbered
            in alphabetical order. Files are read in alphabetical order, too.
        rate: Samples per second of what is returned, an integer from 1 to 1,000,000.
        seconds: Duration of what is returned, a positive number. Longer sounds are cut at their
            end, and shorter ones are padded with zeros. Defaults to None: all sounds must have the
            same duration.

    Returns:
        Waves, a float32 array of shape (files, samples), and labels, an int64 array of shape
        (files,), which is -1 for files in no subfolder.

    Raises:
        FileNotFoundError: If there is no such folder or file.
        ValueError: If there are no WAV files, if one of them is damaged or holds no sound, if
            durations differ and `seconds` is None, if the folder is split into "train" and "test",
            or if an argument is out of range.

    Example:

        >>> import numpy as np
        >>> from scipy.io import wavfile
        >>> from keras_ae import datasets
        >>> tone = np.sin(np.arange(8000) * 2 * np.pi * 440 / 8000)
        >>> wavfile.write("tone.wav", 8000, (32767 * tone).astype("int16"))
        >>> waves, labels = datasets.load_audio("tone.wav", rate=16000, seconds=0.5)
        >>> waves.shape, labels
        ((1, 8000), array([-1]))
    """
    rate = _check_rate("load_audio", rate)
    if seconds is not None:
        seconds = arguments.number("load_audio", "seconds", seconds, positive=True)
        if round(seconds * rate) < 1:
            raise arguments.refusal(
                "load_audio", "seconds", seconds, f"at least one sample at rate={rate}"
            )
    folder = as_path(path)
    files = _find_files(folder)
    if seconds is not None:
        memory.refuse_beyond(
            4.0 * len(files) * seconds * rate,
            f"load_audio: {len(files)} files of {seconds} s at rate={rate}",
            "Pass fewer files, fewer seconds or a lower rate.",
        )
    waves = [_read_wave(file, rate, seconds) for file in files]
    for file, wave in zip(files, waves, strict=True):
        if len(wave) != len(waves[0]):
            raise ValueError(
                f"load_audio: {file} has {len(wave) / rate:g} s, but {files[0]} has "
                f"{len(waves[0]) / rate:g} s. Pass seconds, to which all files are cut or padded."
            )
    places = [file.relative_to(folder).parts[:-1] for file in files]
    numbers = {name: i for i, name in enumerate(sorted({place[0] for place in places if place}))}
    if {"train", "test"} <= numbers.keys():
        raise ValueError(
            f"load_audio: {folder} has the subfolders 'train' and 'test', which are no classes. "
            "Load each of the two folders by itself."
        )
    labels = [numbers[place[0]] if place else -1 for place in places]
    return np.stack(waves), np.array(labels, "int64")


def _find_files(folder):
    if not folder.exists():
        raise FileNotFoundError(
            f"load_audio: path={str(folder)!r} does not exist: there is no {folder.absolute()}. "
            "Pass the path of a folder or of a WAV file."
        )
    if not folder.is_dir():
        return [folder]
    files = sorted(file for file in list_files(folder) if file.suffix.lower() == ".wav")
    if not files:
        raise ValueError(
            f"load_audio: path={str(folder)!r} holds no sounds. Put files that are called *.wav "
            f"into {folder.absolute()}."
        )
    return files


def _read_wave(file, rate, seconds):
    from scipy import signal
    from scipy.io import wavfile

    try:
        # SciPy only warns of a file that was cut off.
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", wavfile.WavFileWarning)
            file_rate, samples = wavfile.read(file)
    except _UNREADABLE as error:
        raise ValueError(
            f"load_audio: {file} is damaged, or not a WAV file of plain samples ({error}). Remove "
            "it, or convert it to 16-bit PCM."
        ) from error
    if any("EOF" in str(warning.message) for warning in caught):
        raise ValueError(f"load_audio: {file} is damaged: its end is missing. Remove it.")
    if not 1 <= file_rate <= _LARGEST_RATE:
        raise ValueError(
            f"load_audio: {file} is damaged: its rate is {file_rate} samples per second. Remove it."
        )
    if not samples.size:
        raise ValueError(f"load_audio: {file} holds no sound. Remove it.")
    if samples.dtype.kind == "u":  # SciPy returns samples of at most 8 bits without a sign.
        samples = samples / 128.0 - 1.0
    elif samples.dtype.kind == "i":
        samples = samples / -float(np.iinfo(samples.dtype).min)
    wave = samples.reshape(len(samples), -1).astype("float64").mean(axis=1)
    if not _fits(wave):
        raise ValueError(
            f"load_audio: {file} holds NaN, infinity or numbers beyond {_LARGEST:g}. Remove it."
        )
    if file_rate != rate:
        common = math.gcd(file_rate, rate)
        wave = signal.resample_poly(wave, rate // common, file_rate // common)
    if seconds is not None:
        count = round(seconds * rate)
        wave = np.pad(wave[:count], (0, max(count - len(wave), 0)))
    return wave.astype("float32")


def add_noise(
    waves: Array, snr: float | Array, noise: Array | None = None, seed: int = 0
) -> np.ndarray:
    """Add noise to waves at an exact signal-to-noise ratio, for pairs of `fit(noisy, waves)`.

    The ratio is that of the mean squares over the whole wave: 10 log10(sum s^2 / sum n^2).

    Args:
        waves: Float array of shape (waves, samples), none of them silent.
        snr: Signal-to-noise ratio in decibels, a finite number, or an array of shape (waves,).
        noise: Float array of shape (recordings, steps), with at least as many steps as waves have
            samples. Each wave gets a random part of a random recording. Defaults to None, for
            white Gaussian noise.
        seed: Integer of at least 0. Defaults to 0.

    Returns:
        Float32 array of shape (waves, samples), which may leave the range from -1 to 1.

    Raises:
        TypeError: If waves or noise are no arrays of numbers.
        ValueError: If an array has another shape or holds integers, NaN or infinity, if a wave or
            its noise is silent, or if an argument is out of range.

    Example:

        >>> import numpy as np
        >>> from keras_ae import datasets
        >>> wave = np.sin(np.arange(1000.0) / 5)[None]
        >>> noise = datasets.add_noise(wave, snr=10) - wave
        >>> round(float(10 * np.log10(np.sum(wave**2) / np.sum(noise**2))), 3)
        10.0
    """
    waves = _check_waves("add_noise", "waves", waves).astype("float64")
    levels = conversion.to_numpy(snr if np.ndim(snr) else [snr], "snr").astype("float64")
    # Beyond these ratios, float32 would lose the noise or the wave.
    if levels.shape not in ((1,), (len(waves),)) or not np.all(np.abs(levels) <= 100):
        raise arguments.refusal(
            "add_noise",
            "snr",
            snr,
            f"a number of decibels from -100 to 100, or one for each of the {len(waves)} waves",
        )
    rng = np.random.default_rng(arguments.integer("add_noise", "seed", seed, least=0))
    if noise is None:
        parts = rng.standard_normal(waves.shape)
    else:
        noise = _check_waves("add_noise", "noise", noise)
        spare = noise.shape[1] - waves.shape[1]
        if spare < 0:
            raise ValueError(
                f"add_noise: noise has {noise.shape[1]} steps, but waves have {waves.shape[1]} "
                "samples. Pass longer recordings of noise, or shorter waves."
            )
        rows = rng.integers(len(noise), size=(len(waves), 1))
        starts = rng.integers(spare + 1, size=(len(waves), 1))
        parts = noise[rows, starts + np.arange(waves.shape[1])].astype("float64")
    powers = [np.mean(values**2, axis=1, keepdims=True) for values in (waves, parts)]
    for name, power in zip(("wave", "noise of wave"), powers, strict=True):
        if not power.all():
            raise ValueError(
                f"add_noise: the {name} {int(np.argmin(power))} is silent, so that it has no "
                "signal-to-noise ratio. Leave it out."
            )
    scale = np.sqrt(powers[0] / powers[1]) * 10 ** (-levels[:, None] / 20)
    return (waves + scale * parts).astype("float32")


def stft(waves: Array, length: int = 512) -> np.ndarray:
    """Compute the short-time Fourier transform of waves, by `keras.ops.stft`.

    Frames have a periodic Hann window and begin length / 4 samples apart. The first one begins
    3 length / 4 samples before the wave, which counts as zero there, so that each sample is in
    exactly four frames. There are ceil(samples / (length / 4) + 3) frames. A tone of amplitude a,
    far from 0 Hz and from half the rate, has a magnitude of a in its bin.

    Args:
        waves: Float array of shape (waves, samples).
        length: Samples of a frame, a multiple of 4 from 16 on. Defaults to 512, which is 32 ms at
            16,000 samples per second.

    Returns:
        Complex64 array of shape (waves, frames, length / 2 + 1). Bin k is at k rate / length Hz.

    Raises:
        TypeError: If waves are no array of numbers.
        ValueError: If waves have another shape or hold integers, NaN or infinity, or if length is
            out of range.

    Example:

        >>> import numpy as np
        >>> from keras_ae import datasets
        >>> wave = 0.5 * np.sin(2 * np.pi * 1000 / 16000 * np.arange(16000))
        >>> spectra = datasets.stft(wave[None])
        >>> middle = abs(spectra[0, 60])
        >>> spectra.shape, int(np.argmax(middle)), round(float(middle.max()), 3)
        ((1, 128, 257), 32, 0.5)
    """
    waves = _check_waves("stft", "waves", waves)
    length = _check_length("stft", length)
    frames = _count_frames(waves.shape[1], length)
    memory.refuse_beyond(
        8.0 * len(waves) * frames * (length // 2 + 1),
        f"stft: the spectra of {len(waves)} waves of {waves.shape[1]} samples",
        "Pass fewer waves at a time.",
    )
    spectra = np.empty((len(waves), frames, length // 2 + 1), "complex64")
    for rows in _blocks(len(waves), waves.shape[1]):
        real, imaginary = _analyze(ops.convert_to_tensor(waves[rows]), length)
        spectra.real[rows] = ops.convert_to_numpy(real)
        spectra.imag[rows] = ops.convert_to_numpy(imaginary)
    return spectra


def istft(spectra: Array, samples: int) -> np.ndarray:
    """Compute waves from their short-time Fourier transform, by `keras.ops.istft`.

    If the spectra are those of no wave, for example because they were multiplied by a mask, the
    result is the wave whose transform is nearest in squared error (Griffin and Lim 1984,
    doi:10.1109/TASSP.1984.1164317). In this error, all bins but the first and the last count twice,
    because they stand for negative frequencies, too.

    Args:
        spectra: Complex array of shape (waves, frames, bins), such as what `stft` returns.
        samples: Number of samples of a wave, which must have that many frames.

    Returns:
        Float32 array of shape (waves, samples).

    Raises:
        ValueError: If spectra are not complex, have another shape or hold NaN or infinity, or if
            they have not the frames of `samples`.

    Example:

        >>> import numpy as np
        >>> from keras_ae import datasets
        >>> wave = np.sin(np.arange(1000.0) / 5)[None]
        >>> bool(np.allclose(datasets.istft(datasets.stft(wave), 1000), wave, atol=1e-5))
        True
    """
    spectra = np.asarray(spectra)
    if spectra.dtype.kind != "c":
        raise ValueError(
            f"istft: spectra have dtype {spectra.dtype}, but must be complex. Pass magnitudes to "
            "griffin_lim, which finds their phases."
        )
    samples, length = _check_frames("istft", "spectra", spectra, samples)
    spectra = spectra.astype("complex64")
    waves = np.empty((len(spectra), samples), "float32")
    for rows in _blocks(len(spectra), samples):
        parts = (ops.convert_to_tensor(part) for part in (spectra.real[rows], spectra.imag[rows]))
        waves[rows] = ops.convert_to_numpy(_synthesize(*parts, samples, length))
    return waves


def griffin_lim(magnitudes: Array, samples: int, steps: int = 32, seed: int = 0) -> np.ndarray:
    """Find waves whose short-time Fourier transform has nearly these magnitudes.

    The phases are random at first. Each step computes the waves of magnitudes and phases, and takes
    the phases of their transform. No step increases the squared error of the magnitudes, in which
    all bins but the first and the last count twice (Griffin and Lim 1984,
    doi:10.1109/TASSP.1984.1164317).

    Args:
        magnitudes: Float array of shape (waves, frames, bins), of at least 0, such as
            `abs(stft(waves))`.
        samples: Number of samples of a wave, which must have that many frames.
        steps: Number of steps, an integer of at least 0. Defaults to 32.
        seed: Integer of at least 0, for the first phases. Defaults to 0.

    Returns:
        Float32 array of shape (waves, samples).

    Raises:
        TypeError: If magnitudes are no array of numbers.
        ValueError: If magnitudes have another shape, or hold negative numbers, NaN or infinity, if
            they have not the frames of `samples`, or if an argument is out of range.

    Example:

        >>> import numpy as np
        >>> from keras_ae import datasets
        >>> wave = np.sin(np.arange(2000.0) / 5)[None]
        >>> found = datasets.griffin_lim(abs(datasets.stft(wave)), samples=2000, steps=8)
        >>> found.shape
        (1, 2000)
    """
    magnitudes = conversion.to_numpy(magnitudes, "magnitudes")
    samples, length = _check_frames("griffin_lim", "magnitudes", magnitudes, samples)
    if np.any(magnitudes < 0):
        raise ValueError("griffin_lim: magnitudes are negative in some places. Pass abs(spectra).")
    steps = arguments.integer("griffin_lim", "steps", steps, least=0)
    rng = np.random.default_rng(arguments.integer("griffin_lim", "seed", seed, least=0))
    waves = np.empty((len(magnitudes), samples), "float32")
    for rows in _blocks(len(magnitudes), samples):
        wanted = magnitudes[rows].astype("float32")
        phases = 2 * np.pi * rng.random(wanted.shape, "float32")
        wanted, phases = ops.convert_to_tensor(wanted), ops.convert_to_tensor(phases)
        real, imaginary = wanted * ops.cos(phases), wanted * ops.sin(phases)
        for _ in range(steps):
            real, imaginary = _analyze(_synthesize(real, imaginary, samples, length), length)
            scale = wanted / ops.maximum(ops.sqrt(real**2 + imaginary**2), 1e-12)
            real, imaginary = scale * real, scale * imaginary
        waves[rows] = ops.convert_to_numpy(_synthesize(real, imaginary, samples, length))
    return waves


def log_mel(waves: Array, rate: int, mels: int = 64, length: int = 512) -> np.ndarray:
    """Compute log-mel spectrograms of waves: pictures of time and pitch, for any model.

    A value is the natural logarithm of the sum of the magnitudes of `stft` under a triangle on the
    mel scale, of at least 1e-4 (-80 dB). The triangles are those of `keras.layers.MelSpectrogram`,
    from 0 Hz to half the rate, with a peak of 1. Silence is log 1e-4 = -9.2, so make models with
    `standardize=True`.

    Args:
        waves: Float array of shape (waves, samples).
        rate: Samples per second, an integer from 1 to 1,000,000.
        mels: Number of triangles, an integer of at least 2. Defaults to 64.
        length: Samples of a frame, as in `stft`. Defaults to 512.

    Returns:
        Float32 array of shape (waves, frames, mels, 1). The channel at its end makes an example a
        picture, for convolutional networks. `log_mel(...)[..., 0]` has series of frames.

    Raises:
        TypeError: If waves are no array of numbers.
        ValueError: If waves have another shape or hold integers, NaN or infinity, if a triangle
            has no bin, or if an argument is out of range.

    Example:

        >>> import numpy as np
        >>> from keras_ae import datasets
        >>> wave = np.sin(2 * np.pi * 1000 / 16000 * np.arange(16000))
        >>> x = datasets.log_mel(wave[None], rate=16000)
        >>> x.shape, int(np.argmax(x[0, 60, :, 0]))
        ((1, 128, 64, 1), 22)
    """
    waves = _check_waves("log_mel", "waves", waves)
    length = _check_length("log_mel", length)
    weights = _mel_weights("log_mel", rate, mels, length)
    frames = _count_frames(waves.shape[1], length)
    memory.refuse_beyond(
        4.0 * len(waves) * frames * mels,
        f"log_mel: the spectrograms of {len(waves)} waves of {waves.shape[1]} samples",
        "Pass fewer waves at a time.",
    )
    x = np.empty((len(waves), frames, mels, 1), "float32")
    for rows in _blocks(len(waves), waves.shape[1]):
        magnitudes = np.abs(stft(waves[rows], length))
        x[rows, ..., 0] = np.log(np.maximum(magnitudes @ weights, _FLOOR))
    return x


def invert_log_mel(
    x: Array, rate: int, samples: int, length: int = 512, steps: int = 32, seed: int = 0
) -> np.ndarray:
    """Compute waves from log-mel spectrograms, approximately.

    The magnitudes are those of the pseudo-inverse of the triangles, or 0 where it is negative.
    `griffin_lim` finds phases. What lies between the triangles is lost, so that a voice sounds
    hoarse.

    Args:
        x: Float array of shape (waves, frames, mels, 1), as `log_mel` or a model returns it.
        rate, length: As in `log_mel`.
        samples: Number of samples of a wave, which must have that many frames.
        steps, seed: As in `griffin_lim`.

    Returns:
        Float32 array of shape (waves, samples).

    Raises:
        TypeError: If x is no array of numbers.
        ValueError: If x has another shape, holds NaN or infinity, or has not the frames of
            `samples`, or if an argument is out of range.

    Example:

        >>> import numpy as np
        >>> from keras_ae import datasets
        >>> wave = np.sin(2 * np.pi * 1000 / 16000 * np.arange(4000))[None]
        >>> x = datasets.log_mel(wave, rate=16000)
        >>> datasets.invert_log_mel(x, rate=16000, samples=4000, steps=4).shape
        (1, 4000)
    """
    x = conversion.to_numpy(x, "x")
    length = _check_length("invert_log_mel", length)
    if x.ndim != 4 or x.shape[-1] != 1 or 0 in x.shape:
        raise ValueError(
            f"invert_log_mel: x has the shape {x.shape}, but must have the shape (waves, frames, "
            "mels, 1) of what log_mel returns."
        )
    # Larger magnitudes are not those of waves.
    if not np.all(x < 30):
        raise ValueError(
            "invert_log_mel: x holds NaN, infinity or logarithms beyond 30. Pass what log_mel or a "
            "model trained on it returns."
        )
    weights = _mel_weights("invert_log_mel", rate, x.shape[2], length)
    inverse = np.linalg.pinv(weights.astype("float64"))
    magnitudes = np.maximum(np.exp(x[..., 0].astype("float64")) @ inverse, 0)
    return griffin_lim(magnitudes, samples, steps, seed)


def _analyze(waves, length):
    """Return the real and the imaginary part of the transform of a tensor (waves, samples)."""
    stride, samples = length // 4, waves.shape[1]
    steps = length + stride * (_count_frames(samples, length) - 1)
    # With zeros at both ends, frames at the edges need no rule of their own, in which the
    # backends' inverse transforms differ.
    before = length - stride
    padded = ops.pad(waves, ((0, 0), (before, steps - before - samples)))
    real, imaginary = ops.stft(padded, length, stride, length, center=False)
    return real * (4.0 / length), imaginary * (4.0 / length)


def _synthesize(real, imaginary, samples, length):
    """Return the tensor (waves, samples) of both parts of a transform."""
    parts = (real * (length / 4.0), imaginary * (length / 4.0))
    waves = ops.istft(parts, length, length // 4, length, center=False)
    return waves[:, length - length // 4 :][:, :samples]


@functools.cache
def _keras_mel_weights(rate, mels, length):
    weights = keras.layers.MelSpectrogram().linear_to_mel_weight_matrix(
        num_mel_bins=mels,
        num_spectrogram_bins=length // 2 + 1,
        sampling_rate=rate,
        lower_edge_hertz=0.0,
        upper_edge_hertz=rate / 2,
    )
    return ops.convert_to_numpy(weights)


def _mel_weights(function, rate, mels, length):
    """Return the triangles as an array of shape (bins, mels)."""
    rate = _check_rate(function, rate)
    mels = arguments.integer(function, "mels", mels, least=2, most=length // 2)
    weights = _keras_mel_weights(rate, mels, length)
    if not weights.any(axis=0).all():
        raise arguments.refusal(
            function,
            "mels",
            mels,
            "so few that each triangle has a bin",
            f"Take fewer, or a length above {length}.",
        )
    return weights


def _count_frames(samples, length):
    return -(-samples // (length // 4)) + 3


def _blocks(count, samples):
    step = max(_BLOCK // samples, 1)
    return [slice(start, start + step) for start in range(0, count, step)]


def _check_rate(function, rate):
    remedy = "It is the number of samples per second."
    return arguments.integer(function, "rate", rate, most=_LARGEST_RATE, remedy=remedy)


def _check_length(function, length):
    if not arguments.is_integer(length) or length < 16 or length % 4 or length > 2**20:
        raise arguments.refusal(function, "length", length, "a multiple of 4 from 16 to 1048576")
    return int(length)


def _fits(values):
    # The limit itself is beyond float16.
    values = values.astype(np.result_type(values.dtype, "float32"), copy=False)
    return bool(np.all(np.abs(values) <= _LARGEST))


def _check_waves(function, name, waves):
    waves = conversion.to_numpy(waves, name)
    if waves.ndim != 2 or 0 in waves.shape:
        raise ValueError(
            f"{function}: {name} has the shape {waves.shape}, but must have the shape (waves, "
            f"samples). Pass {name}[None] for a single one."
        )
    if waves.dtype.kind != "f":
        raise ValueError(
            f"{function}: {name} has dtype {waves.dtype}, but must have floats, of which 1 is full "
            "scale. Divide integers by the largest one of their type, as load_audio does."
        )
    if not _fits(waves):
        raise ValueError(
            f"{function}: {name} holds NaN, infinity or numbers beyond {_LARGEST:g}. Rescale it, "
            "so that 1 is full scale."
        )
    return waves.astype("float32")


def _check_frames(function, name, values, samples):
    """Return the number of samples of a wave, and of a frame of the transform."""
    if values.ndim != 3 or 0 in values.shape or values.shape[2] < 9 or values.shape[2] % 2 == 0:
        raise ValueError(
            f"{function}: {name} has the shape {values.shape}, but must have the shape (waves, "
            "frames, bins) of what stft returns."
        )
    if not _fits(values):
        raise ValueError(
            f"{function}: {name} holds NaN, infinity or numbers beyond {_LARGEST:g}. Rescale it, "
            "so that a wave of full scale has magnitudes of about 1."
        )
    samples = arguments.integer(function, "samples", samples)
    length = 2 * (values.shape[2] - 1)
    frames = _count_frames(samples, length)
    if values.shape[1] != frames:
        raise ValueError(
            f"{function}: {name} has {values.shape[1]} frames, but samples={samples} have {frames} "
            f"of length={length}. Pass the number of samples that the waves had."
        )
    return samples, length
