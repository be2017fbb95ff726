"""Looking inside a graph while it runs."""

from collections.abc import Iterable, Iterator

import numpy as np
import onnx
import onnx_ir as ir

from beansweep.models import onnx_session


def of(
    model: ir.Model, names: Iterable[str], inputs: np.ndarray, *, float_kernels: bool = False
) -> Iterator[dict[str, np.ndarray]]:
    """Run a model and hand out values inside its graph, image by image.

    All activations of all images would not fit into memory.

    Parameters
    ----------
    names : of values, the graph's input among them where it is wanted
    inputs : float32 [n, 3, size, size]
    float_kernels : as for `onnx_session.create`

    Yields
    ------
    name -> array, with a batch of one
    """
    image_name = model.graph.inputs[0].name
    computed = sorted(set(names) - {image_name})
    tapped = ir.to_proto(model)
    if computed:
        del tapped.graph.output[:]
        tapped.graph.output.extend([onnx.ValueInfoProto(name=name) for name in computed])
    session = onnx_session.create(tapped.SerializeToString(), float_kernels=float_kernels)
    for image in inputs:
        values = session.run(computed, {image_name: image[None]}) if computed else []
        yield {image_name: image[None], **dict(zip(computed, values, strict=True))}
