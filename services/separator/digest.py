"""What a model is known by: the hash of everything that decides what comes out."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
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

    Tensors are hashed side by side, each by itself: a model's are hundreds of megabytes.
    """
    whole = hashlib.sha256(repr((tuple(sources), SAMPLE_RATE)).encode())
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for member in members:
            kind = type(member.module)
            version = getattr(member.module, "version", 0)
            head = (kind.__module__, kind.__qualname__, version, member.shares, member.segment)
            whole.update(repr(head).encode())
            state = sorted(member.module.state_dict().items())
            for (name, tensor), found in zip(
                state, pool.map(_hash, (tensor for _, tensor in state)), strict=True
            ):
                whole.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
                whole.update(found)
    return whole.hexdigest()[:DIGITS]


def _hash(tensor: torch.Tensor) -> bytes:
    native = tensor.detach().cpu().contiguous().reshape(-1)
    return hashlib.sha256(native.view(torch.uint8).numpy().data).digest()
