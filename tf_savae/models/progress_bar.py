"""Progress bar of `fit` with few metrics."""

from typing import Any

import keras

from tf_savae.core.progress import stages
from tf_savae.models.metrics import STABILITY

__all__ = ["ProgressBar", "progress", "shown"]

_SHORTER = {"refinement_gain": "gain", "steps": "K"}
_ONLY_IN_HISTORY = (
    "loss", "nll", "amortized_bound", "beta", "made_worse", "fell_back", "perplexity", "skipped",
    *STABILITY)  # fmt: skip


class ProgressBar(keras.callbacks.ProgbarLogger):
    """Progress bar of Keras that shows the bound, the KL, the gain of refinement, and K.

    The history and TensorBoard contain all metrics. Metrics of the user's own are shown, too.

    >>> shown({"loss": 3.0, "bound": 3.0, "curvature": 1.0, "val_refinement_gain": 0.5, "own": 1.0})
    {'bound': 3.0, 'val_gain': 0.5, 'own': 1.0}
    """

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_begin(epoch, logs)
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        now = shown(logs or {})
        super().on_train_batch_end(batch, now)
        stages.detail(progress(self._epoch, batch + 1, self.target, now))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        super().on_epoch_end(epoch, shown(logs or {}))


def progress(epoch: int, step: int, steps: int | None, logs: dict[str, Any]) -> str:
    """Returns how far training is, for logs that go to a file.

    >>> progress(2, 57, 188, {"bound": 33.21, "K": 5})
    'epoch 2, step 57 of 188, bound 33.2, K 5'
    """
    numbers = [f"{name} {value:.3g}" for name, value in logs.items()]
    of = "" if steps is None else f" of {steps}"
    return ", ".join([f"epoch {epoch}, step {step}{of}", *numbers])


def shown(logs: dict[str, Any]) -> dict[str, Any]:
    """Returns the metrics that the progress bar shows, with shorter names."""
    found = {}
    for full, value in logs.items():
        part = "val_" if full.startswith("val_") else ""
        name = full.removeprefix(part)
        if name not in _ONLY_IN_HISTORY:
            found[part + _SHORTER.get(name, name)] = value
    return found
