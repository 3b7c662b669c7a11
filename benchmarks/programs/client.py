"""StableHLO through jaxlib's client: load a program, run it. Needs jax and jaxlib, no TensorFlow.

jax 0.10.2's own names, which it calls internal; versions near it are likely to have them too.
"""

import time

__all__ = ["Loaded", "compile_for", "import_jax"]

TESTED = "0.10.2"


def import_jax():
    """The module jax, with arrays of 64 bits: the optimizer counts in int64.

    Raises:
      ModuleNotFoundError: it is not installed.
    """
    try:
        import jax
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            f"jax is not installed: pip install jax=={TESTED} jaxlib=={TESTED} (on a machine with "
            f"an NVIDIA GPU: pip install 'jax[cuda12]=={TESTED}')."
        ) from None
    jax.config.update("jax_enable_x64", True)
    return jax


def compile_for(device, serialized, load):
    """(executable, seconds): a portable StableHLO artifact compiled for one device.

    Args:
      device: of jax, or of a topology without devices.
      serialized: bytes.
      load: whether the device is there to run it.

    Raises:
      RuntimeError: this version of jax has other names inside; the message says which was tested.
    """
    jax = import_jax()
    try:
        from jax._src import compiler
        from jax._src.interpreters import mlir
        from jax._src.lib import _jax
        from jaxlib.mlir import ir

        client = device.client
        compiled = client.compile_and_load if load else client.compile
        devices = _jax.DeviceList((device,))
    except (ImportError, AttributeError) as problem:
        raise RuntimeError(
            f"jax {jax.__version__}: expected the internal names of {TESTED} ({problem}); "
            f"pip install jax=={TESTED} jaxlib=={TESTED}."
        ) from problem
    options = compiler.get_compile_options(num_replicas=1, num_partitions=1)
    with mlir.make_ir_context():
        module = ir.Module.parse(serialized)
        start = time.perf_counter()
        executable = compiled(module, devices, options)
    return executable, time.perf_counter() - start


class Loaded:
    """A program on a device: `run(arguments)` gives its results, all on the device.

    Args:
      serialized: bytes, a portable StableHLO artifact.
      device: of jax; by default the first.
    """

    def __init__(self, serialized, device=None):
        jax = import_jax()
        self.device = jax.devices()[0] if device is None else device
        self._executable, self.compile_seconds = compile_for(self.device, serialized, load=True)

    def put(self, arrays):
        """Arrays on the device."""
        jax = import_jax()
        return [jax.device_put(array, self.device) for array in arrays]

    def run(self, arguments):
        """The results of one run; they may not be there yet: wait for what you need."""
        results = self._executable.execute_sharded(arguments)
        return [parts[0] for parts in results.disassemble_into_single_device_arrays()]

    def memory(self):
        """Bytes of arguments, results, and what is alive between."""
        stats = self._executable.get_compiled_memory_stats()
        names = ("argument", "output", "temp", "generated_code")
        return {name: getattr(stats, f"{name}_size_in_bytes") for name in names}
