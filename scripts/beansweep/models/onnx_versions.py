"""The oldest version of ONNX that says what a model says, so that old runtimes on devices run it.

Operators get a new version where they learn a new type or attribute. A model that uses neither
means the same in the version before, and its file differs in nothing but that number.
"""

import onnx
from onnx import defs, helper

# A lower one would gain nothing: ONNX Runtime 1.10, which knows opset 15, fails at a Reshape with
# `allowzero`, as exported graphs have it. The integer rewrites need 14, for HardSwish.
_OLDEST_OPSET = 16
# The first ONNX Runtime 1.x that runs a model, by its opset, as tried with each release. The IR
# version that comes with an opset needs no later one.
_FIRST_RUNTIME = {16: 11, 17: 12, 18: 14, 19: 15, 20: 17, 21: 18, 22: 21, 23: 23, 24: 24}
# By an operator: the first that has it, of ConvInteger with signed weights.
_FIRST_RUNTIME_OF = {("", "ConvInteger"): 24, ("com.microsoft", "QuickGelu"): 14}


def lower(model: onnx.ModelProto) -> None:
    """Give a model the lowest opset and IR version that leave its meaning as it is, in place.

    Domains that no node is of are not named any more: a runtime refuses a version of one that it
    does not know, used or not.
    """
    used = {node.domain for node in _nodes(model)} | {""}
    for index in reversed(range(len(model.opset_import))):
        if model.opset_import[index].domain not in used:
            del model.opset_import[index]
    present = opset(model)
    for version in range(min(_OLDEST_OPSET, present), present + 1):
        _set_opset(model, version)
        if version == present or _means_the_same(model, present):
            return


def opset(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that a model is written in."""
    return _standard(model)[0].version


def oldest_runtime(model: onnx.ModelProto) -> str:
    """The first version of ONNX Runtime that runs a model, such as `1.14`."""
    needed = [_FIRST_RUNTIME[max(opset(model), min(_FIRST_RUNTIME))]]
    for node in _nodes(model):
        needed.append(_FIRST_RUNTIME_OF.get((node.domain, node.op_type), 0))
    return f"1.{max(needed)}"


def _standard(model: onnx.ModelProto) -> list[onnx.OperatorSetIdProto]:
    return [entry for entry in model.opset_import if entry.domain in ("", "ai.onnx")]


def _set_opset(model: onnx.ModelProto, version: int) -> None:
    """Set the opset, and the lowest IR version that goes with it."""
    for entry in _standard(model):
        entry.version = version
    model.ir_version = helper.find_min_ir_version_for(_standard(model), ignore_unknown=True)


def _means_the_same(model: onnx.ModelProto, written_for: int) -> bool:
    """Whether a model means the same in the opset that it has as in that it was written for."""
    for node in _nodes(model):
        if not _same_in(node, written_for, opset(model)):
            return False
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        # A type that the older operators do not know.
        return False
    return True


def _nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """All nodes of a model, those of its functions and of graphs within nodes too."""
    found = []
    parts = [model.graph, *model.functions]
    while parts:
        for node in parts.pop().node:
            found.append(node)
            for attribute in node.attribute:
                parts += [attribute.g, *attribute.graphs]
    return found


def _same_in(node: onnx.NodeProto, present: int, version: int) -> bool:
    """Whether a node means the same in an older opset as in the present one.

    It does where its inputs and attributes are known there, and the attributes that it leaves out
    have the same defaults.
    """
    if node.domain not in ("", "ai.onnx"):
        return True
    try:
        old = defs.get_schema(node.op_type, version, "")
    except defs.SchemaError:
        return False
    new = defs.get_schema(node.op_type, present, "")
    if old.since_version == new.since_version:
        return True
    given = {attribute.name for attribute in node.attribute}
    if not given <= set(old.attributes) or len(node.input) > old.max_input:
        return False
    for name in set(old.attributes) & set(new.attributes) - given:
        if old.attributes[name].default_value != new.attributes[name].default_value:
            return False
    return True
