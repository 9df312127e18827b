"""What can be done with a model on the page, as JSON values in and out, without HTTP.

What a model offers is found by asking the model. A class brings views of its own by the attribute
`explorer_views`, a dictionary from a title to the name of a method: see docs/explore.md.
"""

import inspect
import threading

import numpy as np
from keras import ops

from keras_ae.core import arguments, examples
from keras_ae.core.inputs import require_built, take_apart
from keras_ae.core.interpolation import Vectors
from keras_ae.explorer import codes as code_tools
from keras_ae.explorer import draws, forms

NUM_EXAMPLES = 300  # So many are encoded.
NUM_SHOWN = 48  # So many are shown next to their reconstructions.
MOST_ROWS = 128  # A request may ask for so many examples.
_LIKELIHOOD_SAMPLES = 100


class Views:
    """The state of the page, and its actions.

    All methods but the constructor may be called from any thread. One computes at a time.

    Args:
        model: A built model.
        x: Examples of data as `encode` takes them. Defaults to None: draws from the model.
        inputs: Dictionary of the named inputs of x. Defaults to none.
        labels: One label for each example, by which codes are colored. Defaults to None: the named
            input "label", if there is one.
        names: One text for each feature, word or token. Defaults to None.
        rate: Samples per second, if the data are waves. Defaults to None.
        title: Title of the page. Defaults to None: the class of the model.
        card: Dictionary of facts. Defaults to none.
        detector: Fitted `AnomalyDetector` of this model. Defaults to None.
        seed: Integer, the seed of draws that stand in for data. Defaults to 0.
    """

    def __init__(
        self,
        model,
        x=None,
        *,
        inputs=None,
        labels=None,
        names=None,
        rate=None,
        title=None,
        card=None,
        detector=None,
        seed=0,
    ):
        require_built(model, "explore")
        self.model, self.detector = model, detector
        self.title, self.card = title or type(model).__name__, card or {}
        self._lock = threading.RLock()
        self.refusal = draws.find_refusal(model)
        self.source = "data"
        if x is None and self.refusal is None:
            self.source = "draws"
            inputs = draws.make_inputs(model, NUM_SHOWN, seed)
            taken = examples.select(model, model.sample, inputs)
            x = model.sample(NUM_SHOWN, seed=seed, verbose=0, **taken)
        if x is None:
            self.source, self.x, self.inputs = "none", None, {}
        else:
            x, found = take_apart(model, x, "x")
            self.x = forms.to_array(model, forms.take(x, NUM_EXAMPLES))
            given = {**found, **(inputs or {})}
            self.inputs = {k: np.asarray(v)[: self._count()] for k, v in given.items()}
        if labels is None and "label" in self.inputs and self.source == "data":
            labels = self.inputs["label"]
        self.labels = _check_labels(labels, self._count())
        self.forms = self._make_forms(names, rate)
        self.code_kind = code_tools.find_kind(model)
        self.codes = self.found = self.copies = None
        if self.x is not None:
            self._describe_examples()
        self.code_shape = code_tools.find_shape(model, self.codes)
        self.dimensions = (
            code_tools.describe_dimensions(self.code_shape, self.found)
            if self.code_kind == "vector"
            else []
        )
        self.start = self._find_start()
        first = {each["name"]: each["start"] for each in self._describe_inputs()}
        self.decode({"codes": [self.start], "inputs": first})  # This compiles what sliders call.

    # ------------------------------------------------------------------ what the page starts with

    def state(self):
        """Return all that the page shows at its start."""
        with self._lock:
            return self._make_state()

    def _make_state(self):
        return {
            "model": type(self.model).__name__,
            "title": self.title,
            "facts": [[key, _to_text(value)] for key, value in self._list_facts()],
            "forms": {name: form.describe() for name, form in self.forms.items()},
            "code": {
                "kind": self.code_kind,
                "shape": list(map(int, self.code_shape)),
                "start": self.start,
                "count": int(self.model.num_codes) if self.code_kind == "integers" else None,
                "dimensions": self.dimensions,
                "plane": code_tools.find_plane(self.found),
                "curved": type(self.model._space) is not Vectors,
            },
            "inputs": self._describe_inputs(),
            "examples": self._describe_strip(),
            "sample": {
                "refusal": self.refusal,
                "temperature": self.refusal is None and draws.takes_temperature(self.model),
            },
            "score": self._describe_score(),
            "likelihood": hasattr(self.model, "log_likelihood"),
            "views": [
                {"title": title, "takes": self._argument_of(name)}
                for title, name in self.model.explorer_views.items()
            ],
        }

    def _list_facts(self):
        model = self.model
        for key, value in self.card.items():
            yield from value.items() if isinstance(value, dict) else [(key, value)]
        yield "parameters", model.count_params()
        yield "shape of the data", model._data_shape
        yield "shape of a code", self.code_shape
        yield "examples", {"data": f"{self._count()} of the data"}.get(self.source, self.source)

    def _describe_strip(self):
        if self.x is None:
            return {"source": "none", "count": 0}
        shown = forms.take(self.x, NUM_SHOWN)
        flat = self.codes.reshape(len(self.codes), -1)
        return {
            "source": self.source,
            "count": self._count(),
            "items": self._pack(shown),
            "copies": self._pack(self.copies),
            "codes": forms.pack(flat),
            "labels": self.labels,
            "inputs": {name: value.tolist() for name, value in self.inputs.items()},
        }

    def _describe_inputs(self):
        """List the named inputs that a user can set."""
        model, found = self.model, []
        methods = {"encode": model.encode, "decode": model.decode}
        taken = {name: examples.taken_by(model, method) for name, method in methods.items()}
        taken["sample"] = {} if self.refusal else examples.taken_by_sample(model)
        for name in dict.fromkeys(name for names in taken.values() for name in names):
            is_label = examples.dtype_of(model, name) == "int32"
            limits = examples.label_range(model, "sample", name) if is_label else None
            found.append(
                {
                    "name": name,
                    "required": [call for call, names in taken.items() if names.get(name)],
                    "taken": [call for call, names in taken.items() if name in names],
                    "limits": None if limits is None else list(map(int, limits)),
                    "shape": list(model._extra_shapes.get(name, ())),
                    "size": int(np.prod(model._extra_shapes.get(name, ()))),
                    "start": self._start_of_input(name),
                }
            )
        return found

    def _start_of_input(self, name):
        """Return the value that an input has at first: that of the first example."""
        values = (
            self.inputs[name] if name in self.inputs else draws.make_inputs(self.model, 1, 0)[name]
        )
        return np.asarray(values)[0].reshape(-1).tolist()

    def _describe_score(self):
        if self.detector is None and not hasattr(self.model, "anomaly_score"):
            return None
        name, threshold = "model", None
        if self.detector is not None:
            name, threshold = str(self.detector.anomaly_score_), float(self.detector.threshold_)
        scores = None if self.x is None else self._compute_scores(self.x, self.inputs).tolist()
        return {"name": name, "threshold": threshold, "of_examples": scores}

    def _argument_of(self, method):
        """Return what a method of `explorer_views` takes: "x", "z", "vocabulary", or None."""
        first = next(iter(inspect.signature(getattr(self.model, method)).parameters), None)
        return first if first in ("x", "z", "vocabulary") else None

    # ------------------------------------------------------------------ actions

    def decode(self, given):
        """Decode codes.

        Args:
            given: Dictionary of "codes", a list of flat codes, and perhaps "inputs".

        Returns:
            Dictionary of "items".
        """
        codes = forms.read_numbers(given.get("codes"), "codes")
        width = int(np.prod(self.code_shape))
        if codes.ndim != 2 or codes.shape[1] != width:
            raise ValueError(
                f"codes has the shape {codes.shape}. Pass lists of {width} numbers, one for each "
                "code."
            )
        _check_count("codes", len(codes))
        inputs = self.read_inputs(given, self.model.decode, len(codes))
        return {"items": self._decode(codes, inputs)}

    def _decode(self, codes, inputs):
        codes = codes.reshape(-1, *self.code_shape)
        with self._lock:
            if self.code_kind == "vector":
                codes = codes.astype("float32")
                if type(self.model._space) is not Vectors:
                    codes = ops.convert_to_numpy(
                        self.model._space.project(ops.convert_to_tensor(codes))
                    )
            return self._pack(self.model.decode(codes, verbose=0, **inputs))

    def look(self, given):
        """Encode and reconstruct an example, and score it.

        Args:
            given: Dictionary of "example", an index, or "values", the numbers of an example, or
                "parts" with these for some of the modalities; perhaps "only", the names of the
                modalities of the example to read, "inputs", and "likelihood", a flag.

        Returns:
            Dictionary of "items", "copies", the flat "code", "score" and "log_likelihood".
        """
        x, inputs = self._read_example(given)
        model = self.model
        with self._lock:
            encoder_inputs = examples.select(model, model.encode, inputs)
            codes = np.asarray(model.encode(x, verbose=0, **encoder_inputs))
            copies = self._reconstruct(x, inputs)
            found = {
                "items": self._pack(x),
                "copies": self._pack(copies),
                "code": codes.reshape(-1).tolist(),
                "score": self._score(x, inputs),
            }
            if given.get("likelihood") and hasattr(model, "log_likelihood"):
                taken = examples.select(model, model.log_likelihood, inputs)
                options = {"num_samples": _LIKELIHOOD_SAMPLES, "seed": 0, "verbose": 0}
                value = model.log_likelihood(x, **options, **taken)
                found["log_likelihood"] = float(value[0])
        return found

    def interpolate(self, given):
        """Decode codes on the way between two flat codes.

        Args:
            given: Dictionary of "a" and "b", "steps", "spherical", a flag, and perhaps "inputs".

        Returns:
            Dictionary of "items" and "codes".
        """
        if self.code_kind != "vector":
            raise TypeError("interpolate: codes of integers have no way between them.")
        ends = [forms.read_numbers(given.get(name), name).astype("float32") for name in "ab"]
        width = int(np.prod(self.code_shape))
        if any(end.shape != (width,) for end in ends):
            raise ValueError(f"interpolate: a and b must be codes of {width} numbers.")
        steps = arguments.integer("interpolate", "steps", given.get("steps", 8), least=2, most=32)
        spherical = arguments.flag("interpolate", "spherical", given.get("spherical", False))
        inputs = self.read_inputs(given, self.model.decode, steps)
        shares = ops.convert_to_tensor(np.linspace(0.0, 1.0, steps, dtype="float32"))
        with self._lock:
            way = self.model._space.go_between(
                *(ops.convert_to_tensor(end[None]) for end in ends), shares, spherical
            )
            codes = ops.convert_to_numpy(way)[0]
        return {"items": self._decode(codes, inputs), "codes": codes.tolist()}

    def sample(self, given):
        """Draw new data.

        Args:
            given: Dictionary of "count", "seed", perhaps "temperature", a number of at least 0,
                and "inputs".

        Returns:
            Dictionary of "items".
        """
        if self.refusal:
            raise RuntimeError(self.refusal)
        model = self.model
        count = arguments.integer("sample", "count", given.get("count", 16), most=MOST_ROWS)
        seed = arguments.integer("sample", "seed", given.get("seed", 0), least=0, most=2**31 - 1)
        heat = arguments.number("sample", "temperature", given.get("temperature", 1.0), most=100.0)
        taken = examples.taken_by_sample(model)
        inputs = self.read_inputs(given, None, count, taken)
        with self._lock:
            if heat == 1.0:
                drawn = model.sample(count, seed=seed, verbose=0, **inputs)
            else:
                drawn = draws.sample_at(model, heat, count, seed, inputs)
            return {"items": self._pack(drawn)}

    def view(self, given):
        """Call a method of the model's own `explorer_views`.

        Args:
            given: Dictionary of "title", and for a method of x what `look` takes, or for one of z
                the flat "code".

        Returns:
            Dictionary of "figures".
        """
        title = given.get("title")
        if not isinstance(title, str) or title not in self.model.explorer_views:
            known = ", ".join(map(repr, self.model.explorer_views)) or "none"
            raise ValueError(f"view: title={title!r} is no view of this model. It has {known}.")
        method = getattr(self.model, self.model.explorer_views[title])
        takes = self._argument_of(method.__name__)
        form = next(iter(self.forms.values()))
        with self._lock:
            if takes == "x":
                x, inputs = self._read_example(given)
                found = method(x, **examples.select(self.model, method, inputs))
            elif takes == "z":
                code = forms.read_numbers(given.get("code"), "code")
                found = method(code.reshape(1, *self.code_shape).astype(self.model._code_dtype))
            elif takes == "vocabulary":
                found = method(form.names or range(form.shape[0]))
            else:
                found = method()
        return {"figures": forms.draw(title, found, form)}

    # ------------------------------------------------------------------ parts of the above

    def _count(self):
        if self.x is None:
            return 0
        return examples.length(self.x)

    def _make_forms(self, names, rate):
        """Return the form of the data, under "", or of each modality, under its name."""
        model = self.model
        tokens = names is not None or hasattr(model, "vocabulary_size")
        options = {
            "rate": rate,
            "names": names,
            "has_tokens": tokens and hasattr(model, "vocabulary_size"),
            "has_counts": model._takes_sparse,
            "columns": getattr(model, "columns", None),
        }
        if model._modalities:
            made = {}
            for name in model._modalities:
                x = self.x.get(name) if self.x else None
                made[name] = forms.Form(model._data_shape[name], x, model._support[name])
            return made
        shape = model._target_shape
        if self.x is not None and None in shape:
            shape = self.x.shape[1:]
        return {"": forms.Form(shape, self.x, model._support, **options)}

    def _describe_examples(self):
        self.codes, self.found = code_tools.encode(self.model, self.x, self.inputs_of("encode"))
        shown = {name: value[:NUM_SHOWN] for name, value in self.inputs.items()}
        self.copies = self._reconstruct(forms.take(self.x, NUM_SHOWN), shown)

    def inputs_of(self, method):
        """Return those of the examples' named inputs that a method takes."""
        return examples.select(self.model, getattr(self.model, method), self.inputs)

    def _find_start(self):
        """Return the flat code with which the page starts."""
        if self.codes is not None:
            return self.codes[0].reshape(-1).tolist()
        return [0] * int(np.prod(self.code_shape))

    def _reconstruct(self, x, inputs):
        taken = examples.select(self.model, self.model.reconstruct, inputs)
        return self.model.reconstruct(x, verbose=0, **taken)

    def _pack(self, values):
        """Return examples as a dictionary from a modality, or "", to JSON values."""
        if self.model._modalities:
            return {name: self.forms[name].pack(part) for name, part in values.items()}
        return {"": self.forms[""].pack(values)}

    def read_inputs(self, given, method, count, taken=None):
        """Return the named inputs of a request, one row for each of `count` codes or examples."""
        model, found = self.model, given.get("inputs") or {}
        if not isinstance(found, dict):
            raise TypeError("inputs must be a dictionary of names and values.")
        taken = examples.taken_by(model, method) if taken is None else taken
        rows = {}
        for name, value in found.items():
            if name not in taken or value is None:
                continue
            array = forms.read_numbers(value if isinstance(value, list) else [value], name)
            shape = model._extra_shapes.get(name, ())
            if array.size != int(np.prod(shape)):
                raise ValueError(f"{name} has {array.size} numbers, and one example has {shape}.")
            if examples.dtype_of(model, name) == "int32":
                if np.any(array != np.floor(array)) or np.abs(array).max() > 2**31 - 1:
                    raise ValueError(f"{name}={array.tolist()} must be an integer.")
                array = array.astype("int32")
            rows[name] = np.repeat(array.reshape(1, *shape), count, axis=0)
        return rows

    def _read_example(self, given):
        """Return the example of a request, and its named inputs, with a batch axis."""
        model = self.model
        if "values" in given and not model._modalities:
            x, inputs = self.forms[""].unpack(given["values"]), {}
        elif "parts" in given and model._modalities:
            parts = given["parts"]
            if not isinstance(parts, dict) or not parts or not parts.keys() <= self.forms.keys():
                raise ValueError(f"parts must have some of the keys {', '.join(self.forms)}.")
            x = {name: self.forms[name].unpack(values, name) for name, values in parts.items()}
            inputs = {}
        else:
            count = self._count()
            if not count:
                raise ValueError("There are no examples. Pass the numbers of one as values.")
            index = arguments.integer(
                "look", "example", given.get("example"), least=0, most=count - 1
            )
            x = forms.take(self.x, index + 1, index)
            inputs = {name: value[index : index + 1] for name, value in self.inputs.items()}
            if model._modalities and given.get("only"):
                only = given["only"]
                if not isinstance(only, list) or not set(map(str, only)) <= x.keys():
                    raise ValueError(f"only must be a list of some of {', '.join(x)}.")
                x = {name: x[name] for name in only}
        return x, {**inputs, **self.read_inputs(given, None, 1, dict.fromkeys(model.extra_inputs))}

    def _compute_scores(self, x, inputs):
        if self.detector is not None:
            return -self.detector.score_samples(self._as_table(x))
        taken = examples.select(self.model, self.model.anomaly_score, inputs)
        return np.asarray(self.model.anomaly_score(x, verbose=0, **taken), "float64")

    def _score(self, x, inputs):
        """Score one example. Return a dictionary, or None if nothing scores examples."""
        if self.detector is None and not hasattr(self.model, "anomaly_score"):
            return None
        score = float(self._compute_scores(x, inputs)[0])
        found = {"value": score, "threshold": None, "is_anomaly": None, "shares": []}
        if self.detector is not None:
            found["threshold"] = float(self.detector.threshold_)
            found["is_anomaly"] = score > found["threshold"]
            shares = np.asarray(self.detector.explain(self._as_table(x)))
            found["shares"] = forms.draw_shares(shares, self.forms[""])
        return found

    def _as_table(self, x):
        """Return data with the names of the columns to which a detector was fitted."""
        names = getattr(self.detector, "feature_names_in_", None)
        if names is None:
            return x
        import pandas as pd

        return pd.DataFrame(x, columns=names)


def _check_labels(labels, count):
    if labels is None or not count:
        return None
    labels = np.asarray(labels)
    if labels.ndim != 1 or len(labels) < count:
        wanted = f"a vector of at least {count} labels, one for each example"
        raise arguments.refusal("explore", "labels", labels, wanted)
    return [str(label) for label in labels[:count].tolist()]


def _check_count(name, count):
    if count > MOST_ROWS:
        raise ValueError(f"{name} has {count} rows. Pass at most {MOST_ROWS} at a time.")


def _to_text(value):
    return f"{value:.5g}" if isinstance(value, float) else str(value)[:300]
