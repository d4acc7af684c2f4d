"""Fetching weights, from servers on this machine that speak as the real ones do."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file

from services.separator.catalogue import Catalogue, Place
from services.separator.messages import Progressed
from services.separator.models import ModelShelf
from services.separator.weights import MEMORY_SECONDS, Weights
from shared.contracts.live import Activity
from shared.errors import Code, RetryableError
from tests.support.models import save_package, small_demucs

if TYPE_CHECKING:
    from collections.abc import Callable

    Files = dict[str, bytes]


@contextmanager
def serving(files: Files) -> Iterator[tuple[str, list[str]]]:
    """(address, what was asked for) of a server that hands out ``files``, as the hub does."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> bytes:
            asked.append(f"{self.command} {self.path}")
            data = files.get(self.path)
            self.send_response(200 if data is not None else 404)
            self.send_header("Content-Length", str(len(data or b"")))
            self.send_header("ETag", f'"{hashlib.sha256(data or b"").hexdigest()}"')
            self.send_header("X-Repo-Commit", "c" * 40)
            self.end_headers()
            return data or b""

        def do_GET(self) -> None:
            self.wfile.write(self.answer())

        def do_HEAD(self) -> None:
            self.answer()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def empty(tmp_path: Path) -> Catalogue:
    return Catalogue(models_dir=None, hub_cache=tmp_path / "hub", torch_hub=tmp_path / "torch")


def weights_of(
    catalogue: Catalogue,
    *,
    hub: str = "http://127.0.0.1:9",
    old: str = "http://127.0.0.1:9",
    clock: Callable[[], float] = lambda: 0.0,
) -> Weights:
    return Weights(
        catalogue=catalogue,
        allowed=True,
        clock=clock,
        hub_address=hub,
        torch_address=f"{old}/",
    )


def shelf_of(catalogue: Catalogue, weights: Weights) -> ModelShelf:
    return ModelShelf(
        catalogue=catalogue, weights=weights, device=torch.device("cpu"), budget=1 << 30
    )


def hub_files(tmp_path: Path) -> Files:
    """What the hub would hold of htdemucs, with a small model in its place."""
    model = small_demucs(3)
    args, kwargs = model._init_args_kwargs
    head = {
        "klass": "demucs.demucs.Demucs",
        "args": json.dumps(args),
        "kwargs": json.dumps(kwargs),
        "filler": "x" * 3_000_000,
    }
    file = tmp_path / "made.safetensors"
    save_file({key: one.contiguous() for key, one in model.state_dict().items()}, file, head)
    base = "/adefossez/HTDemucs/resolve/main"
    return {
        f"{base}/htdemucs.yaml": b"models: ['955717e8']\n",
        f"{base}/955717e8.safetensors": file.read_bytes(),
    }


def test_weights_come_from_the_hub_with_real_progress(empty: Catalogue, tmp_path: Path) -> None:
    told: list[Progressed] = []
    with serving(hub_files(tmp_path)) as (address, _):
        shelf = shelf_of(empty, weights_of(empty, hub=address))
        model = shelf.get("htdemucs", told.append)
    assert model.sources == ("drums", "bass", "other", "vocals")
    assert empty.find("htdemucs").place is Place.HUB_CACHE
    fetching = [one for one in told if one.activity is Activity.FETCHING_WEIGHTS]
    fractions = [one.fraction for one in fetching if one.fraction is not None]
    assert fractions == sorted(fractions)
    assert 0.9 < fractions[-1] <= 1.0
    assert fetching[-1].note.endswith("MB")
    assert told[-1].activity is Activity.LOADING_MODEL


def test_where_the_hub_has_nothing_the_old_host_is_asked(
    empty: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = save_package(small_demucs(3), tmp_path, "955717e8", checksum=True)
    monkeypatch.setattr(
        "demucs.pretrained._parse_remote_files", lambda _: {"955717e8": f"http://x/{made.name}"}
    )
    empty._remote_files["955717e8"] = f"hybrid/{made.name}"
    told: list[Progressed] = []
    with serving({}) as (hub, _), serving({f"/hybrid/{made.name}": made.read_bytes()}) as (old, _):
        model = shelf_of(empty, weights_of(empty, hub=hub, old=old)).get("htdemucs", told.append)
    assert model.sources == ("drums", "bass", "other", "vocals")
    assert empty.find("htdemucs").place is Place.TORCH_CACHE
    assert told[0].activity is Activity.FETCHING_WEIGHTS


def test_a_download_with_a_wrong_checksum_leaves_nothing(empty: Catalogue) -> None:
    (file,) = empty.torch_files("htdemucs")
    with serving({f"/{file}": b"not it"}) as (old, _):
        weights = weights_of(empty, old=old)
        with pytest.raises(RetryableError, match="checksum") as caught:
            weights.fetch(empty.find("htdemucs"), lambda _: None)
    assert caught.value.code == Code.MODEL_WEIGHTS_UNAVAILABLE
    assert list((empty.torch_hub / "checkpoints").iterdir()) == []


def test_a_no_is_remembered_for_some_minutes(empty: Catalogue) -> None:
    now = [0.0]
    found = empty.find("htdemucs")
    with serving({}) as (address, asked):
        weights = weights_of(empty, hub=address, old=address, clock=lambda: now[0])
        assert not weights.fetchable(found)
        first = len(asked)
        assert first == 2
        assert not weights.fetchable(found)
        with pytest.raises(RetryableError) as caught:
            weights.fetch(found, lambda _: None)
        assert len(asked) == first
        assert caught.value.retry_after == MEMORY_SECONDS
        now[0] = MEMORY_SECONDS + 1
        assert not weights.fetchable(found)
        assert len(asked) == 2 * first
