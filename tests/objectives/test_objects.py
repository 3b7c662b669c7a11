"""Objectives as objects: what they answer, one of a user's own, and no comparisons of names."""

import ast

import import_graph
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras_models import compiled, data, dense_encoder, dense_model, step_gradients, train_problem

import tf_savae
from tf_savae import evaluation, objectives
from tf_savae.training.config import RunConfig

SOURCES = {
    name: path.read_text(encoding="utf-8")
    for name, path in import_graph.module_files(import_graph.package_folder()).items()
}


@keras.saving.register_keras_serializable(package="test")
class InclusiveKL(objectives.Objective):
    """Theta on the ELBO at lambda_K, held constant; the encoder on weight KL(q_K || q_0)."""

    name = "inclusive_kl"
    needs_steps = True

    def __init__(self, weight=1.0):
        self.weight = weight

    def loss(self, batch):
        """The `Outcome` at lambda_K, with the KL on top."""
        initial = batch.encode()
        refined, start = batch.refined(initial, adjoint="stop")
        outcome = batch.outcome_at(refined, start=start)
        return outcome._replace(loss=outcome.loss + self.weight * self.kl(batch, initial, refined))

    def kl(self, batch, initial, refined):
        """KL(q_K || q_0), [B] nats; lambda_K is constant."""
        fixed = tf.nest.map_structure(tf.stop_gradient, refined)
        family = batch.generator.family
        return family.distribution(fixed).kl_divergence(family.distribution(initial))

    def get_config(self):
        return {"weight": self.weight}


def test_an_objective_from_outside_trains_by_its_own_loss(float64):
    """A step's gradients are those of the loss taken by hand: theta's and the encoder's."""
    x, rule = data(), InclusiveKL(0.5)
    model = compiled(dense_model(rule), x)
    with tf.GradientTape(persistent=True) as tape:
        batch = train_problem(model, x)
        initial = batch.encode()
        refined, _ = batch.refined(initial, adjoint="stop")
        kl = 0.5 * tf.reduce_mean(rule.kl(batch, initial, refined))
        elbo = tf.reduce_mean(batch.objective(refined, batch.theta, batch.final_seed()))
    wanted = tape.gradient(kl, model.encoder.trainable_variables)
    wanted += tape.gradient(elbo, model.decoder.trainable_variables)
    for got, value in zip(step_gradients(model, x), wanted, strict=True):
        np.testing.assert_allclose(got, value.numpy(), rtol=1e-9, atol=1e-12)
    history = model.fit(x, verbose=0).history
    assert history["refinement_gain"][0] != 0.0
    assert (
        evaluation.gradient_noise(model, tf.data.Dataset.from_tensor_slices(x).batch(2), [rule])[
            "inclusive_kl"
        ].signal
        >= 0.0
    )


def test_an_objective_from_outside_is_saved_with_the_model(tmp_path):
    x = data()
    model = compiled(dense_model(InclusiveKL(0.25)), x)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.objective) is InclusiveKL and again.objective.weight == 0.25
    assert again.evaluate(x, verbose=0) == model.evaluate(x, verbose=0)


def test_its_attributes_are_asked():
    rule = InclusiveKL()
    with pytest.raises(ValueError, match='steps >= 1 with objective="inclusive_kl", whose encoder'):
        dense_model(rule, steps=0)
    with pytest.raises(ValueError, match="amortized_weight: requires .*objective='inclusive_kl'"):
        dense_model(rule, model={"amortized_weight": 0.3})
    rule.uses_encoder = False
    with pytest.raises(ValueError, match='latent_size .needed for objective="inclusive_kl".'):
        dense_model(rule, model={"latent_size": None})
    assert dense_model(rule).encoder is None


def test_names_are_the_short_form():
    model = dense_model("savae")
    assert model.objective is objectives.OBJECTIVES["savae"] and str(model.objective) == "savae"
    assert model.get_config()["objective"] == "savae"
    assert dense_model(objectives.SAVAE()).get_config()["objective"] == "savae"
    model.objective = "vae"
    assert type(model.objective) is objectives.VAE and model.inference_steps == 0
    text = tf_savae.networks.TextDecoder(9, 2, 3, latent_size=0)
    assert tf_savae.AutoregressiveModel(text).objective.name == "autoregressive"


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("autoregressive", "or a tf_savae.objectives.Objective; got 'autoregressive'.$"),
        (None, "or a tf_savae.objectives.Objective; got None.$"),
        (objectives.VAE, r"got <class .*VAE'>. Pass an instance of the class: VAE\(...\).$"),
        (objectives.Autoregressive(), "'autoregressive' has no latent variables: use Autoreg"),
    ],
)
def test_what_is_no_objective_is_refused(objective, message):
    with pytest.raises(ValueError, match=message):
        tf_savae.SemiAmortizedVAE(dense_encoder(), None, objective=objective)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"refines": False},
            "needs_steps, got refines=False for 'inclusive_kl'\\. Set refines=True",
        ),
        (
            {"amortized_weight": -1},
            "amortized_weight of 'inclusive_kl': expected a finite number",
        ),
    ],
)
def test_attributes_that_contradict_each_other_are_refused(changes, message):
    rule = InclusiveKL()
    vars(rule).update(changes)
    with pytest.raises(ValueError, match=f"objective: .*{message}"):
        dense_model(rule)


@pytest.mark.parametrize(
    ("loss", "error", "message"),
    [
        (lambda o: o.loss, TypeError, r"loss.batch. of 'inclusive_kl' to return an Outcome, got"),
        (
            lambda o: o._replace(loss=tf.reduce_mean(o.loss)),
            ValueError,
            r"'inclusive_kl' to be one number per example, shape \[B\]; got shape \[\]. Do not",
        ),
    ],
)
def test_a_loss_that_is_no_outcome_per_example_is_refused(loss, error, message):
    rule = InclusiveKL()
    rule.loss = lambda batch: loss(batch.outcome_at(batch.encode()))
    with pytest.raises(error, match=message):
        dense_model(rule)._outcome(data(), [0, 1], 1.0, True, None)


def test_an_objective_of_no_encoder_has_no_gradient_noise():
    rule = InclusiveKL()
    rule.uses_encoder = False
    with pytest.raises(ValueError, match="objectives: .* an encoder, got 'inclusive_kl'. Leave it"):
        evaluation.gradient_noise(compiled(dense_model(), data()), [], [rule])


def test_the_table_of_the_systems():
    """(latent, uses_encoder, refines, crosses_refinement, needs_steps, and both weights)."""
    names = "latent uses_encoder refines crosses_refinement needs_steps".split()
    names += ["amortized_weight", "path_weight"]
    assert {
        system: tuple(getattr(RunConfig(system=system).objective, name) for name in names)
        for system in objectives.SYSTEMS
    } == {
        "autoregressive": (False, False, False, False, False, None, None),
        "vae": (True, True, False, False, False, None, None),
        "svi": (True, False, True, False, False, None, None),
        "vae_svi": (True, True, True, False, False, None, None),
        "vae_svi_exact": (True, True, True, True, False, None, 0.0),
        "vae_svi_kl": (True, True, True, False, True, None, None),
        "savae": (True, True, True, True, False, 0.3, 0.0),
    }


def test_nobody_compares_names_of_objectives():
    """What depends on an objective is an attribute of it, not a comparison elsewhere."""
    others = {name: source for name, source in SOURCES.items() if ".objectives" not in name}
    found = {name: list(_comparisons(source)) for name, source in others.items()}
    assert not {name: compared for name, compared in found.items() if compared}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('system == "svi"', True),
        ('config.system not in ("vae", "autoregressive")', True),
        ('"savae" in names', True),
        ("model.objective == wanted", True),
        ("system in TRAINED", False),
        ("objective is None", False),
        ('study == "oracle"', False),
        ('(study, row["system"]) == (study, system)', False),
        ('match system:\n    case "vae":\n        pass', True),
    ],
)
def test_the_search_for_comparisons(source, found):
    assert bool(list(_comparisons(source))) is found


def _comparisons(source):
    """Yields what compares the name of an objective, as source."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            parts = [part for side in sides for part in getattr(side, "elts", [side])]
            equal = isinstance(node.ops[0], ast.Eq | ast.NotEq)
            if any(map(_is_name, parts)) or (equal and any(map(_holds_one, sides))):
                yield ast.unparse(node)
        elif isinstance(node, ast.MatchValue) and _is_name(node.value):
            yield ast.unparse(node)


def _is_name(node):
    return isinstance(node, ast.Constant) and node.value in list(objectives.SYSTEMS)


def _holds_one(node):
    name = getattr(node, "attr", getattr(node, "id", ""))
    return name in ("objective", "system")
