"""Classes are registered with Keras under the package's name."""

import keras

from tf_savae.core import register


def test_register_registers_under_its_own_name():
    @register
    class Registered:
        def get_config(self):
            return {}

    assert keras.saving.get_registered_name(Registered) == "tf_savae>Registered"
    config = keras.saving.serialize_keras_object(Registered())
    assert config["registered_name"] == "tf_savae>Registered"
