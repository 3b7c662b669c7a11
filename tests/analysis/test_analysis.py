"""Saliency against numerical Jacobians, averages against plain sums, and refinement's path."""

import keras
import linear_gaussian as known
import numpy as np
import pytest
import tensorflow as tf

from tf_savae import AutoregressiveModel, SemiAmortizedRefinement, SemiAmortizedVAE
from tf_savae.analysis import (
    average_by,
    decoder_saliency,
    encoder_saliency,
    frequency_groups,
    log_probs_of_parts,
    position_groups,
    refinement_path,
    saliency,
)
from tf_savae.networks import (
    Decoder,
    PixelCNNDecoder,
    TextDecoder,
    TextEncoder,
)

X = tf.constant([[2, 5, 8, 6, 3], [2, 9, 3, 0, 0]])
V, E, H, Z = 12, 3, 5, 2


def _text_model(encoder=None, **kwargs):
    refinement = SemiAmortizedRefinement(steps=2, step_size=0.3)
    encoder = encoder or TextEncoder(V, E, H, latent_size=Z, initial_scale=0.9)
    decoder = TextDecoder(V, E, H, latent_size=Z, initial_scale=0.9)
    model = SemiAmortizedVAE(encoder, decoder, refinement=refinement, latent_size=Z, **kwargs)
    model.compile(jit_compile=False)
    model(X)
    return model


@pytest.fixture(scope="module")
def text():
    keras.utils.set_random_seed(1)
    return _text_model()


def _slopes(function, point, width=1e-2):
    """Central differences of function(point) in every entry of `point`, [*point, *output]."""
    rows = []
    for index in np.ndindex(point.shape):
        step = np.zeros_like(point)
        step[index] = width
        rows.append((function(point + step) - function(point - step)) / (2 * width))
    return np.reshape(rows, [*point.shape, *np.shape(rows[0])])


def test_token_log_probs_add_up_to_the_log_likelihood(text):
    z = tf.constant([[0.4, -1.0], [1.5, 0.2]])
    parts = text.decoder.token_log_probs(X, z).numpy()
    np.testing.assert_allclose(parts.sum(axis=1), text.decoder.log_prob(X, z), rtol=1e-5)
    assert parts.shape == (2, 4) and (parts[1, 2:] == 0).all() and (parts[0] < 0).all()


def test_encoder_saliency_is_the_norm_of_the_jacobian(text):
    found = encoder_saliency(text)(X, [0, 0]).numpy()
    embedded = text.encoder.embed(X).numpy()

    def means(embedded):
        return text.encoder.encode_embedded(tf.constant(embedded), X)[0].numpy()

    slopes = _slopes(means, embedded)  # [T, B, E, B, Z]
    expected = np.sqrt(np.square(slopes).sum(axis=(2, 3, 4))).T
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=1e-4)
    assert (found[1, 3:] == 0).all() and (found[0] > 1e-3).all()  # <pad> has none.


def test_decoder_saliency_is_the_norm_of_the_gradient(text):
    found = decoder_saliency(text, steps=1)(X, [0, 7]).numpy()
    z = text.family.distribution(text.refined_parameters(X, 1, [0, 7])).mean().numpy()
    slopes = _slopes(lambda z: text.decoder.token_log_probs(X, tf.constant(z)).numpy(), z)
    own = np.stack([slopes[b, :, b] for b in range(2)])  # [B, Z, T - 1]
    np.testing.assert_allclose(found, np.sqrt(np.square(own).sum(axis=1)), rtol=5e-3, atol=2e-4)
    assert (found[1, 2:] == 0).all() and (found[0] > 1e-3).all()


def test_forward_mode_and_two_reverse_passes_agree(text):
    z, direction = tf.constant([[0.4, -1.0], [1.5, 0.2]]), tf.constant([[1.0, 2.0], [-1.0, 0.5]])

    def parts(z):
        return text.decoder.token_log_probs(X, z)

    forward = tf.function(lambda: saliency._forward(parts, z, direction))()
    backward = tf.function(lambda: saliency._twice_backward(parts, z, direction))()
    np.testing.assert_allclose(forward, backward, rtol=1e-4, atol=1e-6)


class _KerasDecoder(Decoder):
    """A Keras LSTM: its loop has no derivative in forward mode inside a tf.function."""

    def __init__(self):
        super().__init__()
        self.lstm = keras.layers.LSTM(H, return_sequences=True, use_cudnn=False)
        self.logits_of = keras.layers.Dense(V)
        self.embedding = keras.layers.Embedding(V, E)

    def token_log_probs(self, x, z):
        inputs = self.embedding(x[:, :-1])
        codes = tf.repeat(z[:, None], tf.shape(inputs)[1], axis=1)
        logits = self.logits_of(self.lstm(tf.concat([inputs, codes], axis=2)))
        return -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=x[:, 1:], logits=logits)

    def log_prob(self, x, z, seed=None, training=False):
        return tf.reduce_sum(self.token_log_probs(x, z), axis=1)


def test_decoders_that_forward_mode_cannot_pass():
    encoder = TextEncoder(V, E, H, latent_size=Z)
    model = SemiAmortizedVAE(encoder, _KerasDecoder(), latent_size=Z, objective="vae")
    model.compile(jit_compile=False)
    model(X)
    z = model.encoded_parameters(X)[0].numpy()
    with pytest.raises(saliency._CANNOT):
        parts = model.decoder.token_log_probs
        tf.function(lambda: saliency._forward(lambda z: parts(X, z), z, tf.ones_like(z)))()
    found = decoder_saliency(model, steps=0)(X, [0, 0]).numpy()
    slopes = _slopes(lambda z: model.decoder.token_log_probs(X, tf.constant(z)).numpy(), z)
    own = np.stack([slopes[b, :, b] for b in range(2)])
    np.testing.assert_allclose(found, np.sqrt(np.square(own).sum(axis=1)), rtol=2e-2, atol=2e-4)


def test_pixels_of_a_pixelcnn():
    decoder = PixelCNNDecoder((3, 4), latent_size=2, channels=4, kernel_sizes=(3, 3))
    encoder = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(4)])
    model = SemiAmortizedVAE(encoder, decoder, latent_size=2, objective="vae")
    model.compile(jit_compile=False)
    x = np.random.default_rng(0).integers(0, 2, (2, 3, 4, 1)).astype(np.float32)
    model(x)
    z = model.encoded_parameters(x)[0].numpy()
    parts = log_probs_of_parts(decoder)
    np.testing.assert_allclose(
        tf.reduce_sum(parts(x, z), axis=[1, 2]), decoder.log_prob(x, z), rtol=1e-5
    )
    found = decoder_saliency(model, steps=0)(x, [0, 0]).numpy()
    slopes = _slopes(lambda z: parts(x, tf.constant(z)).numpy(), z)
    own = np.stack([slopes[b, :, b] for b in range(2)])
    np.testing.assert_allclose(found, np.sqrt(np.square(own).sum(axis=1)), rtol=1e-2, atol=1e-3)
    assert found.shape == (2, 3, 4)


def test_factors_of_a_distribution():
    """x = z W + noise: d log p(x_j) / dz = (x_j - z W_j) W_j."""
    model = known.model()
    x = known.data(5)
    found = decoder_saliency(model, steps=0)(x, [0, 0]).numpy()  # The encoder says z = 0.
    expected = np.abs(x) * np.linalg.norm(known.W, axis=0)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_networks_that_cannot_tell_are_refused():
    class Silent(Decoder):
        def log_prob(self, x, z, seed=None, training=False):
            return tf.zeros([2])

    with pytest.raises(ValueError, match=r"token_log_probs\(x, z\).*Silent has no such method"):
        log_probs_of_parts(Silent())
    with pytest.raises(ValueError, match="embed.*encode_embedded.*got Dense"):
        encoder_saliency(known.model())
    plain = AutoregressiveModel(TextDecoder(V, E, H, latent_size=0))
    with pytest.raises(ValueError, match="which has no latent variables"):
        refinement_path(plain, None)


# Averages.


def test_errors_of_averages_know_documents():
    """Tokens that are all alike within a document are as good as one: the error says so."""
    rng = np.random.default_rng(0)
    documents = rng.normal(size=(400, 1))
    values, groups = np.repeat(documents, 50, axis=1), np.zeros([400, 50], int)
    found = average_by(values, groups, ["all"])
    assert found.count.tolist() == [20000]
    assert found.mean[0] == pytest.approx(documents.mean())
    assert found.standard_error[0] == pytest.approx(documents.std(ddof=1) / 20, rel=1e-3)
    independent = average_by(rng.normal(size=(400, 50)), groups, ["all"])
    assert independent.standard_error[0] == pytest.approx(1 / np.sqrt(20000), rel=0.1)


def test_groups_without_tokens_are_left_out():
    groups = np.array([[0, 2, -1]])
    found = average_by(np.array([[1.0, 5.0, 100.0]]), groups, ["a", "b", "c"])
    assert found.names == ["a", "c"] and found.mean.tolist() == [1.0, 5.0]
    assert np.isnan(found.standard_error).all()  # One document shows no error.
    with pytest.raises(ValueError, match="at least one token"):
        average_by(np.ones([1, 1]), np.array([[-1]]), ["a"])
    with pytest.raises(ValueError, match=r"shapes \[1, 3\] and \[2, 3\]"):
        average_by(np.ones([2, 3]), groups, ["a"])


def test_frequency_groups_cover_every_token():
    tokens = np.arange(230)[None]
    groups, names = frequency_groups(tokens, 230)
    assert names == ["ranks 1 to 10", "ranks 11 to 100", "ranks 101 to 226", "<unk>", "<s>", "</s>"]
    picked = groups[0, [0, 1, 2, 3, 4, 13, 14, 103, 104, 229]]
    found = [names[group] if group >= 0 else None for group in picked]
    ranks = ["ranks 1 to 10"] * 2 + ["ranks 11 to 100"] * 2 + ["ranks 101 to 226"] * 2
    assert found == [None, "<unk>", "<s>", "</s>", *ranks]
    places, names = position_groups(np.array([[2, 9, 0]]))
    assert places.tolist() == [[0, 1, -1]] and names == ["1", "2", "3"]


# Refinement's path.


def test_the_path_ends_where_refinement_does():
    model = known.model(steps=6, step_size=0.1, samples=4)
    x = known.data(7)
    data = tf.data.Dataset.from_tensor_slices(x).batch(7)
    path = refinement_path(model, data, noises=300, seed=2)
    assert path.bound.shape == (7, 7) and path.gradient_norm.shape == (6, 7)
    at_prior = known.negative_elbo(x, np.zeros([7, 2]), np.ones([7, 2]))
    np.testing.assert_allclose(path.bound[0], at_prior, rtol=0.1)
    assert path.bound.mean(axis=1)[-1] < path.bound.mean(axis=1)[0] - 0.3
    assert (path.moved[:, 0] == 0).all() and (path.moved[:, 1:] > 0).all()
    np.testing.assert_allclose(path.kl[0], 0.0, atol=1e-6)

    batch_seed = tf.random.experimental.stateless_fold_in(tf.constant([0, 2]), 0)
    problem = model.batch_objective(x, batch_seed)
    initial = problem.encode()
    refined, trace = model.refinement.refine(
        problem.objective, initial, problem.theta, problem.seed, adjoint="stop", return_trace=True
    )
    for moved, end, start in zip(path.moved, refined, initial, strict=True):
        np.testing.assert_allclose(moved[-1], np.linalg.norm(end - start, axis=1), rtol=1e-4)
    np.testing.assert_allclose(path.seen, trace.negative_elbo[:-1], rtol=1e-4)
    np.testing.assert_allclose(path.gradient_norm, trace.gradient_norm, rtol=1e-3)


def test_a_path_needs_a_step():
    with pytest.raises(ValueError, match="steps: expected an integer >= 1, got 0"):
        refinement_path(known.model(), None, steps=0)
