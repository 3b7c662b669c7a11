"""What the TensorBoard of a run shows besides scalars: which callbacks, on which examples."""

from tf_savae.training.board_figures import BoardFigures
from tf_savae.training.board_images import ImageView
from tf_savae.training.board_samples import BoardSamples
from tf_savae.training.board_text import TextView

__all__ = ["boards"]

_FOLLOWED = 16  # Validation examples whose refinement is followed, if a batch holds so many.


def boards(config, folder, data, checkpoints):
    """The callbacks that `config.board_samples` asks for; none for 0.

    Args:
      config: `TextConfig` or `ImageConfig`.
      folder: `Workdir`: event files go to tensorboard/, figures with their arrays to figures/.
      data: `Texts` or `Images`.
      checkpoints: `Checkpoints`, whose state holds the history.
    """
    if not config.board_samples:
        return []
    view = (TextView if hasattr(data, "vocabulary") else ImageView)(config, data)
    logs, seed = folder / "tensorboard", config.seed
    return [
        BoardSamples(logs / "samples", view, config.board_samples, seed),
        BoardFigures(
            logs / "figures",
            folder / "figures",
            lambda: checkpoints.state.get("history", []),
            unit=view.unit,
            x=view.examples(min(_FOLLOWED, config.batch_size)),
            seed=seed,
        ),
    ]
