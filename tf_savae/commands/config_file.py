"""Read options from a .json or .toml file, such as `--print_config`'s output or run.json."""

import json
import tomllib
from pathlib import Path
from typing import Any

from tf_savae.core.typing import PathLike
from tf_savae.core.validation import did_you_mean

__all__ = ["read_options"]

_KINDS = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "text",
    tuple: "a list, or text with commas",
}


def read_options(path: PathLike, kinds: dict[str, type]) -> dict[str, Any]:
    """Returns {option: value} of a file, with the values' types checked.

    If the file is a run's run.json or a report, the options are read from its "configuration".

    Args:
      path: path of a .json or .toml file.
      kinds: {option: int, float, bool, str or tuple}.

    Raises:
      ValueError: the file cannot be read, has an unknown option, or a value of the wrong type.
    """
    found = _mapping(path)
    if isinstance(found.get("configuration"), dict):
        found = found["configuration"]
    values = {}
    for name, value in found.items():
        name = name.replace("-", "_")
        if name not in kinds:
            raise ValueError(f"{path}: there is no option {name}.{did_you_mean(name, kinds)}")
        if name == "seeds" and isinstance(value, list) and value:  # From train-oracle's run.json.
            if value != list(range(value[0], value[0] + len(value))):
                raise ValueError(f"{path}: seeds: expected consecutive seeds, got {value}.")
            values["first_seed"], value = value[0], len(value)
        if value is not None:
            values[name] = _of_kind(path, name, value, kinds[name])
    return values


def _mapping(path):
    readers = {".json": json.loads, ".toml": tomllib.loads}
    suffix = Path(path).suffix
    if suffix not in readers:
        raise ValueError(f"config_file: expected a .json or .toml file, got {path}.")
    try:
        found = readers[suffix](Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"config_file: expected {path} to be readable, got: {reason}.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected options with their values, got {found!r}.")
    return found


def _of_kind(path, name, value, kind):
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is float and number:
        return float(value)
    if kind is tuple and isinstance(value, (list, str)):
        return value if isinstance(value, str) else tuple(value)
    if isinstance(value, kind) and (kind is not int or number):
        return value
    raise ValueError(f"{path}: {name}: expected {_KINDS[kind]}, got {value!r}.")
