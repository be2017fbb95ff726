"""Numbers in words."""


def counted(number: int, words: str) -> str:
    """A number and what it counts: `counted(1, "images of beans")` is `1 image of beans`."""
    plural, *rest = words.split(" ", 1)
    noun = plural.removesuffix("s") if number == 1 else plural
    return " ".join([str(number or "no"), noun, *rest])
