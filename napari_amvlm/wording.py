"""Words of messages: numbers with their nouns, and the capital that begins a sentence."""


def counted(number: int, noun: str) -> str:
    """Return a number and its noun.

    Examples
    --------
    >>> counted(1, "image"), counted(2, "image")
    ('1 image', '2 images')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def capitalised(text: str) -> str:
    """Begin a message with a capital, unless its first word may be a name, as that of a file, or `mRNA`.

    Examples
    --------
    >>> capitalised("the disk is full"), capitalised("a.png was not found"), capitalised("mRNA has no mask")
    ('The disk is full', 'a.png was not found', 'mRNA has no mask')
    """
    word = text.split(" ", 1)[0]
    return text[:1].upper() + text[1:] if word.isalpha() and word.islower() else text
