"""The limit that plain integer products set to a speed-up."""

from beansweep.benchmark import integer_products
from beansweep.common import files


def test_models_without_quantized_activations_have_no_products(tmp_path):
    paths = {}
    for name, recipe in (("fp32", {}), ("int8_dynamic", {"quantizer": "dynamic"})):
        paths[name] = tmp_path / f"{name}.json"
        files.write_json(paths[name], {"recipe": recipe})
    assert integer_products.times(paths, threads=1) == {"fp32": None, "int8_dynamic": None}
