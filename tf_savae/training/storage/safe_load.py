"""Loads an untrusted .keras file: runs no code, reads no other files, bounds the memory."""

import json
import math
import zipfile

import keras
import numpy as np
import tensorflow as tf

from tf_savae.core.typing import PathLike

__all__ = ["load_model_file"]

_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
_LARGEST_TEXT = 2**26  # Bytes of a configuration.
_SPARE = 2**20  # Extra numbers that weights may have beyond the capacity of the file.
_SLOTS = 6  # Numbers per weight, including optimizer slots, which a file need not contain.
_LARGEST_EXAMPLE = 2**26  # Numbers in one example of the data.
# Layers that run code or read files named in their configuration.
_REFUSED = {
    "Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "StringLookup",
    "IntegerLookup", "TextVectorization", "MultiWorkerMirroredStrategy",
}  # fmt: skip
_SQUARE = "FullCovarianceGaussian"  # The family with Z (Z + 1) / 2 scale parameters per example.


def load_model_file(path: PathLike) -> keras.Model:
    """Loads the Keras model in a file with `keras.saving.load_model` in safe mode.

    The file is validated first. The archive's checksums are correct; its members are those of a
    model and are not compressed. The configuration names only Keras classes and registered
    classes, none of which runs code or reads other files, and its latent size does not exceed the
    capacity of the file. During loading, variables are counted before they are created, so that a
    file cannot allocate more numbers than it could contain.

    Raises:
      ValueError: the file is damaged, is not a Keras model, or violates one of these conditions.
    """
    try:
        with _counted(_check_archive(path)):
            return keras.saving.load_model(path, safe_mode=True)
    except MemoryError as error:
        raise ValueError(f"{path}: expected a Keras model, got one too large to load.") from error
    except Exception as error:  # noqa: BLE001 Keras raises many types here.
        raise ValueError(
            f"{path}: expected the model of a tf_savae run, but Keras cannot load it: "
            f"{type(error).__name__}: {_first_line(error)}. It is damaged (run the training "
            "command again to repair it), or was saved by another version."
        ) from error


def _first_line(error):
    return (str(error).strip().splitlines() or ["no message"])[0][:500]


def _check_archive(path):
    """Checks that the archive contains exactly a model; returns the largest number of weights."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if sorted(names) != sorted(_MEMBERS):
            raise ValueError(
                f"expected {', '.join(sorted(_MEMBERS))} in it, got {', '.join(names[:9])}"
            )
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"expected {member.filename} uncompressed, got it compressed")
        for name in ("metadata.json", "config.json"):
            if archive.getinfo(name).file_size > _LARGEST_TEXT:
                raise ValueError(f"expected a small {name}, got {archive.getinfo(name).file_size}")
        damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} does not match")
        most = archive.getinfo("model.weights.h5").file_size // 2 + _SPARE  # Numbers of 2 bytes.
        _check_config(json.loads(archive.read("config.json")), most)
        return most


def _check_config(config, most):
    """Raises ValueError if the configuration contains something forbidden; does not recurse.

    Args:
      config: nest of dicts and lists.
      most: largest number of variational parameters per example.
    """
    left, sizes, square = [config], [], False
    while left:
        part = left.pop()
        if isinstance(part, list):
            left += part
        elif isinstance(part, dict):
            left += part.values()
            if "class_name" in part:
                _check_class(part)
                square |= _SQUARE in f"{part['class_name']} {part.get('registered_name')}"
            if "data_spec" in part:
                _check_spec(part["data_spec"])
            _check_windows(part, most)
            if part.get("latent_size") is not None:
                sizes.append(part["latent_size"])
    for size in sizes:
        _check_latent_size(size, most, square)


def _check_latent_size(size, most, square):
    """Checks a latent size: without an encoder, variational parameters are not counted weights."""
    if isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise ValueError(f"expected a latent_size that is an integer >= 0, got {size!r}")
    if (size**2 if square else size) > most:
        raise ValueError(
            f"expected a plausible latent size, got latent_size={size:,}, more than the file can "
            "hold"
        )


def _check_windows(part, most):
    """Checks sizes of spectrogram windows, which NumPy allocates before any variable."""
    for name in ("frame_length", "fft_length"):
        if isinstance(part.get(name), int) and part[name] > most:
            raise ValueError(
                f"expected a plausible window, got {name}={part[name]:,}, more than the file can "
                "hold"
            )


def _check_class(part):
    name, module = part["class_name"], part.get("module")
    if name in _REFUSED:
        raise ValueError(f"a model file may not contain a {name}, which runs code or reads files")
    registered = part.get("registered_name")
    if isinstance(registered, str) and keras.saving.get_registered_object(registered) is not None:
        return
    foreign = isinstance(registered, str) and ">" in registered
    of_keras = isinstance(module, str) and (module == "keras" or module.startswith("keras."))
    if foreign or not (of_keras or module in (None, "builtins")):
        raise ValueError(
            f"expected classes of Keras and registered ones, got {name!r} of "
            f"{module or registered!r}; import the module that registers it first"
        )


def _check_spec(spec):
    """Checks the shapes of one example, which are lists of ints anywhere in the nest."""
    left = [spec]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            left += part.values()
        elif isinstance(part, list):
            sizes = [n for n in part if isinstance(n, int)]
            if math.prod(sizes) > _LARGEST_EXAMPLE or any(n < 0 for n in sizes):
                raise ValueError(f"expected a plausible shape of examples, got {part}")
            left += part


def _counted(most):
    """Context that limits the variables of this thread to `most` numbers and optimizer slots.

    TensorFlow calls the variable creator before it allocates memory; Keras is not patched.
    """
    left, drafts = _SLOTS * most, tf.Graph()

    def creator(make, **kwargs):
        nonlocal left
        shape = _shape_of(kwargs["initial_value"], drafts)
        left -= math.prod(max(n, 1) for n in shape)
        if left < 0:
            raise ValueError(
                f"its layers need weights of shape {shape} and more, more than the file can hold"
            )
        return make(**kwargs)

    return tf.variable_creator_scope(creator)


def _shape_of(value, drafts):
    """Returns the shape of an initial value; a function is traced in a graph but not run."""
    if not callable(value):
        return tuple(value.shape) if hasattr(value, "shape") else np.shape(value)
    try:
        with drafts.as_default():
            return tuple(tf.convert_to_tensor(value()).shape)
    except Exception:  # noqa: BLE001 It reads a variable (a SeedGenerator), which needs a tf.function.
        made = tf.function(value, autograph=False).get_concrete_function()
        return tuple(made.output_shapes)
