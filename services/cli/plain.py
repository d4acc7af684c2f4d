"""Text from outside, as a terminal may have it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from rich.text import Text

from shared.contracts.codec import encode

if TYPE_CHECKING:
    import msgspec
    from rich.style import StyleType

#: Bytes of a file's name, which file systems hold to 255; the rest is for a number and a suffix.
_NAME_BYTES: Final = 120
#: What a file's name must not have on some system.
_NO_NAME: Final = re.compile(r'[/\\:*?"<>|]')


def plain(text: str) -> str:
    """``text`` on one line, without what a terminal would obey.

    Rich lets escape sequences through, and so do titles and addresses: control characters,
    marks that turn the direction of writing, and what can't be printed at all are left out.
    """
    signs = (sign if sign.isprintable() else " " if sign.isspace() else "" for sign in text)
    return "".join(signs)


def cell(text: str, style: StyleType = "") -> Text:
    """Some text from outside, ready to be shown; never read as rich's own markup."""
    return Text(plain(text), style=style)


def json_line(record: msgspec.Struct) -> str:
    """``record`` as JSON on one line, equal for programs and harmless for terminals.

    JSON escapes only the first 32 control characters; the others are escaped here.
    """
    text = encode(record).decode()
    if text.isprintable():
        return text
    # Whatever can't be printed stands within a string, where an escape means the same.
    return "".join(sign if sign.isprintable() else json.dumps(sign)[1:-1] for sign in text)


def file_name(text: str) -> str:
    """``text`` as the name of a file or folder: on every system, and in no other folder."""
    name = _NO_NAME.sub("_", plain(text)).encode()[:_NAME_BYTES].decode(errors="ignore")
    return name.strip(". ") or "_"
