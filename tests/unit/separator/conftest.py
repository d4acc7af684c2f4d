"""What the separator's tests share: a blob store, a folder of tiny models, one torch thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import torch
from obstore.store import LocalStore

from services.separator.catalogue import Catalogue
from services.separator.models import ModelShelf
from services.separator.weights import Weights
from shared.blobs import BlockingBlobs
from shared.contracts.models import PUBLISHED
from tests.support.models import (
    save_bag,
    save_package,
    small_demucs,
    small_hdemucs,
    small_htdemucs,
)

if TYPE_CHECKING:
    from pathlib import Path

#: Only members with a share in a source may run: as in htdemucs_ft.
ONE_HOT = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 1.0]]


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages and bags with random weights, as demucs's LocalRepo wants them."""
    folder = tmp_path_factory.mktemp("models")
    save_package(small_htdemucs(1), folder, "tiny", checksum=True)
    save_package(small_htdemucs(2), folder, "tiny2")
    save_package(small_hdemucs(3), folder, "hybrid")
    save_package(small_demucs(4), folder, "timely")
    save_package(small_htdemucs(5, ["vocals", "instrumental"]), folder, "duo")
    save_package(small_htdemucs(6, PUBLISHED["htdemucs_6s"]), folder, "six")
    save_bag(folder, "hot", ["tiny", "tiny2"], ONE_HOT)
    save_bag(folder, "mixed", ["tiny", "tiny2"], [[1.0, 2.0, 1.0, 0.5], [3.0, 1.0, 0.0, 1.0]])
    save_bag(folder, "uneven", ["tiny", "hybrid"])
    return folder


@pytest.fixture
def catalogue(models_dir: Path, tmp_path: Path) -> Catalogue:
    """The made models, and no cache."""
    return Catalogue(
        models_dir=models_dir, hub_cache=tmp_path / "hub", torch_hub=tmp_path / "torch"
    )


@pytest.fixture
def shelf(catalogue: Catalogue) -> ModelShelf:
    """Loads the made models; never fetches."""
    weights = Weights(catalogue=catalogue, allowed=False, clock=time.monotonic)
    return ModelShelf(
        catalogue=catalogue, weights=weights, device=torch.device("cpu"), budget=1 << 30
    )


@pytest.fixture
def blobs(tmp_path: Path) -> BlockingBlobs:
    """A store in a folder."""
    (tmp_path / "blobs").mkdir()
    return BlockingBlobs(LocalStore(prefix=tmp_path / "blobs"))
