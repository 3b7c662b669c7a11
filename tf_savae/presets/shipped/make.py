"""Trains the models that ship with the package: `python -m tf_savae.presets.shipped.make FOLDER`.

Data and noise have fixed seeds. On another processor, rounding differs and training amplifies the
difference: the bounds agree to about 0.1 nats, and the weights differ. The models are under the
licence of the package.
"""

import sys
from pathlib import Path

from tf_savae.data import load_sentences, load_shapes
from tf_savae.models import SemiAmortizedVAE
from tf_savae.presets.arrays import image
from tf_savae.presets.texts import TextModel, text

__all__ = ["make_sentences", "make_shapes", "without_optimizer"]


def make_shapes(examples: int | None = None, epochs: int = 12) -> SemiAmortizedVAE:
    """Returns the trained model of the drawings, `load_shapes`.

    Args:
      examples: number of training images; by default all.
      epochs: passes over them.
    """
    parts = load_shapes()
    train, valid = parts["train"].x[:examples], parts["valid"].x[:examples]
    model = image(train, latent_size=8, channels=8, steps=2)
    model.fit(train, validation_data=(valid,), epochs=epochs, batch_size=64, verbose=2)
    return model


def make_sentences(examples: int | None = None, epochs: int = 12) -> TextModel:
    """Returns the trained `TextModel` of the sentences, `load_sentences`.

    The first three nats of KL are free, so that the decoder uses the latent variables.

    Args:
      examples: number of training sentences; by default all.
      epochs: passes over them.
    """
    parts = load_sentences()
    made = text(parts["train"].x[:examples], latent_size=8, units=48, steps=2)
    made.model.free_bits = 3.0
    valid = made.rows(parts["valid"].x[:examples])
    made.model.fit(made.x, validation_data=(valid,), epochs=epochs, batch_size=64, verbose=2)
    return made


def without_optimizer(model: SemiAmortizedVAE) -> SemiAmortizedVAE:
    """Returns the model with KL weight 1 and without its optimizer, to be saved."""
    config = {**model.get_config(), "beta": 1.0, "free_bits": 0.0}
    plain = SemiAmortizedVAE.from_config(config)
    plain.build([None, *model.data_spec[0]])
    plain.set_weights(model.get_weights())
    return plain


def main(folder):
    """Writes both models into a folder."""
    folder = Path(folder)
    without_optimizer(make_shapes()).save(folder / "shapes.keras")
    without_optimizer(make_sentences().model).save(folder / "sentences.keras")


if __name__ == "__main__":
    main(sys.argv[1])
