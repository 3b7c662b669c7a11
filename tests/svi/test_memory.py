"""What is free is the least of what the kernel says and what control groups leave."""

import pytest
import tensorflow as tf

from tf_savae.svi.residuals import memory

MEMINFO = "MemTotal: 999999 kB\nMemAvailable:     2048 kB\n"


@pytest.fixture(autouse=True)
def statistics(monkeypatch):
    """Those of an allocator that holds nothing; a test may change them."""
    info = {"current": 5, "peak": 5}
    monkeypatch.setattr(tf.config.experimental, "get_memory_info", lambda device: info)
    return info


def _machine(root, cgroup="", files=None):
    for name, text in {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": cgroup,
        **(files or {}),
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


V2 = {
    "sys/fs/cgroup/a/b/memory.max": "max\n",
    "sys/fs/cgroup/a/b/memory.current": "10\n",
    "sys/fs/cgroup/a/memory.max": "1000000\n",
    "sys/fs/cgroup/a/memory.current": "400000\n",
    "sys/fs/cgroup/a/memory.stat": "anon 5\ninactive_file 1000\n",
}
V1 = {
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "9000\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "10000\n",
}


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("", {}, 2048 * 1024),
        ("0::/a/b\n", V2, 1000000 - 400000 + 1000),
        ("3:cpu,memory:/\n1:name=systemd:/x\n", V1, 0),
    ],
    ids=["machine", "version 2", "version 1, all used"],
)
def test_the_least_counts(cgroup, files, expected, tmp_path, monkeypatch):
    _machine(tmp_path, cgroup, files)
    monkeypatch.setattr(memory, "_ROOT", tmp_path)
    assert memory.free_bytes() == expected


def test_what_tensorflow_holds_for_later_is_free(tmp_path, monkeypatch, statistics):
    _machine(tmp_path)
    monkeypatch.setattr(memory, "_ROOT", tmp_path)
    statistics["peak"] += 3000
    assert memory.free_bytes() == 2048 * 1024 + 3000


def test_an_allocator_without_statistics(tmp_path, monkeypatch):
    def unknown(device):
        raise ValueError(f"no statistics of {device}")

    monkeypatch.setattr(tf.config.experimental, "get_memory_info", unknown)
    _machine(tmp_path)
    monkeypatch.setattr(memory, "_ROOT", tmp_path)
    assert memory.free_bytes() == 2048 * 1024


def test_a_tensor_that_was_freed_is_held_for_later(monkeypatch):
    """The statistics that TensorFlow has; none without oneDNN."""
    monkeypatch.undo()
    tensor = tf.zeros([64, 2**20])  # 256 MiB.
    before = memory._kept_by_tensorflow()
    del tensor
    after = memory._kept_by_tensorflow()
    if not after:
        pytest.skip("TensorFlow's allocator has no statistics")
    assert after - before >= 2**28


def test_a_machine_that_says_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_ROOT", tmp_path)
    assert memory.free_bytes() is None


@pytest.mark.parametrize(
    ("count", "words"), [(1023, "1023 bytes"), (1024, "1.0 KiB"), (5 * 2**40, "5120.0 GiB")]
)
def test_sizes_in_words(count, words):
    assert memory.in_words(count) == words
