"""The registry of reported quantities: every table takes its labels from there."""

import ast

import import_graph

from tf_savae.commands.evaluate.table import report_text
from tf_savae.evaluation.quantities import QUANTITIES
from tf_savae.training.report import print_report


def test_labels_are_written_once():
    """No other module has a label of two words or more, or a mapping of names to labels."""
    labels = {text for q in QUANTITIES.values() for text in (q.label, q.column, q.axis) if text}
    labels = {text for text in labels if " " in text}
    found = {}
    for module, path in import_graph.module_files(import_graph.package_folder()).items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        texts = {n.value.strip() for n in ast.walk(tree) if _is_text(n)}
        if texts & labels:
            found[module] = texts & labels
    assert set(found) == {"tf_savae.evaluation.quantities"}, found


def _is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def test_the_report_of_a_training(capsys):
    report = {
        "system": "savae",
        "images": {"test": 12},
        "test": {"bits_per_pixel": 0.25, "bound": 6.5, "iw_nll": 6.25, "active_units": 3},
        "epochs": 2,
        "best_epoch": 1,
        "step_seconds": 0.5,
        "train_seconds": 3.0,
        "parameters": 1000,
    }
    print_report(report, "image")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "",
        "savae on 12 test images",
        "bound (nats per image) 6.50",
        "bits per pixel of the bound 0.25",
        "importance-weighted NLL 6.25",
        "active units 3",
        "epochs (best) 2 (1)",
        "seconds a step (median) 0.500",
        "seconds of training 3",
        "parameters 1,000",
    ]


def test_the_report_of_an_evaluation():
    bound = {"mean": 6.5, "standard_error": 0.1}
    report = {
        "system": "savae",
        "examples": 12,
        "unit": "image",
        "split": "test",
        "posteriors": {"refined": {"steps": 2, "bound": bound, "kl": bound}},
    }
    lines = [" ".join(line.split()) for line in report_text(report).splitlines()]
    assert lines == [
        "savae on 12 images (test); nats per image, ± standard error over them",
        "",
        "refined",
        "refinement steps K 2",
        "bound 6.500 ± 0.1",
        "KL term 6.500 ± 0.1",
        "lower is better: bound",
    ]
