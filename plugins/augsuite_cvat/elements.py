"""Elements of XML as plain values, and values as XML text.

An element without attributes and children is its text; any other is a dictionary: attributes as `@name`, text as `#text`, children by
tag, with a list where a tag is repeated.
"""

from __future__ import annotations

import re
from typing import Any
from xml.sax.saxutils import escape

from augsuite.protocols import Losses

DEEPEST = 64
TAG = re.compile(r"[A-Za-z_][\w.\-]*", re.ASCII)
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2
_WHOLE = re.compile(r"0|-?[1-9][0-9]{0,17}")
_IN_ATTRIBUTE = {'"': "&quot;", "\n": "&#10;", "\r": "&#13;", "\t": "&#9;"}  # a reader makes spaces of the last three


class Tree:
    """Builds one element from the events of a parser."""

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.value: Any = None
        self.tag = tag
        self._open: list[tuple[str, dict[str, str], list[str], list[tuple[str, Any]]]] = [(tag, attributes, [], [])]

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        """An element begins."""
        self._open.append((tag, attributes, [], []))

    def text(self, data: str) -> None:
        """Text inside the innermost element."""
        self._open[-1][2].append(data)

    def end(self) -> bool:
        """The innermost element ends; True where it was the last, and `value` is whole."""
        tag, attributes, texts, children = self._open.pop()
        value = element(attributes, "".join(texts), children)
        if self._open:
            self._open[-1][3].append((tag, value))
            return False
        self.value = value
        return True


def element(attributes: dict[str, str], text: str, children: list[tuple[str, Any]]) -> Any:
    """The value of one element."""
    if not attributes and not children:
        return text
    value: dict[str, Any] = {f"@{key}": said for key, said in attributes.items()}
    repeated = set()
    for tag, child in children:
        if tag in repeated:
            value[tag].append(child)
        elif tag in value:
            value[tag] = [value[tag], child]
            repeated.add(tag)
        else:
            value[tag] = child
    if children:
        text = text.strip()
    if text:
        value["#text"] = text
    return value


def listed(value: Any) -> list[Any]:
    """The elements of one tag, however many."""
    return value if isinstance(value, list) else [value]


def whole(text: str) -> int | str:
    """A whole number as int; anything else as it is."""
    return int(text) if _WHOLE.fullmatch(text) else text


def written(tag: str, value: Any, losses: Losses, depth: int) -> str:
    """The XML text of a value, indented; several elements for a list."""
    if isinstance(value, list):
        return "".join(written(tag, item, losses, depth) for item in value)
    if not TAG.fullmatch(tag) or depth > DEEPEST:
        losses["elements that XML cannot hold"] += 1
        return ""
    pad = "  " * depth
    if not isinstance(value, dict):
        return f"{pad}<{tag}>{text(str(value), losses)}</{tag}>\n"
    attributes = "".join(
        f' {key[1:]}="{attribute(str(said), losses)}"' for key, said in value.items() if key.startswith("@")
    )
    inner = "".join(written(key, said, losses, depth + 1) for key, said in value.items() if key[:1] not in {"@", "#"})
    said = text(str(value.get("#text", "")), losses)
    if inner:
        return f"{pad}<{tag}{attributes}>{said}\n{inner}{pad}</{tag}>\n"
    return f"{pad}<{tag}{attributes}>{said}</{tag}>\n" if said else f"{pad}<{tag}{attributes}/>\n"


def text(value: str, losses: Losses) -> str:
    """Text between tags."""
    return escape(_legal(value, losses), {"\r": "&#13;"})


def attribute(value: str, losses: Losses) -> str:
    """Text between the quotes of an attribute."""
    return escape(_legal(value, losses), _IN_ATTRIBUTE)


def _legal(value: str, losses: Losses) -> str:
    result, count = _ILLEGAL.subn("\ufffd", value)
    if count:
        losses["characters that XML cannot hold"] += count
    return result
