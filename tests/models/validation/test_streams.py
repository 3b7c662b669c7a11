"""Data that come in batches: checked as arrays are, used up once, and never empty in silence."""

import warnings

import keras
import numpy as np
import pytest
import scipy.sparse
import tensorflow as tf
from keras_models import FEATURES, compiled, data, dense_decoder, dense_model, text_model, tokens

import tf_savae
from tf_savae import evaluation
from tf_savae.models.validation.streams import peek
from tf_savae.networks import TextDecoder

Dataset = tf.data.Dataset


class _Batches(keras.utils.PyDataset):
    def __init__(self, x):
        super().__init__()
        self._x = x

    def __len__(self):
        return len(self._x) // 2

    def __getitem__(self, index):
        return (self._x[2 * index : 2 * index + 2],)


def _generator(x):
    yield from (_Batches(x)[index] for index in range(len(x) // 2))


def _weighted(x):
    return (
        Dataset.from_tensor_slices((x, np.ones(len(x), "float32")))
        .batch(2)
        .map(lambda x, weights: (x, None, weights))
    )


def _from_generator(x):
    """Reads its generator only once."""
    batches = _generator(x)
    signature = (tf.TensorSpec([None, *x.shape[1:]], x.dtype),)
    return Dataset.from_generator(lambda: batches, output_signature=signature)


SOURCES = {
    "tf.data": lambda x: Dataset.from_tensor_slices(x).batch(2),
    "weighted": _weighted,
    "from_generator": _from_generator,
    "shuffled": lambda x: _from_generator(x).shuffle(8),
    "generator": _generator,
    "PyDataset": _Batches,
}


@pytest.fixture(scope="module")
def binary():
    model = dense_model("vae", decoder=dense_decoder("bernoulli"))
    return compiled(model, data(), optimizer=keras.optimizers.SGD(0.01))


@pytest.fixture(scope="module")
def text():
    return compiled(text_model("vae"), tokens())


def _pixels():
    return (255 * (data(8) > 0)).astype("uint8")


def _with_nan():
    x = (data(8) > 0).astype("float32")
    x[1::2, 2] = np.nan  # One in each batch.
    return x


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (_pixels, "^x: expected numbers from 0 to 1, .* got 255. Scale the data"),
        (_with_nan, "^x: expected finite numbers, got 1 NaN or infinite of 12. Clean"),
    ],
)
def test_every_source_gets_the_checks_of_arrays(binary, source, x, message):
    make, x = SOURCES[source], x()
    weights = binary.trainable_variables
    before = [weight.numpy() for weight in weights]
    for door in (binary.fit, binary.evaluate, binary.predict):
        with pytest.raises(ValueError, match=message):
            door(make(x), verbose=0)
    good = (data(2) > 0).astype(x.dtype)
    with pytest.raises(ValueError, match=message):
        binary.fit(good, validation_data=make(x), verbose=0)
    if source in ("tf.data", "weighted", "PyDataset"):  # Said before the first epoch.
        for old, new in zip(before, weights, strict=True):
            np.testing.assert_array_equal(old, new)


def test_a_later_batch_of_a_stream_is_checked_too(binary):
    x = (data(8) > 0).astype("float32")
    x[7, 0] = 2.0
    for make in (SOURCES["tf.data"], SOURCES["from_generator"], _generator):
        with pytest.raises(ValueError, match="^x: expected numbers from 0 to 1, .* got 2.0"):
            binary.fit(make(x), verbose=0)


@pytest.mark.parametrize("make", [SOURCES["tf.data"], _generator])
def test_nan_in_a_later_batch_is_skipped_in_training_and_refused_in_evaluation(binary, make):
    x = (data(8) > 0).astype("float32")
    x[5, 0] = np.nan
    assert binary.fit(make(x), verbose=0).history["skipped"] == [1]
    with pytest.raises(
        ValueError, match="^x: expected finite numbers, got 1 NaN or infinite of 12"
    ):
        binary.evaluate(make(x), verbose=0)


def test_single_batches_get_the_checks(binary):
    for door in (binary.train_on_batch, binary.test_on_batch, binary.predict_on_batch):
        with pytest.raises(ValueError, match="^x: expected numbers from 0 to 1, .* got 255"):
            door(_pixels())
    with pytest.raises(ValueError, match="^sample_weight: expected finite numbers, got 1 NaN"):
        binary.train_on_batch((data(2) > 0) * 1.0, sample_weight=np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="^y: expected x alone"):
        binary.test_on_batch(data(2), data(2))


def test_evaluation_functions_get_the_checks(binary):
    pixels = SOURCES["tf.data"](_pixels())
    for function in (evaluation.evaluate_bounds, evaluation.importance_weighting):
        with pytest.raises(ValueError, match="^x: expected numbers from 0 to 1, .* got 255"):
            function(binary, pixels)
    with pytest.raises(ValueError, match="^dataset: expected a tf.data.Dataset of batches, got an"):
        evaluation.evaluate_bounds(binary, data(4))


@pytest.mark.parametrize("source", ["weighted", "generator", "PyDataset"])
def test_token_ids_of_streams(text, source):
    x = tokens(4)
    x[1, 1] = 20
    with pytest.raises(ValueError, match="^x: expected token ids from 0 to 19 .*got 20"):
        text.evaluate(SOURCES[source](x), verbose=0)


def test_what_the_description_of_a_dataset_says(text, binary):
    x = Dataset.from_tensor_slices(tokens())
    with pytest.raises(ValueError, match="^x: expected batches of integer token ids .B, T., got"):
        text.fit(x, verbose=0)
    with pytest.raises(ValueError, match="got dtype float32 and shape"):
        text.fit(x.batch(2).map(lambda t: tf.cast(t, tf.float32)), verbose=0)
    with pytest.raises(
        ValueError, match="^x: expected batches .B, .*got a dataset of scalars; add"
    ):
        binary.fit(Dataset.range(4), verbose=0)
    with pytest.raises(TypeError, match="^x: expected numbers, got dtype string"):
        binary.predict(Dataset.from_tensors([["a"]]), verbose=0)
    with pytest.raises(ValueError, match="^sample_weight: expected finite numbers, got 1 NaN"):
        binary.fit(SOURCES["weighted"](data(2) * 0).map(_weights_of_nan), verbose=0)
    baseline = compiled(
        tf_savae.AutoregressiveModel(TextDecoder(20, 4, 5, latent_size=0)), tokens()
    )
    with pytest.raises(ValueError, match="^x: expected token ids from 0 to 19 .*got"):
        baseline.evaluate(x.batch(2).map(lambda t: t + 16), verbose=0)


def _weights_of_nan(x, y, weights):
    return x, y, weights * [1.0, np.nan]


def test_good_streams_give_what_arrays_give():
    """The checks neither change nor reorder batches, whatever the batches are made of."""
    x = (data(8) > 0).astype("float32")
    model = compiled(dense_model("vae", decoder=dense_decoder("bernoulli")), x)
    start = model.get_weights()
    losses = []
    for make in (lambda x: x, *(SOURCES[s] for s in ("weighted", "generator", "PyDataset"))):
        model.set_weights(start)
        model.optimizer.iterations.assign(0)
        rows = make(x)
        size = {"batch_size": 2} if rows is x else {}
        history = model.fit(rows, **size, shuffle=False, verbose=0).history
        losses += history["loss"]
    assert losses[1:] == pytest.approx([losses[0]] * 3, rel=1e-5)
    packed = Dataset.from_tensor_slices({"image": x, "label": np.arange(8)}).batch(2)
    checked = model.batch_checks().source(packed)
    assert checked.element_spec == packed.element_spec
    assert checked.cardinality() == 4


@pytest.mark.parametrize("source", ["tf.data", "generator", "PyDataset"])
def test_a_batch_size_for_batches_is_refused(source):
    """Keras would ignore it."""
    x = (data(8) > 0).astype("float32")
    model, make = compiled(dense_model("vae"), x), SOURCES[source]
    with pytest.raises(ValueError, match="^batch_size: expected None, since a .* already yields"):
        model.fit(make(x), batch_size=4, verbose=0)
    for method in (model.evaluate, model.predict):
        with pytest.raises(ValueError, match="^batch_size: expected None, since a .* got 4"):
            method(make(x), batch_size=4, verbose=0)
    with pytest.raises(ValueError, match="^validation_batch_size: expected None, since a "):
        model.fit(x, validation_data=make(x), validation_batch_size=4, verbose=0)


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_a_batch_size_is_a_positive_integer(size):
    """Keras takes 0 for 32."""
    model, x = dense_model("vae"), data()
    compiled(model, x)
    for method in (model.fit, model.evaluate, model.predict):
        with pytest.raises(ValueError, match="^batch_size: expected an integer >= 1"):
            method(x, batch_size=size, verbose=0)
    with pytest.raises(ValueError, match="^validation_batch_size: expected an integer >= 1"):
        model.fit(x, validation_data=(x,), validation_batch_size=size, verbose=0)


def test_validation_data_and_a_split_are_refused():
    model, x = dense_model("vae"), data()
    compiled(model, x)
    with pytest.raises(ValueError, match="^validation_split: expected none together with"):
        model.fit(x, validation_data=(x,), validation_split=0.5, verbose=0)


@pytest.mark.parametrize("options", [{"epochs": 0}, {"epochs": 3, "initial_epoch": 3}])
def test_a_fit_without_epochs_is_logged(options, caplog):
    compiled(dense_model("vae"), data()).fit(data(), verbose=0, **options)
    assert "there is no epoch to train" in caplog.text


@pytest.mark.parametrize(
    "options", [{"validation_batch_size": 4}, {"validation_steps": 1}, {"validation_freq": 2}]
)
def test_options_of_validation_without_its_data_are_refused(options):
    """Keras would ignore them."""
    x = (data(8) > 0).astype("float32")
    model = compiled(dense_model("vae"), x)
    (name,) = options
    with pytest.raises(ValueError, match=f"^{name}: requires validation_data or validation_split"):
        model.fit(x, **options, verbose=0)
    model.fit(x, **options, validation_split=0.5, verbose=0)


class _Count(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_begin(self, epoch, logs=None):
        self.epochs.append(0)

    def on_train_batch_end(self, batch, logs=None):
        self.epochs[-1] += 1


@pytest.mark.parametrize("source", ["from_generator", "shuffled", "generator"])
def test_a_model_without_weights_trains_on_every_batch_of_what_is_read_once(source):
    """It is looked at for its shapes, and a shuffle behind it reads all."""
    model = dense_model("vae")
    model.compile("adam", jit_compile=False)
    count = _Count()
    model.fit(SOURCES[source](data(8)), verbose=0, callbacks=[count])
    assert count.epochs == [4]


def test_batches_of_a_generator():
    """Numbers of rows may differ, None and dicts are kept; other shapes are named."""
    checks = dense_model("vae").batch_checks()
    whole = [({"a": np.ones([n, 2]), "b": [np.ones([n], "int32")]}, None, None) for n in (2, 2, 1)]
    found = list(checks.source(batch for batch in whole))
    assert [len(x["a"]) for x, _, _ in found] == [2, 2, 1]
    assert found[0][1] is None and found[0][0]["b"][0].dtype == tf.int32
    with pytest.raises(
        ValueError, match="^x: expected a generator of batches, got one that yields"
    ):
        checks.source(batch for batch in ())
    wide = [np.ones([2, 2]), np.ones([2, 2]), np.ones([2, 3])]
    message = "^x: expected batches like the first two, of shape .None, 2. and dtype float64; got"
    with pytest.raises(ValueError, match=message), checks.original_errors():
        list(checks.source((x,) for x in wide))


def test_what_begins_anew_is_whole_in_every_epoch():
    signature = (tf.TensorSpec([None, FEATURES], tf.float32), tf.TensorSpec([None], tf.float32))
    both = Dataset.from_generator(
        lambda: ((x, np.ones(len(x))) for (x,) in _generator(data(8))), output_signature=signature
    )
    weighted = both.map(lambda x, weights: (x, None, weights))
    weighted = weighted.apply(tf.data.experimental.assert_cardinality(4))
    first, same = peek(weighted)
    np.testing.assert_array_equal(first[0], data(8)[:2])
    assert same.cardinality() == 4 and same.element_spec == weighted.element_spec
    for _ in range(2):
        np.testing.assert_array_equal(np.concatenate([x for x, _, _ in same]), data(8))
    plain = Dataset.from_tensor_slices(data(8)).batch(2)
    assert peek(plain)[1] is plain


@pytest.mark.parametrize("source", ["from_generator", "shuffled", "generator"])
def test_an_epoch_of_nothing_is_an_error(binary, source):
    x = SOURCES[source]((data(4) > 0).astype("float32"))
    with pytest.raises(ValueError, match="^x: expected at least one batch in each epoch, got none"):
        binary.fit(x, epochs=2, verbose=0)
    good = (data(4) > 0).astype("float32")
    with pytest.raises(ValueError, match="^expected at least one batch in each evaluation, got"):
        binary.fit(good, validation_data=SOURCES[source](good), epochs=2, verbose=0)


def test_no_batch_at_all(binary):
    nothing = SOURCES["tf.data"](data(2)).take(0)
    with pytest.raises(ValueError, match="^x: expected at least one batch in each epoch, got none"):
        binary.fit(nothing, verbose=0)
    with pytest.raises(ValueError, match="^expected at least one batch in each evaluation, got"):
        binary.evaluate(nothing, verbose=0)
    with pytest.raises(ValueError, match="^x: expected at least one batch, got none"):
        binary.predict(nothing, verbose=0)


def test_sparse_and_ragged_data(binary):
    sparse = tf.sparse.from_dense(tf.ones([4, FEATURES]))
    ragged = tf.ragged.constant([[1.0], [0.0, 1.0]])
    pairs = [
        (
            scipy.sparse.csr_matrix(np.ones([4, FEATURES])),
            "csr_matrix of shape .4, 6.. .* x.toarra",
        ),
        (sparse, "SparseTensor of shape .4, 6.. .* tf.sparse.to_dense.x."),
        (ragged, "RaggedTensor of shape .2, None.. .* x.to_tensor"),
    ]
    for x, message in pairs:
        for door in (
            binary.fit,
            binary.evaluate,
            binary.predict,
            binary.infer,
            binary.negative_elbo,
            binary.log_likelihood,
            binary.reconstruct,
            binary.train_on_batch,
            binary,
            lambda x: binary.fit(data(2) * 0, validation_data=x),
            lambda x: binary.fit(((x,) for _ in range(2)), verbose=0),
        ):
            with pytest.raises(TypeError, match=f"^x: expected dense arrays .*, got a {message}"):
                door(x)
        if tf.is_tensor(x):
            with pytest.raises(TypeError, match="^x: expected dense arrays .*TensorSpec .*dataset"):
                binary.fit(Dataset.from_tensors(x), verbose=0)


def _loader(x):
    torch = pytest.importorskip("torch")
    rows = torch.utils.data.TensorDataset(torch.from_numpy(x))
    return torch.utils.data.DataLoader(rows, batch_size=2)


@pytest.mark.parametrize(
    "source", [SOURCES["tf.data"], _generator, _loader], ids=["tf.data", "generator", "DataLoader"]
)
def test_no_warning_about_shuffling_that_nobody_asked_for(source):
    """Keras ignores `shuffle` of streams. It warns, even of its own default."""
    x = data(8)
    model = compiled(dense_model(), x)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(source(x), verbose=0)
    assert not [str(w.message) for w in caught if "shuffle" in str(w.message)]
    with pytest.warns(UserWarning, match="shuffle=True"):
        model.fit(source(x), verbose=0, shuffle=True)
