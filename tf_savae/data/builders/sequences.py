"""TFDS builders of sequences: text with one document per line, and the oracle's sentences."""

import numpy as np
import tensorflow_datasets as tfds

from tf_savae.data.text.lines import read_lines

__all__ = ["LineText", "OracleWords"]

_SPLITS = {"train": "train", "valid": "validation", "test": "test"}
_ENDINGS = ("", ".gz", ".xz", ".bz2")


class LineText(tfds.core.GeneratorBasedBuilder):
    """Documents from UTF-8 text files, one per line, words separated by single blanks."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Place train.txt in manual_dir, and optionally valid.txt and test.txt, each plain or
    compressed (.txt.gz, .txt.xz, .txt.bz2).
    """

    def _info(self):
        features = tfds.features.FeaturesDict({"text": tfds.features.Text()})
        return tfds.core.DatasetInfo(builder=self, description=self.__doc__, features=features)

    def _split_generators(self, dl_manager):
        files = {part: _text_file(dl_manager.manual_dir, part) for part in _SPLITS}
        if files["train"] is None:
            folder = dl_manager.manual_dir
            raise FileNotFoundError(
                f"{folder}: expected train.txt, plain or compressed (.gz, .xz, .bz2)"
            )
        found = {part: path for part, path in files.items() if path is not None}
        return {_SPLITS[part]: self._generate_examples(path) for part, path in found.items()}

    def _generate_examples(self, path):
        lines, _ = read_lines(path, max_words=None)
        for number, line in enumerate(lines):
            yield number, {"text": line}


def _text_file(folder, part):
    paths = [folder / f"{part}.txt{ending}" for ending in _ENDINGS]
    return next((path for path in paths if path.exists()), None)


class OracleWords(tfds.core.GeneratorBasedBuilder):
    """Sentences of the synthetic experiment (Kim et al. 2018, section 4.1), int32 words [T]."""

    VERSION = tfds.core.Version("1.0.0")
    MANUAL_DOWNLOAD_INSTRUCTIONS = """
    Place oracle.npz in manual_dir, with integer fields train, validation and test [N, T]: what
    numpy.savez("oracle.npz", **tf_savae.data.oracle.draw_oracle_data(...)._asdict()) writes.
    """

    def _info(self):
        # T depends on the file, so one data_dir contains the data of one oracle.
        words = tfds.features.Tensor(shape=(None,), dtype=np.int32)
        features = tfds.features.FeaturesDict({"words": words})
        return tfds.core.DatasetInfo(builder=self, description=self.__doc__, features=features)

    def _split_generators(self, dl_manager):
        path = dl_manager.manual_dir / "oracle.npz"
        with np.load(path, allow_pickle=False) as archive:
            parts = {name: archive[name] for name in archive.files}
        for name in ("train", "validation", "test"):
            rows = parts.get(name)
            if rows is None or rows.ndim != 2 or rows.dtype.kind not in "iu":
                got = "nothing" if rows is None else f"{rows.dtype} {list(rows.shape)}"
                raise ValueError(
                    f"{path}: expected integer rows [N, T] in field {name}, got {got}."
                )
        names = ("train", "validation", "test")
        return {name: self._generate_examples(parts[name]) for name in names}

    def _generate_examples(self, rows):
        for number, words in enumerate(rows):
            yield number, {"words": words.astype(np.int32)}
