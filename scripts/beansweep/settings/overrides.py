"""What differs for one backbone."""

from beansweep.models import backbone_names


def merged(config: dict, backbone: str) -> dict:
    """The overrides of a backbone's network, then those of its whole name, as one.

    Returns
    -------
    Keys of `train`, and `variants`: those that the backbone is to go without -> None
    """
    general = config["overrides"].get(backbone_names.network(backbone), {})
    own = config["overrides"].get(backbone, {})
    left_out = general.get("variants", {}) | own.get("variants", {})
    return general | own | {"variants": left_out}
