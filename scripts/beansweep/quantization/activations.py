"""Looking inside a graph while it runs."""

from collections.abc import Iterable, Iterator

import numpy as np
import onnx

from beansweep.models import onnx_session


def of(
    model: onnx.ModelProto, names: Iterable[str], inputs: np.ndarray, *, float_kernels: bool = False
) -> Iterator[dict[str, np.ndarray]]:
    """Values inside a graph, image by image, because all activations of all images would not fit.

    Parameters
    ----------
    names : of tensors, the graph's input among them where it is wanted
    inputs : float32 [n, 3, size, size]

    Yields
    ------
    name -> array, with a batch of one
    """
    fed = model.graph.input[0].name
    computed = sorted(set(names) - {fed})
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    del tapped.graph.output[:]
    tapped.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in computed or [model.graph.output[0].name]
    )
    session = onnx_session.create(tapped.SerializeToString(), float_kernels=float_kernels)
    for image in inputs:
        values = session.run(computed, {fed: image[None]}) if computed else []
        yield {fed: image[None], **dict(zip(computed, values, strict=True))}
