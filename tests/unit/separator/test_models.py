"""What may be named, how it is loaded, what identifies it."""

from __future__ import annotations

import json
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import demucs.hf
import demucs.pretrained
import pytest
import torch
from safetensors.torch import save_file

from services.separator import models
from services.separator.catalogue import (
    Catalogue,
    Found,
    Place,
    hub_repository,
    published_bag,
)
from services.separator.engine import Engine
from services.separator.messages import (
    DescribeModels,
    EngineSettings,
    ModelsDescribed,
    PrepareTrack,
    Progressed,
    TrackPrepared,
)
from services.separator.models import ModelShelf
from services.separator.weights import Weights
from shared.blobs import BlockingBlobs
from shared.child_main import CalledOffError
from shared.contracts.audio import Pass, Plan, Precision, Track
from shared.contracts.live import Activity
from shared.contracts.models import PUBLISHED, QUANTIZED
from shared.contracts.request import Options
from shared.errors import Code, RetryableError, StembusError, TerminalError
from tests.support.models import save_bag, save_package, small_htdemucs
from tests.support.separating import Said, runner

CPU = torch.device("cpu")
TRACK = Track(id="t", frames=100_000, mean=0.0, std=0.1)


def ignore(_: Progressed) -> None:
    """Nobody listens."""


def shelf_of(catalogue: Catalogue, budget: int = 1 << 30) -> ModelShelf:
    weights = Weights(catalogue=catalogue, allowed=False, clock=time.monotonic)
    return ModelShelf(catalogue=catalogue, weights=weights, device=CPU, budget=budget)


def engine_of(catalogue: Catalogue, blobs: BlockingBlobs) -> Engine:
    weights = Weights(catalogue=catalogue, allowed=False, clock=time.monotonic)
    return Engine(
        catalogue=catalogue,
        weights=weights,
        shelf=ModelShelf(catalogue=catalogue, weights=weights, device=CPU, budget=1 << 30),
        blobs=blobs,
        runner=runner(),
        device=CPU,
        settings=EngineSettings(blobs_url=""),
    )


def prepared(engine: Engine, model: str, *stems: str) -> Plan:
    said = Said()
    options = Options(model=model, stems=stems)
    engine.handle(PrepareTrack(options=options, track=TRACK), said)
    return said.last(TrackPrepared).plan


def test_our_list_of_published_models_is_demucss() -> None:
    remote = demucs.pretrained.REMOTE_ROOT
    bags = {path.stem for path in remote.glob("*.yaml") if not path.stem.startswith("repro_")}
    assert bags == set(PUBLISHED)
    files = demucs.pretrained._parse_remote_files(remote / "files.txt")
    catalogue = Catalogue(models_dir=None, hub_cache=Path("/none"), torch_hub=Path("/none"))
    for name in PUBLISHED:
        addresses = [files[signature] for signature in published_bag(name)]
        root = demucs.pretrained.ROOT_URL
        assert [root + one for one in catalogue.torch_files(name)] == addresses
        assert hub_repository(name) == f"adefossez/{demucs.hf.hf_repo_name(name)}"


def test_names_are_the_published_ones_the_folders_and_dsp(catalogue: Catalogue) -> None:
    names = catalogue.names()
    local = {"tiny", "tiny2", "hybrid", "timely", "duo", "six", "hot", "mixed", "uneven"}
    assert set(names) == (set(PUBLISHED) - QUANTIZED) | local | {"dsp"}
    assert catalogue.find("tiny").place is Place.LOCAL
    assert catalogue.find("dsp").place is Place.BUILT_IN
    assert catalogue.find("htdemucs").place is Place.REMOTE


@pytest.mark.parametrize("name", ["", "../tiny", "hf://x/y", "demucs_unittest", "auto", "x" * 999])
def test_what_is_not_on_the_list_is_unknown(name: str, catalogue: Catalogue) -> None:
    with pytest.raises(TerminalError) as caught:
        shelf_of(catalogue).get(name, ignore)
    assert caught.value.code == Code.MODEL_UNKNOWN


@pytest.mark.parametrize("source", ["lead vocals", "st\u00e9ms", "a/b", "..", "", "x" * 65, "mix"])
def test_a_model_whose_stems_could_not_be_named_is_neither_offered_nor_run(
    source: str, tmp_path: Path, blobs: BlockingBlobs
) -> None:
    save_package(small_htdemucs(sources=[source, "vocals"]), tmp_path / "models", "odd")
    catalogue = Catalogue(
        models_dir=tmp_path / "models", hub_cache=tmp_path, torch_hub=tmp_path / "torch"
    )
    said = Said()
    engine_of(catalogue, blobs).handle(DescribeModels(), said)
    assert "odd" not in {offer.name for offer in said.last(ModelsDescribed).models}
    with pytest.raises(TerminalError) as caught:
        shelf_of(catalogue).get("odd", ignore)
    assert caught.value.code == Code.MODEL_UNKNOWN
    assert repr(source)[:20] in str(caught.value)


def test_the_folder_wins_over_a_published_model_of_the_same_name(
    tmp_path: Path, blobs: BlockingBlobs
) -> None:
    save_package(small_htdemucs(), tmp_path / "models", "htdemucs")
    catalogue = Catalogue(
        models_dir=tmp_path / "models", hub_cache=tmp_path, torch_hub=tmp_path / "torch"
    )
    assert catalogue.find("htdemucs").place is Place.LOCAL
    assert prepared(engine_of(catalogue, blobs), "auto").model == "htdemucs"


def test_weights_put_into_the_folder_under_their_published_names_are_found(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "models"
    catalogue = Catalogue(models_dir=folder, hub_cache=tmp_path, torch_hub=tmp_path / "torch")
    made = save_package(small_htdemucs(), folder, "made")
    (file,) = catalogue.torch_files("htdemucs")
    made.rename(folder / Path(file).name)
    assert catalogue.find("htdemucs").place is Place.LOCAL_FILES
    with pytest.raises(TerminalError, match="Invalid checksum") as caught:
        shelf_of(catalogue).get("htdemucs", ignore)
    assert caught.value.code == Code.MODEL_WEIGHTS_UNAVAILABLE


def test_a_model_in_the_hubs_cache_is_loaded_without_the_network(tmp_path: Path) -> None:
    model = small_htdemucs(7)
    args, kwargs = model._init_args_kwargs
    kwargs = {
        key: {"_type": "fraction", "numerator": value.numerator, "denominator": value.denominator}
        if isinstance(value, Fraction)
        else value
        for key, value in kwargs.items()
    }
    folder = tmp_path / "models--adefossez--HTDemucs" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    save_bag(folder, "htdemucs", ["955717e8"])
    metadata = {
        "klass": "demucs.htdemucs.HTDemucs",
        "args": json.dumps(args),
        "kwargs": json.dumps(kwargs),
    }
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    save_file(state, folder / "955717e8.safetensors", metadata)
    catalogue = Catalogue(models_dir=None, hub_cache=tmp_path, torch_hub=tmp_path / "torch")
    assert catalogue.find("htdemucs").place is Place.HUB_CACHE
    from_hub = shelf_of(catalogue).get("htdemucs", ignore)

    # What else it names is not called.
    for klass in ("os.system", "", "demucsx.HTDemucs", "demucs.states.load_model"):
        save_file(state, folder / "955717e8.safetensors", {**metadata, "klass": klass})
        with pytest.raises(TerminalError, match="none of demucs's") as caught:
            shelf_of(catalogue).get("htdemucs", ignore)
        assert caught.value.code == Code.MODEL_WEIGHTS_UNAVAILABLE
    (folder / "955717e8.safetensors").write_bytes(b"no tensors")
    with pytest.raises(TerminalError, match="can't be loaded"):
        shelf_of(catalogue).get("htdemucs", ignore)

    # The same weights in another place are the same model.
    save_package(model, tmp_path / "models", "same")
    local = Catalogue(models_dir=tmp_path / "models", hub_cache=tmp_path, torch_hub=tmp_path)
    assert from_hub.digest == shelf_of(local).get("same", ignore).digest


def test_a_digest_tells_weights_and_shares_apart(catalogue: Catalogue) -> None:
    names = ("tiny", "tiny2", "hybrid", "timely", "hot", "mixed", "dsp")
    digests = [shelf_of(catalogue).get(name, ignore).digest for name in names]
    assert len(set(digests)) == len(names)
    assert digests[0] == shelf_of(catalogue).get("tiny", ignore).digest


def test_the_shelf_keeps_the_last_used_models_and_notices_new_files(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    for seed, name in enumerate("abc"):
        save_package(small_htdemucs(seed), folder, name)
    catalogue = Catalogue(models_dir=folder, hub_cache=tmp_path, torch_hub=tmp_path)
    one = shelf_of(catalogue).get("a", ignore).bytes
    shelf = shelf_of(catalogue, budget=2 * one)
    first = shelf.get("a", ignore)
    second = shelf.get("b", ignore)
    assert shelf.get("a", ignore) is first
    shelf.get("c", ignore)
    assert shelf.names == ("a", "c")
    assert shelf.get("a", ignore) is first
    assert shelf.get("b", ignore) is not second
    save_package(small_htdemucs(9), folder, "a")
    assert shelf.get("a", ignore).digest != first.digest


def test_a_model_that_is_being_fetched_holds_nobody_up_but_those_that_want_it(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "TELL_SECONDS", 0.01)
    shelf = shelf_of(catalogue)
    begun, over = threading.Event(), threading.Event()
    fetched: list[str] = []

    def fetch(found: Found, _: object) -> Found:
        fetched.append(found.name)
        begun.set()
        assert over.wait(10)
        return catalogue.find("tiny2")

    monkeypatch.setattr(shelf._weights, "fetch", fetch)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(shelf.get, "htdemucs", ignore)
        assert begun.wait(10)
        assert shelf.get("tiny", ignore).name == "tiny"
        assert shelf.names == ("tiny",)
        told = Said()
        second = pool.submit(shelf.get, "htdemucs", told)
        while len(told.reports) < 3:  # who waits says that it lives
            time.sleep(0.01)
        assert not second.done()

        def leave(_: Progressed) -> None:
            raise CalledOffError

        with pytest.raises(CalledOffError):
            shelf.get("htdemucs", leave)
        over.set()
        assert first.result(10).digest == second.result(10).digest
    # What the first fetched was another file, and is looked for anew by whoever comes next.
    assert fetched == ["htdemucs", "htdemucs"]


def test_two_models_that_are_loaded_at_once_are_still_within_the_budget(tmp_path: Path) -> None:
    folder = tmp_path / "models"
    for seed, name in enumerate("ab"):
        save_package(small_htdemucs(seed), folder, name)
    catalogue = Catalogue(models_dir=folder, hub_cache=tmp_path, torch_hub=tmp_path)
    one = shelf_of(catalogue).get("a", ignore).bytes
    shelf = shelf_of(catalogue, budget=one)
    together = threading.Barrier(2)

    def meet(said: Progressed) -> None:
        assert said.activity is Activity.LOADING_MODEL
        together.wait(10)

    with ThreadPoolExecutor(2) as pool:
        assert [made.name for made in pool.map(lambda name: shelf.get(name, meet), "ab")] == [
            "a",
            "b",
        ]
    assert len(shelf.names) == 1


def test_a_model_that_is_larger_than_the_budget_is_kept_alone_and_the_others_go(
    catalogue: Catalogue,
) -> None:
    shelf = shelf_of(catalogue, budget=1)
    gone = weakref.ref(shelf.get("tiny", ignore).members[0].module)
    assert gone() is not None
    kept = shelf.get("duo", ignore)
    assert shelf.names == ("duo",)
    assert shelf.get("duo", ignore) is kept
    # Its memory is free, not only forgotten.
    assert gone() is None


def test_a_bag_may_have_members_with_unlike_windows(catalogue: Catalogue) -> None:
    model = shelf_of(catalogue).get("uneven", ignore)
    assert model.segments == (33075, 35280)
    assert model.needed(("vocals",)) == (0, 1)


def test_a_bag_runs_only_the_members_that_are_needed(catalogue: Catalogue) -> None:
    model = shelf_of(catalogue).get("hot", ignore)
    assert model.needed(("drums",)) == (0,)
    assert model.needed(("vocals", "bass")) == (1,)
    assert model.needed(("vocals", "drums")) == (0, 1)


def test_a_digest_is_known_once_a_model_was_loaded(catalogue: Catalogue) -> None:
    shelf = shelf_of(catalogue)
    found = catalogue.find("tiny")
    assert shelf.digest_of(found) == ""
    assert shelf.get("tiny", ignore).digest == shelf.digest_of(found)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no", b"junk" * 100])
def test_a_broken_package_is_an_error_with_a_code_and_hides_no_other(
    data: bytes, tmp_path: Path, blobs: BlockingBlobs
) -> None:
    save_package(small_htdemucs(), tmp_path / "models", "good")
    (tmp_path / "models" / "bad.th").write_bytes(data)
    catalogue = Catalogue(models_dir=tmp_path / "models", hub_cache=tmp_path, torch_hub=tmp_path)
    with pytest.raises(TerminalError) as caught:
        shelf_of(catalogue).get("bad", ignore)
    assert caught.value.code == Code.MODEL_WEIGHTS_UNAVAILABLE
    said = Said()
    engine_of(catalogue, blobs).handle(DescribeModels(), said)
    described = said.last(ModelsDescribed)
    offers = {one.name: one for one in described.models}
    assert "bad" not in offers
    assert offers["good"].sources == ("drums", "bass", "other", "vocals")
    assert offers["good"].ready
    assert not offers["htdemucs"].ready


def test_a_plan_says_how_the_track_is_cut(catalogue: Catalogue, blobs: BlockingBlobs) -> None:
    plan = prepared(engine_of(catalogue, blobs), "tiny", "instrumental", "bass")
    assert (plan.model, plan.frames) == ("tiny", 100_000)
    assert plan.passes == (Pass(members=(0,), segment=33075, stride=24806),)
    assert plan.chunk_frames == 4 * 24806
    assert (plan.precision, plan.shifts) == (Precision.EXACT, 0)
    assert plan.computed == ("bass", "vocals")
    assert plan.stems == ("instrumental", "bass")


def test_auto_without_weights_and_network_is_dsp(
    catalogue: Catalogue, blobs: BlockingBlobs
) -> None:
    plan = prepared(engine_of(catalogue, blobs), "auto")
    assert plan.model == "dsp"
    assert plan.stems == ("vocals", "instrumental")
    assert plan.computed == ("vocals",)


@pytest.mark.parametrize(
    ("model", "stem", "kind", "code"),
    [
        ("auto", "drums", RetryableError, Code.MODEL_WEIGHTS_UNAVAILABLE),
        ("auto", "kazoo", TerminalError, Code.MODEL_NO_SUCH_STEM),
        ("htdemucs", "vocals", TerminalError, Code.MODEL_WEIGHTS_UNAVAILABLE),
        ("htdemucs", "guitar", TerminalError, Code.MODEL_NO_SUCH_STEM),
        ("tiny", "guitar", TerminalError, Code.MODEL_NO_SUCH_STEM),
        ("nonesuch", "vocals", TerminalError, Code.MODEL_UNKNOWN),
    ],
)
def test_what_can_not_be_had_is_said(
    model: str,
    stem: str,
    kind: type[StembusError],
    code: Code,
    catalogue: Catalogue,
    blobs: BlockingBlobs,
) -> None:
    with pytest.raises(kind) as caught:
        prepared(engine_of(catalogue, blobs), model, stem)
    assert code == caught.value.code
