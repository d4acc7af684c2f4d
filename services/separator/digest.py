"""What a model is known by: the hash of everything that decides what comes out."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

import torch

from shared.contracts.audio import SAMPLE_RATE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.separator.models import Member

#: Hexadecimal digits of a digest.
DIGITS: Final = 32


def digest_of(sources: Sequence[str], members: Sequence[Member]) -> str:
    """The digest of a model that was not rewritten: of classes, geometry, shares and weights.

    Results are kept under it: if it were made otherwise, all there is would be another model's.
    """
    digest = hashlib.sha256(repr((tuple(sources), SAMPLE_RATE)).encode())
    for member in members:
        kind = type(member.module)
        version = getattr(member.module, "version", 0)
        head = (kind.__module__, kind.__qualname__, version, member.shares, member.segment)
        digest.update(repr(head).encode())
        for name, tensor in sorted(member.module.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            native = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(native.view(torch.uint8).numpy().data)
    return digest.hexdigest()[:DIGITS]
