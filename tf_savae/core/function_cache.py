"""`FunctionCache`: keeps `tf.function`s between calls."""

from collections.abc import Callable, Hashable, Sequence, ValuesView
from typing import Any

import tensorflow as tf

__all__ = ["FunctionCache"]


class FunctionCache:
    """Cache of `tf.function`s by key, so that each is created and traced only once.

    >>> cache = FunctionCache()
    >>> double = cache.get("double", lambda x: 2 * x)
    >>> int(double(tf.constant(3))), cache.get("double", None) is double, list(cache)
    (6, True, ['double'])
    """

    def __init__(self) -> None:
        self._by_key: dict[Hashable, Callable[..., Any]] = {}

    def get(
        self,
        key: Any,
        function: Callable[..., Any],
        *,
        jit_compile: bool | None = False,
        input_signature: Sequence[Any] | None = None,
    ) -> Callable[..., Any]:
        """Returns the tf.function of `key`; creates it if the key is new.

        Args:
          key: everything that the function depends on besides its arguments. Include types if
            values that compare equal (1, 1.0, True) have different meanings.
          function: the Python function to compile if the key is new.
          jit_compile, input_signature: as for `tf.function`.

        Returns:
          A tf.function, or `function` itself if the key is not hashable, for example because an
          option is a tensor.
        """
        try:
            made = self._by_key.get(key)
        except TypeError:
            return function
        if made is None:
            made = self._by_key[key] = tf.function(
                function,
                jit_compile=jit_compile,
                input_signature=input_signature,
                autograph=False,
            )
        return made

    def values(self) -> ValuesView[Callable[..., Any]]:
        """Returns the tf.functions in the order of their creation."""
        return self._by_key.values()

    def __iter__(self):
        return iter(self._by_key)

    def __len__(self):
        return len(self._by_key)
