"""Which models do the same arithmetic, and so take the same time: one of them is timed.

A variant may equal its base, and training changes the values of INT8 weights and of biases alone.
Processors take as long to multiply and add one integer as another. Two timings of such models
differ by noise, which would rank one above the other.
"""

import hashlib
import json
from pathlib import Path

import onnx
from onnx import NodeProto, TensorProto

from beansweep.common import files


def first_of_same(metadata_files: dict[str, Path]) -> dict[str, str]:
    """For each model, the first one that does the same arithmetic in the same way.

    Parameters
    ----------
    metadata_files : name -> metadata file

    Returns
    -------
    Name -> name, in the same order.
    """
    first: dict[str, str] = {}
    same = {}
    for name, metadata_file in metadata_files.items():
        metadata = files.read_json(metadata_file)
        digest = arithmetic(metadata_file.with_suffix(".onnx"))
        parts = [digest, metadata["session"], metadata["preprocessing"]]
        same[name] = first.setdefault(json.dumps(parts, sort_keys=True), name)
    return same


def arithmetic(model_file: Path) -> str:
    """A digest of all that decides the time of a model: its graph without names and such values.

    The values of INT8 weights and of biases are left out. Those of other float tensors are not: the
    smallest floats, which are subnormal, slow a processor down.

    Returns
    -------
    Hexadecimal digits, equal for models of the same arithmetic. Models of the same arithmetic may
    have different ones if their nodes have subgraphs, which are compared with their names.
    """
    model = onnx.load(model_file)
    biases = {name for node in model.graph.node for name in _biases(node)}
    digests = {"": ""}
    for tensor in model.graph.initializer:
        digests[tensor.name] = _digest(*_parts(tensor, tensor.name in biases))
    for index, value in enumerate(model.graph.input):
        digests.setdefault(value.name, _digest(index, value.type.SerializeToString()))
    for node in model.graph.node:
        attributes = sorted(attribute.SerializeToString() for attribute in node.attribute)
        inputs = [digests[name] for name in node.input]
        found = _digest(node.domain, node.op_type, *attributes, *inputs)
        for index, name in enumerate(node.output):
            digests[name] = _digest(found, index)
    opsets = sorted(opset.SerializeToString() for opset in model.opset_import)
    return _digest(*opsets, *(digests[value.name] for value in model.graph.output))


def _biases(node: NodeProto) -> list[str]:
    """The inputs of a node that a layer adds to its sums, if they are constants."""
    if node.op_type in ("Conv", "Gemm"):
        return list(node.input[2:3])
    # The INT32 bias of an integer layer, or its weight.
    return list(node.input[:1]) if node.op_type == "DequantizeLinear" else []


def _parts(tensor: TensorProto, is_bias: bool) -> list:
    """What decides the time of the nodes that have this constant: type, shape, perhaps values."""
    is_weight = tensor.data_type in (TensorProto.INT8, TensorProto.UINT8) and len(tensor.dims) > 1
    parts = [tensor.data_type, *tensor.dims]
    return parts if is_weight or is_bias else [*parts, onnx.numpy_helper.to_array(tensor).tobytes()]


def _digest(*parts) -> str:
    """SHA-256 of some parts, in order."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()
