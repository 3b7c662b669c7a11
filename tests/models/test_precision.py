"""mixed_bfloat16: the networks compute in bfloat16, weights and posteriors stay float32."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import compiled, data, dense_model, step_gradients, text_model, tokens

from tf_savae.networks import TextDecoder


def _made_under(policy, make, **options):
    keras.config.set_dtype_policy(policy)
    model = make(**options)
    keras.config.set_dtype_policy("float32")
    return model


def _cosine(left, right):
    left, right = (np.concatenate([g.ravel() for g in part]) for part in (left, right))
    return left @ right / np.linalg.norm(left) / np.linalg.norm(right)


@pytest.mark.parametrize("hvp", ["reverse_over_reverse", "forward_over_reverse"])
@pytest.mark.parametrize("make", [dense_model, text_model])
def test_gradients_are_close_to_float32(make, hvp):
    x = data(8) if make is dense_model else tokens(4, 5)
    gradients = []
    for policy in ("float32", "mixed_bfloat16"):
        model = _made_under(policy, make, hvp=hvp, model={"path_weight": 0.5})
        model = compiled(model, x)
        assert {v.dtype for v in model.trainable_variables} == {"float32"}
        assert {p.dtype for p in model.encoded_parameters(x)} == {tf.float32}
        gradients.append(step_gradients(model, x))
    assert _cosine(*gradients) > 0.999
    assert model.negative_elbo(x).dtype == tf.float32


def test_policy_of_one_layer_reaches_what_is_inside():
    decoder = TextDecoder(20, 4, 5, 2, dtype="mixed_bfloat16")
    assert decoder.lstm.compute_dtype == decoder.embedding.compute_dtype == "bfloat16"
    again = TextDecoder.from_config(decoder.get_config())
    assert again.softmax.compute_dtype == "bfloat16"
    assert decoder(tokens(), tf.zeros([4, 2])).shape == (4,)
