"""A look at a backbone before its training: what cannot work is said before hours are spent.

The network is built with random weights, exported, prepared, and quantized by each recipe, on one
image of noise and without what takes long. That shows which operators it has, and which variants
it cannot have. It shows nothing of accuracy or speed.
"""

import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import torch

from beansweep.common import memory, progress
from beansweep.common.errors import UserError
from beansweep.data import pixels
from beansweep.models import backbone_names, backbones, export, onnx_session
from beansweep.quantization import (
    calibration,
    fake_quantization,
    onnx_graph,
    preparation,
    swapped_activations,
    undone_rewrites,
)
from beansweep.quantization.calibration import Calibration
from beansweep.quantization.not_applicable import NotApplicable
from beansweep.quantization.quantizers import QUANTIZERS
from beansweep.quantization.sources import Sources

# The parts of a recipe that take long, or compare trials: no network is refused for them.
_LIGHT = {"rounding": "nearest", "bias_correction": False, "calibration": ["minmax"]}
_INTEGER = ("QuantizeLinear", "DequantizeLinear")


def inspect(settings: dict, recipes: dict[str, dict], classes: int) -> dict:
    """Build, export and quantize an untrained backbone.

    Parameters
    ----------
    settings : of its training: backbone, image_size, normalisation and weights
    recipes : variant -> its recipe, with every `auto` of the instruction set resolved
    classes : number of outputs

    Returns
    -------
    backbone; image_size in pixels; parameters, how many there are; operators, kind -> count;
    unavailable, variant -> why the backbone cannot have it; float_operators, kind -> count, what
    stays in float in the last static variant; and undone_rewrites, the integer rewrites that do not
    fit

    Raises
    ------
    UserError
        The network does not take the image size, or its export changes what it computes, or it
        fails in a quantizer without a reason that the quantizer knows.
    """
    torch.manual_seed(0)
    preprocessing = backbones.preprocessing(settings)
    size, backbone = preprocessing["image_size"], settings["backbone"]
    model = backbones.build(backbone, classes, size).eval()
    backbones.check_image_size(model, backbone, size)
    found = {
        "backbone": backbone,
        "image_size": size,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }
    inputs = np.random.default_rng(0).normal(size=(1, 3, size, size)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder, "fp32.onnx")
        export.export_checked(model, inputs, exported, f"{backbone}: export to ONNX")
        found["operators"] = _count(onnx.load(exported).graph.node)
        trial = Trial(backbone, model, exported, inputs, preprocessing)
        return found | trial.run(recipes)


def _count(nodes: Iterable[onnx.NodeProto | ir.Node]) -> dict[str, int]:
    """How many nodes there are of each kind, in the order of their names."""
    return dict(sorted(Counter(node.op_type for node in nodes).items()))


class Trial:
    """The variants of a network, each tried.

    Parameters
    ----------
    backbone : its name
    model : the network
    exported : ONNX file
    inputs : float32 [1, 3, size, size]
    preprocessing : of the network
    """

    def __init__(
        self,
        backbone: str,
        model: torch.nn.Module,
        exported: Path,
        inputs: np.ndarray,
        preprocessing: dict,
    ):
        self.backbone = backbone
        self.model = model
        self.exported = exported
        self.inputs = inputs
        self.preprocessing = preprocessing
        self.unavailable: dict[str, str] = {}
        self.float_operators: dict[str, int] = {}
        # By whether the graph is rewritten.
        self.prepared: dict[bool, ir.Model] = {}

    def run(self, recipes: dict[str, dict]) -> dict:
        """Try every recipe, and return the last three entries of `inspect`."""
        for variant, recipe in recipes.items():
            if "base" not in recipe:
                self._try(variant, partial(self._quantize, recipe))
        for variant, recipe in recipes.items():
            if "base" in recipe:
                self._try(variant, partial(self._derive, recipe, recipes))
        undone = undone_rewrites.read(self.prepared[True]) if True in self.prepared else []
        return {
            "unavailable": self.unavailable,
            "float_operators": self.float_operators,
            "undone_rewrites": undone,
        }

    def _try(self, variant: str, make: Callable[[], None]) -> None:
        try:
            make()
        except NotApplicable as reason:
            self.unavailable[variant] = str(reason)
            progress.say(f"{self.backbone} has no {variant}: {reason}")
        except Exception as error:
            if memory.ran_out(error):
                raise
            name = backbone_names.network(self.backbone)
            raise UserError(
                f"{self.backbone} fails in {variant} ({type(error).__name__}: {error}): leave "
                f"that out with overrides: {{{name}: {{variants: {{{variant}: null}}}}}}"
            ) from error

    def _prepare(self, rewritten: bool) -> ir.Model:
        """A graph for the quantizers, made when it is first needed."""
        if rewritten not in self.prepared:
            inputs = self.inputs if rewritten else None
            model = preparation.prepare(ir.load(self.exported), inputs)
            self.prepared[rewritten] = model
        return self.prepared[rewritten]

    def _quantize(self, recipe: dict) -> None:
        """Make a variant that starts from FP32, in a light way, and see that it runs."""
        prepared = self._prepare(recipe.get("integer_rewrites", False))
        light = recipe | {key: value for key, value in _LIGHT.items() if key in recipe}
        sources = Sources({}, pixels.Folder(Path()), self.preprocessing)
        if "calibration" in recipe:
            ranges = calibration.calibrate(prepared, "minmax", [self.inputs])
            sources.calibrations = {"minmax": Calibration("minmax", [], ranges)}
        made = QUANTIZERS[recipe["quantizer"]](prepared, light, sources)
        session = onnx_session.create(made.model.SerializeToString(), made.session)
        onnx_session.logits(session, self.inputs)
        if recipe["quantizer"] == "static":
            self.float_operators = _in_float(onnx_graph.from_proto(made.model).graph)

    def _derive(self, recipe: dict, recipes: dict[str, dict]) -> None:
        """See that a variant that starts from another one can be made."""
        base = recipe["base"]
        if base in self.unavailable:
            raise NotApplicable(f"it starts from {base}, which is not available")
        if recipe["quantizer"] == "qat":
            prepared = self._prepare(recipes[base]["integer_rewrites"])
            teacher = onnx_session.create(ir.to_proto(prepared).SerializeToString())
            fake_quantization.check(prepared, teacher, self.inputs)
        if recipe["quantizer"] == "activation_swap":
            swapped_activations.swapped(self.model, recipe["activations"])


def _in_float(graph: ir.Graph) -> dict[str, int]:
    """What no integer kernel serves: kinds of operators that read nothing quantized, and counts."""
    found = []
    for node in graph:
        if node.op_type not in _INTEGER and not any(onnx_graph.dequantizers(node)):
            found.append(node)
    return _count(found)
