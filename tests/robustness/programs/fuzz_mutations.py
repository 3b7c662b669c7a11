"""How valid files become others: changes to bytes, to JSON, and to members of a zip archive."""

import copy
import io
import json
import struct
import zipfile

from hypothesis import strategies as st

__all__ = ["Refused", "byte_changes", "changed_bytes", "changed_json", "json_changes", "rezipped"]

_EDGES = [0, 1, -1, 127, 255, 65_535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1]
_EDGE_BYTES = [struct.pack(f, n) for f in ("<q", ">q") for n in _EDGES[:-1]]
_WORDS = [b"\x00", b"\xff", b"\n", b"\r", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"<pad>", b"[" * 5000]


class Refused(Exception):
    """One of the reader's documented errors; the cause is the error itself."""


# A change of bytes: what to do, where (a share of the length), how far, with which bytes.
byte_changes = st.lists(
    st.tuples(
        st.sampled_from(["flip", "insert", "delete", "repeat", "cut", "overwrite", "edge"]),
        st.floats(0.0, 1.0),
        st.integers(1, 64),
        st.one_of(st.binary(min_size=1, max_size=40), st.sampled_from(_WORDS)),
    ),
    max_size=4,
)
byte_changes = st.one_of(st.just([]), byte_changes)  # Half of the time nothing.


def changed_bytes(content, changes):
    """`content` after a list of `byte_changes`."""
    data = bytearray(content)
    for kind, place, length, payload in changes:
        at = int(place * len(data))
        end = min(len(data), at + length)
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << (length % 8)
        elif kind == "insert":
            data[at:at] = payload
        elif kind == "delete":
            del data[at:end]
        elif kind == "repeat":
            data[at:at] = data[at:end] * (length % 7 + 1)
        elif kind == "cut":
            del data[at:]
        elif kind == "overwrite":
            data[at : at + len(payload)] = payload
        elif kind == "edge":
            edge = _EDGE_BYTES[length % len(_EDGE_BYTES)]
            data[at : at + len(edge)] = edge
    return bytes(data)


_leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([*_EDGES, 10**9, 10**30, -(10**9)]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["../../etc/passwd", "/etc/passwd", "Lambda", "os", "system", "nan", "1e400"]),
)
_values = st.recursive(
    _leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=6,
)
# A change of JSON: which place (of all, a share), what to do there, and with what.
json_changes = st.lists(
    st.tuples(st.floats(0.0, 1.0), st.sampled_from(["set", "drop", "copy"]), _values),
    min_size=1,
    max_size=4,
)


def changed_json(value, changes):
    """A copy of a nest of JSON after a list of `json_changes`."""
    root = {"root": copy.deepcopy(value)}
    for place, kind, new in changes:
        spots = list(_spots(root))
        parent, key = spots[min(int(place * len(spots)), len(spots) - 1)]
        if kind == "set" or parent is root:
            parent[key] = copy.deepcopy(new)
        elif kind == "drop":
            del parent[key]
        else:
            other, name = spots[int(place * 7919) % len(spots)]
            parent[key] = copy.deepcopy(other[name])
    return root["root"]


def _spots(root):
    """All (container, key) of a nest."""
    left = [root]
    while left:
        part = left.pop()
        for key in list(part) if isinstance(part, dict) else range(len(part)):
            yield part, key
            if isinstance(part[key], (dict, list)):
                left.append(part[key])


def rezipped(content, name, change, compression=zipfile.ZIP_STORED):
    """A zip archive with one member changed and all checksums right."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    members[name] = change(members[name])
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for member, data in members.items():
            archive.writestr(member, data)
    return file.getvalue()


def as_json(value):
    """JSON that Python writes and others might not: NaN, Infinity and huge numbers included."""
    return json.dumps(value).encode("utf-8", "surrogatepass")
