"""`"recurrent"`: GRU or LSTM layers over the steps of a sequence."""

from keras import layers


def map_of(shape, options):
    return shape[:1]


def encoder(make, x, grid):
    options = make.options
    keywords = {}
    if options.mask_value is not None:
        # In float16 small features would round to a mask value of 0.
        masking = make.layer(layers.Masking, "mask", options.mask_value, dtype=make.full_dtype)
        x = masking(x)
        # cuDNN stops at a sequence that is padded throughout or not at its end.
        keywords = {"use_cudnn": False}
    for number, size in enumerate(options.units, start=1):
        last = number == len(options.units) and not grid
        x = make.recurrent_block(
            x, f"recurrent_{number}", size, return_sequences=not last, **keywords
        )
    return x


def decoder(make, z, shape):
    steps, width = shape
    units = make.options.units[::-1]
    h = make.block(z, layers.Dense, "dense_1", units[0])
    if len(z.shape) == 2:
        h = make.layer(layers.RepeatVector, "repeat", steps)(h)
    for number, size in enumerate(units, start=1):
        h = make.recurrent_block(h, f"recurrent_{number}", size, return_sequences=True)
    return make.weighted(layers.Dense, "output", width)(h)
