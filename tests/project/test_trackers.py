"""The guide's example of experiment tracking runs, into MLflow's store in a local file."""

import re
from pathlib import Path

import keras_models
import pytest

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide.md"


@pytest.mark.e2e
def test_the_metrics_of_fit_are_in_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="needs mlflow: pip install '.[mlflow]'")
    monkeypatch.chdir(tmp_path)
    block = r"^```py\n(import mlflow\n.*?)^```$"
    (example,) = re.findall(block, GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    x = keras_models.data(8)
    model = keras_models.compiled(keras_models.dense_model(), x)
    exec(compile(example, "guide.md", "exec"), {"model": model, "train": x, "valid": x})
    (run,) = mlflow.search_runs(output_format="list")
    recorded = mlflow.MlflowClient().get_metric_history(run.info.run_id, "bound")
    assert len(recorded) == 2 and run.data.metrics["validation_bound"] > 0
    assert (tmp_path / "mlflow.db").exists()
