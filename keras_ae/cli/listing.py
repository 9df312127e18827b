"""How `keras-ae list` and `keras-ae info` show models and cards."""


def describe_pretrained(folder):
    """Return what `list` says about a pretrained model, or why its card cannot be read."""
    from keras_ae import saving

    try:
        card = saving.read_card(folder)
        if not isinstance(card.get("model"), str):
            raise ValueError(f"{folder / 'card.json'} names no model.")
    except (OSError, ValueError) as error:
        return {"name": folder.name, "error": str(error)}
    figures = card.get("figures")
    return {
        "name": folder.name,
        "model": card["model"],
        "data": card.get("data"),
        "figures": figures if isinstance(figures, dict) else {},
    }


def format_pretrained(described):
    if "error" in described:
        return f"cannot be listed: {described['error']}"
    figures = [
        f"{key} {value:.4g}"
        for key, value in described["figures"].items()
        if isinstance(value, float)
    ]
    return f"{described['model']} on {described['data']}: {', '.join(figures)}"


def first_line(documented):
    return documented.__doc__.strip().splitlines()[0]


def format_card(card):
    """Iterate over the lines of a card, in which nested dictionaries are indented."""
    # A stack instead of a recursion, because a card may be nested as deeply as JSON can be read.
    entries = [(0, name, value) for name, value in reversed(card.items())]
    while entries:
        depth, name, value = entries.pop()
        if isinstance(value, dict):
            yield f"{'  ' * depth}{name}:"
            entries += [(depth + 1, *entry) for entry in reversed(value.items())]
        else:
            yield f"{'  ' * depth}{name}: {value}"
