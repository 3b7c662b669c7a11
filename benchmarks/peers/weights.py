"""One name for each weight, the same in every program: its attribute path in our model.

Names start with "encoder." or "decoder."; `walk(model, name)` finds our Keras variable.
"""

__all__ = ["names", "of_part", "walk"]

_LSTM = ("lstm.kernel", "lstm.recurrent_kernel", "lstm.bias")
_ENCODER = ("embedding.embeddings", *_LSTM, "head.dense.kernel", "head.dense.bias")
_SOFTMAX = ("softmax.kernel", "softmax.bias")
_ORACLE = (
    "embedding.embeddings",
    *_LSTM,
    "from_hidden.kernel",
    "from_hidden.bias",
    "from_latent.kernel",
    *_SOFTMAX,
)
_TEXT = (
    "embedding.embeddings",
    *_LSTM,
    "to_gates.kernel",
    "to_hidden.kernel",
    "to_hidden.bias",
    *_SOFTMAX,
)


def names(case):
    """All weights' names of a case's model, as a list.

    >>> from peers.cases import CASES
    >>> names(CASES["oracle"])[0]
    'encoder.embedding.embeddings'
    """
    if case.model == "image":
        encoder, decoder = _image_encoder(len(case.blocks)), _pixelcnn(len(case.kernels))
    else:
        encoder, decoder = _ENCODER, _ORACLE if case.model == "oracle" else _TEXT
    return [f"encoder.{name}" for name in encoder] + [f"decoder.{name}" for name in decoder]


def _image_encoder(blocks):
    found = []
    for index in range(blocks):
        block = f"blocks.{index}"
        found += [f"{block}.{part}.kernel" for part in ("first", "second", "shortcut")]
        found += [f"{block}.norms.{n}.{part}" for n in range(3) for part in ("gamma", "beta")]
    return [*found, "head.dense.kernel", "head.dense.bias"]


def _pixelcnn(layers):
    found = []
    for index in range(layers):
        layer = f"stack.{index}"
        for part in ("vertical", "horizontal", "out"):
            found += [f"{layer}.{part}.kernel", f"{layer}.{part}.bias"]
        found.append(f"{layer}.link.kernel")
    found += [f"{part}.{kind}" for part in ("hidden", "logit") for kind in ("kernel", "bias")]
    return [*found, "from_maps.kernel", "to_maps", "map_bias"]


def walk(root, name):
    """The attribute of `root` that a dotted name leads to; numbers are positions in a list.

    >>> walk([3, "abc"], "0")
    3
    """
    for part in name.split("."):
        root = root[int(part)] if part.isdigit() else getattr(root, part)
    return root


def of_part(weights, part):
    """The weights of "encoder" or "decoder" under their names within it.

    >>> of_part({"encoder.a": 1, "decoder.b": 2}, "decoder")
    {'b': 2}
    """
    start = part + "."
    return {n.removeprefix(start): w for n, w in weights.items() if n.startswith(start)}
