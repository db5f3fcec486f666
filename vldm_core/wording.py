"""How counts are written in what a person reads."""


def counted(count: int, thing: str) -> str:
    """Return a count with its noun, in the plural where it is not one: "1 shot", "3 shots".

    Args:
        count: How many.
        thing: The noun in the singular, of those that take an s.
    """
    return f"{count} {thing}{'' if count == 1 else 's'}"
