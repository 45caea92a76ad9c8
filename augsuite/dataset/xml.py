"""XML that others wrote: parsed without document types and entities, which no dataset needs and attackers do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar
from xml.etree.ElementTree import Element, ParseError

import defusedxml
from defusedxml.ElementTree import fromstring

from augsuite.errors import DataError

T = TypeVar("T")


def parse(data: bytes, file: Path) -> Element:
    """The root element.

    Args:
        data: the content of the file.
        file: what to call it in an error.

    Raises:
        DataError: if it is malformed, or declares a document type or an entity.
    """
    root: Element = guarded(lambda: fromstring(data, forbid_dtd=True), file)
    return root


def guarded(work: Callable[[], T], file: Path) -> T:
    """Do a step of parsing with defusedxml, such as `next` on its `iterparse(..., forbid_dtd=True)`, with errors of one line.

    Raises:
        DataError: as `parse` does.
    """
    try:
        return work()
    except defusedxml.DefusedXmlException as error:
        raise DataError(
            f"{file}: declares a document type or an XML entity ({error}). Remove the declaration."
        ) from error
    except ParseError as error:
        line, column = error.position
        reason = str(error).partition(":")[0]
        raise DataError(
            f"{file}: line {line}, column {column + 1}: malformed XML ({reason}). Fix the file there."
        ) from error
    except (ValueError, LookupError, RecursionError) as error:  # an encoding that is unknown or takes several bytes
        raise DataError(f"{file}: malformed XML ({error}). Save the file as UTF-8.") from error
