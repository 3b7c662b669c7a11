"""TFDS builders of datasets from local files; importing this package registers them.

    import tensorflow_datasets as tfds
    import tf_savae.data.builders
    config = tfds.download.DownloadConfig(manual_dir="folder/with/the/files")
    tfds.load("static_mnist", download_and_prepare_kwargs={"download_config": config})

Nothing is downloaded. The `MANUAL_DOWNLOAD_INSTRUCTIONS` of a builder list the files it reads.
"""

from tf_savae.data.builders.images import Omniglot28, StaticMnist
from tf_savae.data.builders.sequences import LineText, OracleWords

__all__ = ["LineText", "Omniglot28", "OracleWords", "StaticMnist"]
