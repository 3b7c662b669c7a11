"""What a program's text says: calls to the host, dynamic shapes, loops."""

import re
from collections import Counter

__all__ = ["of_hlo", "of_stablehlo", "verdict"]

_TRANSFERS = ("infeed", "outfeed", "send", "recv", "send-done", "recv-done")
_HOST = re.compile(r"callback|host|python|py_func|pyfunc", re.IGNORECASE)
_TARGET = re.compile(r'custom_call_target\s*=\s*"([^"]+)"|stablehlo\.custom_call @([\w.]+)')
_CONSTANT = re.compile(r"(%\S+) = stablehlo\.constant dense<(-?\d+)> : tensor<i32>")
_SIZED = re.compile(r"set_dimension_size %\S+, (%\S+), dim = (\d+) : \(tensor<([^>]*)>")
_DYNAMIC = re.compile(
    r"tensor<(?:\d+x)*\?|stablehlo\.bounds|stablehlo\.(?:dynamic_reshape|real_dynamic_slice"
    r"|dynamic_broadcast_in_dim|dynamic_pad|dynamic_iota|dynamic_gather|dynamic_conv)\b"
)


def of_stablehlo(text):
    """Findings on StableHLO text.

    Returns:
      {"programs", "operations", "whiles", "host_calls", "custom_calls", "dynamic_shapes"}: how many
      public functions, operations and loops there are; the host's calls, all custom calls' targets
      and what is dynamic, as lists. A dimension whose size is set to the constant that it has
      (TensorFlow writes reshapes so) is not dynamic.

    >>> of_stablehlo("x = stablehlo.custom_call @xla_python_cpu_callback(%a)")["host_calls"]
    ['xla_python_cpu_callback']
    >>> of_stablehlo("x : tensor<4x?xf32>")["dynamic_shapes"]
    ['tensor<4x?']
    """
    operations = Counter(re.findall(r"stablehlo\.([a-z_]+)", text))
    dynamic = sorted({m.group(0) for m in _DYNAMIC.finditer(text)})
    return {
        "programs": len(re.findall(r"func\.func (?:public )?@", text)),
        "operations": sum(operations.values()),
        "whiles": operations["while"],
        **_calls(text, [name for name in _TRANSFERS if operations[name]]),
        "dynamic_shapes": dynamic + _resized(text),
    }


def of_hlo(text):
    """Findings on compiled HLO text, as `of_stablehlo` gives them.

    >>> found = of_hlo("ENTRY main {\\n  %a = (f32[2]{0:T(8)}, s32[]) while(%b), body=%c\\n"
    ...                "  ROOT %d = token[] outfeed(%a)\\n}")
    >>> found["whiles"], found["host_calls"], found["programs"]
    (1, ['outfeed'], 1)
    """
    opcodes = re.findall(r"^\s*(?:ROOT )?%?\S+ = .*? ([a-z][a-z0-9-]*)\(", text, re.MULTILINE)
    operations = Counter(opcodes)
    return {
        "programs": len(re.findall(r"^ENTRY ", text, re.MULTILINE)),
        "operations": len(opcodes),
        "whiles": operations["while"],
        **_calls(text, [name for name in _TRANSFERS if operations[name]]),
        "dynamic_shapes": sorted(set(re.findall(r"\w+\[[\d,]*<=\d+", text))),
    }


def verdict(found):
    """What is wrong with a program, in words; "" where nothing is.

    >>> verdict({"programs": 1, "host_calls": ["outfeed"], "dynamic_shapes": []})
    'calls the host (outfeed)'
    """
    wrong = []
    if found["programs"] != 1:
        wrong.append(f"{found['programs']} programs")
    if found["host_calls"]:
        wrong.append(f"calls the host ({', '.join(found['host_calls'])})")
    if found["dynamic_shapes"]:
        wrong.append(f"dynamic shapes ({', '.join(found['dynamic_shapes'])})")
    return "; ".join(wrong)


def _calls(text, transfers):
    targets = sorted({m.group(1) or m.group(2) for m in _TARGET.finditer(text)})
    return {
        "host_calls": transfers + [target for target in targets if _HOST.search(target)],
        "custom_calls": targets,
    }


def _resized(text):
    """Sizes of dimensions that are set to anything but the constant that they have anyway."""
    found, constants = [], {}
    for line in text.splitlines():
        if "func.func" in line:
            constants = {}  # Names begin anew.
        if constant := _CONSTANT.search(line):
            constants[constant[1]] = constant[2]
        for name, axis, shape in _SIZED.findall(line):
            if constants.get(name) != shape.split("x")[int(axis)]:
                found.append(f"set_dimension_size of tensor<{shape}>, dim {axis}")
        if "set_dimension_size" in line and not _SIZED.search(line):
            found.append(line.strip()[:80])
    return found
