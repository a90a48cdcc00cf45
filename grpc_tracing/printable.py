"""Text from elsewhere, made safe to show: a peer's words must not steer a terminal, nor look like somebody else's."""


def printable(text: str, keep: str = "") -> str:
    r"""Control characters, bidi and other invisible marks and lone surrogates spelled out, as `\x1b` or `\u202e`.

    `keep` names those that may stay, such as a newline in text of several lines.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in keep else _spelled(one) for one in text)


def one_line(text: str) -> str:
    """`printable`, with a blank for each newline."""
    return printable(" ".join(text.split("\n")))


def _spelled(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
