"""Who takes part: "framework:method", and which of them are exact.

"before:METHOD" is "ours:METHOD" of another checkout, see `contest.py --before`.
"""

__all__ = ["contenders_for", "in_its_checkout", "in_words", "is_exact", "make", "split"]

_TRAIN = (
    "ours:exact_auto",
    "ours:exact_forward",
    "ours:exact_states",
    "ours:exact_all",
    "ours:exact_reverse",
    "ours:unrolled",
    "jax:scan",
    "jax:checkpoint",
    "jax:by_hand",
    "jax:by_hand_reverse",
    "torch:exact",
    "torch:unrolled",
    "torch:fd",
    "torch:fd_wide",
    "torch:fd_central",
)
_FRAMEWORKS = ("ours", "jax", "torch")
_BEFORE = "before"


_NAMES = {"ours": "tf_savae", "before": "tf_savae, before", "jax": "JAX", "torch": "PyTorch"}
_METHODS = {
    "vae": "",
    "infer": "",
    "exact_auto": "default",
    "exact_forward": "nothing kept",
    "exact_states": "states kept",
    "exact_all": "all kept",
    "exact_reverse": "reverse over reverse",
    "exact": "algorithm 1",
    "by_hand": "algorithm 1",
    "by_hand_reverse": "algorithm 1, reverse over reverse",
    "scan": "through the scan",
    "checkpoint": "through the scan, checkpoints",
    "unrolled": "unrolled",
    "fd": "finite differences of 2018",
    "fd_wide": "wide finite differences",
    "fd_central": "central finite differences",
}


def in_words(contender):
    """The name that readers of a picture see.

    >>> in_words("ours:exact_auto"), in_words("torch:vae")
    ('tf_savae, default', 'PyTorch')
    """
    framework, method = split(contender)
    return ", ".join(filter(None, (_NAMES[framework], _METHODS.get(method, method))))


def contenders_for(kind, steps, model):
    """All contenders of an event; without steps, and at inference, one of each framework.

    >>> contenders_for("train", 0, "oracle")
    ('ours:vae', 'jax:vae', 'torch:vae')
    """
    if kind == "infer":
        return tuple(f"{framework}:infer" for framework in _FRAMEWORKS)
    if not steps:
        return tuple(f"{framework}:vae" for framework in _FRAMEWORKS)
    # Decoders of images have nothing between all and nothing that steps could keep.
    return tuple(n for n in _TRAIN if model != "image" or n != "ours:exact_states")


def is_exact(contender):
    """Whether its gradients must agree with ours; finite differences only report their error.

    >>> is_exact("torch:fd_central")
    False
    """
    return not split(contender)[1].startswith("fd")


def split(contender):
    """(framework, method).

    >>> split("jax:scan")
    ('jax', 'scan')
    """
    framework, _, method = contender.partition(":")
    if framework not in (*_FRAMEWORKS, _BEFORE) or not method:
        raise ValueError(
            f"contender: expected FRAMEWORK:METHOD with one of {', '.join(_FRAMEWORKS)}, got "
            f"{contender!r}."
        )
    return framework, method


def in_its_checkout(contender, checkout):
    """(name in its own checkout, that checkout or None for this one).

    >>> in_its_checkout("before:exact_all", "/old"), in_its_checkout("jax:scan", "/old")
    (('ours:exact_all', '/old'), ('jax:scan', None))
    """
    framework, method = split(contender)
    return (f"ours:{method}", checkout) if framework == _BEFORE else (contender, None)


def make(contender, case, steps, data, dtype="float32"):
    """The contender's object, with `mode`, `step()`, `gradients()` and `infer()`."""
    framework, method = split(contender)
    if framework == "jax":
        from peers.jax_programs.peer import JaxPeer as Peer
    elif framework == "torch":
        from peers.torch_programs.peer import TorchPeer as Peer
    else:
        from peers.ours import Ours as Peer
    return Peer(case, steps, method, data, dtype)
