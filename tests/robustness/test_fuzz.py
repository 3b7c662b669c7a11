"""Some of the cases of programs/fuzz.py: every reader reads, or refuses in words of ours."""

import fuzz
import pytest

EXAMPLES = {
    "text": 200,
    "vocabulary": 200,
    "images": 200,
    "mat": 8,
    "run_json": 100,
    "settings": 200,
    "snapshot": 50,
    "state": 10,
    "model_file": 15,
    "model_config": 15,
    "model_weights": 4,
}


@pytest.mark.parametrize("target", list(EXAMPLES))
def test_nothing_but_our_errors(target):
    counts = fuzz.run(target, EXAMPLES[target], seed=1)
    ends = ("read", "refused", "passed over for the one before")
    assert sum(counts.get(end, 0) for end in ends) >= EXAMPLES[target] // 2
    assert counts.get("read") and len(counts) > 1
