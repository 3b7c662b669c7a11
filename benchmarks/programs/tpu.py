"""Compilation for TPUs that are not there: jax, jaxlib and libtpu, on any machine with Linux."""

import importlib.util
import os

from programs import client, findings, flops

__all__ = ["INSTALL", "TARGETS", "check_installed", "compiled", "missing"]

INSTALL = "pip install jax==0.10.2 jaxlib==0.10.2 libtpu==0.0.42.1"
TARGETS = {  # Topology of four chips, and how libtpu names the machine that has it.
    "v5e": ("v5e:2x2", "v5litepod-4"),
    "v6e": ("v6e:2x2", "v6e-4"),
}


def missing():
    """Which of the packages that compilation for TPUs needs are not installed."""
    names = ("jax", "jaxlib", "libtpu")
    return [name for name in names if importlib.util.find_spec(name) is None]


def check_installed():
    """Raises ModuleNotFoundError with the remedy, if a package is missing."""
    if missing():
        raise ModuleNotFoundError(
            f"{', '.join(missing())}: not installed, and compilation for TPUs needs it: {INSTALL} "
            "(or the extra: pip install 'tf_savae[tpu]')."
        )


def compiled(serialized, target):
    """What the compiled program is like: findings, flops, memory, seconds. One target a process.

    "flops" counts loops as often as they run (`programs.flops`); XLA's own analysis, in
    "flops_loops_once", does not.

    Args:
      serialized: bytes, a portable StableHLO artifact.
      target: a key of `TARGETS`.

    Raises:
      ModuleNotFoundError: libtpu or jax is not installed.
      ValueError: no such target.
    """
    if target not in TARGETS:
        raise ValueError(f"target: expected one of {', '.join(TARGETS)}, got {target!r}.")
    check_installed()
    device = _device(*TARGETS[target])
    executable, seconds = client.compile_for(device, serialized, load=False)
    modules = executable.hlo_modules()
    found = findings.of_hlo(modules[0].to_string())
    return {
        "device": device.device_kind,
        **found,
        "programs": len(modules),
        "flops": flops.of_module(serialized),
        **_costs(executable),
        "memory_bytes": _memory(executable),
        "compile_seconds": round(seconds, 1),
    }


def _device(topology, machine):
    """One chip of a topology. libtpu otherwise asks a network where it is, and locks the chips."""
    os.environ.update(
        JAX_PLATFORMS="cpu",
        TPU_SKIP_MDS_QUERY="1",
        ALLOW_MULTIPLE_LIBTPU_LOAD="1",
        TPU_ACCELERATOR_TYPE=machine,
        TPU_WORKER_HOSTNAMES="localhost",
        TPU_WORKER_ID="0",
    )
    client.import_jax()
    from jax.experimental import topologies

    return topologies.get_topology_desc(platform="tpu", topology_name=topology).devices[0]


def _costs(executable):
    costs = executable.cost_analysis()
    costs = costs[0] if isinstance(costs, list) else costs
    names = {"flops": "flops_loops_once", "bytes accessed": "bytes_loops_once"}
    return {ours: float(costs.get(theirs, 0)) for theirs, ours in names.items()}


def _memory(executable):
    stats = executable.get_compiled_memory_stats()
    names = ("argument", "output", "temp", "generated_code")
    return {name: getattr(stats, f"{name}_size_in_bytes") for name in names}
