"""Loading models: the one file that knows demucs's loaders."""

from __future__ import annotations

import inspect
import threading
import warnings
from collections import OrderedDict
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import demucs.apply
import demucs.hf
import demucs.pretrained
import demucs.repo
import torch
from demucs.demucs import Demucs
from demucs.hdemucs import HDemucs
from demucs.htdemucs import HTDemucs
from safetensors import SafetensorError, safe_open
from torch import nn

from services.separator.catalogue import Catalogue, Found, Place, read_bag
from services.separator.devices import free_cache, placed
from services.separator.digest import digest_of
from services.separator.dsp import Dsp
from services.separator.messages import Progressed
from services.separator.networks import rewrite
from services.separator.precision import laid_out
from services.separator.waveform import MIX
from shared.contracts.audio import CHANNELS, SAMPLE_RATE
from shared.contracts.live import Activity
from shared.contracts.subjects import TOKEN
from shared.errors import Code, RetryableError, TerminalError
from shared.separation.windows import window_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.separator.weights import Weights

    Report = Callable[[Progressed], None]


#: What the published weights are of; a file of weights may name no other class.
NETWORKS: Final = frozenset(
    f"{kind.__module__}.{kind.__qualname__}" for kind in (Demucs, HDemucs, HTDemucs)
)
#: How often who waits for another that loads the same model says that it lives.
TELL_SECONDS: Final = 5.0
#: Seconds of a window of a network that takes any: the default of demucs's own.
ANY_SECONDS: Final = 10.0


class Member(NamedTuple):
    """One network of a bag; a single model is a bag of one."""

    module: nn.Module
    #: Its share in each source, in the model's order; over all members they add up to 1.
    shares: tuple[float, ...]
    #: Window length in frames.
    segment: int

    def valid_length(self, frames: int) -> int:
        """How many frames it wants to be given for a window of ``frames`` (as apply_model)."""
        wanted = getattr(self.module, "valid_length", None)
        return frames if wanted is None else int(wanted(frames))


class LoadedModel(NamedTuple):
    """A model in memory, in evaluation mode; on its device, or on the CPU for want of room."""

    name: str
    #: Hash of its weights, classes and geometry.
    digest: str
    sources: tuple[str, ...]
    members: tuple[Member, ...]
    #: Of weights and buffers.
    bytes: int = 0

    @property
    def segments(self) -> tuple[int, ...]:
        """The window lengths of all members in frames."""
        return tuple(member.segment for member in self.members)

    def needed(self, computed: tuple[str, ...]) -> tuple[int, ...]:
        """Places of the members that have a share in one of these sources; others need not run."""
        wanted = [self.sources.index(source) for source in computed]
        return tuple(
            place
            for place, member in enumerate(self.members)
            if any(member.shares[index] for index in wanted)
        )


class ModelShelf:
    """Loaded models, the last used ones kept warm as far as memory goes; for many threads."""

    def __init__(
        self, *, catalogue: Catalogue, weights: Weights, device: torch.device, budget: int
    ) -> None:
        self._catalogue = catalogue
        self._weights = weights
        self._device = device
        self._budget = budget
        self._sources: dict[Found, tuple[str, ...]] = {}
        self._digests: dict[Found, str] = {}
        self._loaded: OrderedDict[Found, LoadedModel] = OrderedDict()
        #: Guards what is loaded, and is never held while a file is read.
        self._lock = threading.RLock()
        #: Who loads a model of this name; others that want it wait.
        self._loading: dict[str, threading.Lock] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the models that are in memory, the last used one last."""
        with self._lock:
            return tuple(found.name for found in self._loaded)

    def get(self, name: str, report: Report) -> LoadedModel:
        """A model by its listed name, fetched and loaded if need be; others go on meanwhile."""
        found = self._catalogue.find(name)
        if (loaded := self._used(found)) is not None:
            return loaded
        with self._lock:
            turn = self._loading.setdefault(name, threading.Lock())
        while not turn.acquire(timeout=TELL_SECONDS):
            report(Progressed(activity=Activity.LOADING_MODEL, note=name))
        try:
            found = self._catalogue.find(name)
            return self._used(found) or self._fresh(found, report)
        finally:
            turn.release()

    def _used(self, found: Found) -> LoadedModel | None:
        """A model that is in memory: it is the last used one now."""
        with self._lock:
            if (loaded := self._loaded.get(found)) is not None:
                self._loaded.move_to_end(found)
            return loaded

    def _fresh(self, found: Found, report: Report) -> LoadedModel:
        """A model from its files."""
        if not found.ready:
            found = self._weights.fetch(found, report)
        report(Progressed(activity=Activity.LOADING_MODEL, note=found.name))
        with _translated(found.name):
            loaded = _examined(found.name, self._load(found))
        self._make_room(loaded.bytes)
        for member in loaded.members:
            rewrite(member.module, self._device)
            # Where the device has no room now, each chunk looks whether it has.
            placed(member.module, self._device)
            laid_out(member.module, self._device)
        with self._lock:
            # Another may have been loaded meanwhile.
            self._make_room(loaded.bytes)
            self._loaded[found] = loaded
            self._digests[found] = loaded.digest
        return loaded

    def digest_of(self, found: Found) -> str:
        """A model's digest, if it has been loaded since its files last changed; else empty."""
        return self._digests.get(found, "")

    def _make_room(self, wanted: int) -> None:
        """Let go of the least recently used models until ``wanted`` bytes fit the budget.

        Whoever is at work with one keeps it until its chunk is done.
        """
        with self._lock:
            while self._loaded and wanted + sum(one.bytes for one in self._loaded.values()) > (
                self._budget
            ):
                self._loaded.popitem(last=False)
                free_cache()

    def sources_of(self, found: Found) -> tuple[str, ...]:
        """A model's sources, without loading its weights."""
        known = self._catalogue.known_sources(found) or self._sources.get(found)
        if known is None:
            with _translated(found.name):
                known = self._read_sources(found.name)
            _check_names(found.name, known)
            self._sources[found] = known
        return known

    def _load(self, found: Found) -> nn.Module:
        """The module, by demucs's own loaders."""
        match found.place:
            case Place.BUILT_IN:
                return Dsp()
            case Place.LOCAL:
                module = demucs.pretrained.get_model(found.name, repo=self._catalogue.models_dir)
            case Place.LOCAL_FILES:
                packages = demucs.repo.LocalRepo(self._catalogue.models_dir)
                module = _published(found.name, packages)
            case Place.TORCH_CACHE:
                torch.hub.set_dir(self._catalogue.torch_hub)
                root = demucs.pretrained.REMOTE_ROOT / "files.txt"
                remote = demucs.pretrained._parse_remote_files(root)  # noqa: SLF001 - demucs has no public name for its list
                module = _published(found.name, demucs.repo.RemoteRepo(remote))
            case _:
                folder = self._catalogue.hub_snapshot(found.name)
                if folder is None:
                    raise RetryableError(Code.MODEL_WEIGHTS_UNAVAILABLE, found.name)
                module = _from_hub_snapshot(folder, found.name)
        if not isinstance(module, nn.Module):
            raise TypeError("its file holds no model")
        return module

    def _read_sources(self, name: str) -> tuple[str, ...]:
        folder = self._catalogue.models_dir
        if folder is None:  # pragma: no cover - only a local model's file has to be opened
            raise TerminalError(Code.MODEL_UNKNOWN, name)
        bag = folder / f"{name}.yaml"
        packages = demucs.repo.LocalRepo(folder).list_model()
        if name not in packages and bag.is_file():
            name = read_bag(bag).models[0]
        package = _open_package(Path(packages[name]))
        bound = inspect.signature(package["klass"]).bind_partial(
            *package["args"], **package["kwargs"]
        )
        return tuple(str(source) for source in bound.arguments["sources"])


def _published(name: str, packages: Any) -> nn.Module:  # noqa: ANN401 - demucs ships no types
    bags = demucs.repo.BagOnlyRepo(demucs.pretrained.REMOTE_ROOT, packages)
    module: nn.Module = bags.get_model(name)
    return module


def _from_hub_snapshot(folder: Path, name: str) -> nn.Module:
    """As ``demucs.hf.get_hf_model``, from files that are here: it would ask the network again."""
    bag = read_bag(folder / f"{name}.yaml")
    files = [folder / f"{signature}.safetensors" for signature in bag.models]
    for file in files:
        _check_class(file)
    modules = [demucs.hf.load_safetensors_model(file) for file in files]
    made: nn.Module = demucs.apply.BagOfModels(modules, bag.weights, bag.segment)
    return made


def _check_class(file: Path) -> None:
    """A file of weights names the class that is called with what else it says: one of demucs's."""
    with safe_open(file, framework="pt") as opened:
        named = str((opened.metadata() or {}).get("klass", ""))
    if named not in NETWORKS:
        raise TypeError(f"its class is {named[:40]!r}, none of demucs's")


def _open_package(path: Path) -> dict[str, Any]:
    """A package with its tensors left on disk where its format allows it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pickled classes of older torch versions warn
        package: dict[str, Any] = torch.load(path, "cpu", weights_only=False, mmap=_is_zip(path))
    return package


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


@contextmanager
def _translated(name: str) -> Iterator[None]:
    """What demucs raises while loading, as ours; it even exits where a folder is missing."""
    try:
        yield
    except (demucs.repo.ModelLoadingError, ImportError, SystemExit) as exc:
        raise TerminalError(Code.MODEL_WEIGHTS_UNAVAILABLE, f"{name}: {exc}"[:300]) from exc
    except torch.OutOfMemoryError as exc:
        raise RetryableError(Code.WORKER_OUT_OF_MEMORY, f"{name} does not fit") from exc
    except (
        RuntimeError,
        SafetensorError,
        UnpicklingError,
        OSError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ) as exc:
        # What torch and pickle raise for a damaged file is any of these.
        if "can't allocate memory" in str(exc):
            raise RetryableError(Code.WORKER_OUT_OF_MEMORY, f"{name} does not fit") from exc
        detail = f"{name} can't be loaded: {type(exc).__name__}: {exc}"[:300]
        raise TerminalError(Code.MODEL_WEIGHTS_UNAVAILABLE, detail) from exc


def _examined(name: str, module: nn.Module) -> LoadedModel:
    """Check a module against what a track is, and take a bag apart."""
    # Any: attributes of a torch module have no types.
    whole: Any = module
    bag = isinstance(module, demucs.apply.BagOfModels)
    modules: list[Any] = list(whole.models) if bag else [whole]
    sources = tuple(str(source) for source in modules[0].sources)
    weights: list[list[float]] = whole.weights if bag else [[1.0] * len(sources)]
    for one in modules:
        if (one.samplerate, one.audio_channels) != (SAMPLE_RATE, CHANNELS):
            detail = f"{name} wants {one.samplerate} Hz and {one.audio_channels} channels"
            raise TerminalError(Code.MODEL_UNKNOWN, f"{detail}; tracks are 44100 Hz stereo")
    _check_names(name, sources)
    totals = [sum(column) for column in zip(*weights, strict=True)]
    if not all(totals):
        raise TerminalError(Code.MODEL_UNKNOWN, f"{name} has a source that no member makes")
    shares = [
        tuple(weight / total for weight, total in zip(row, totals, strict=True)) for row in weights
    ]
    members = tuple(
        Member(one.eval().requires_grad_(requires_grad=False), share, _segment(one))
        for one, share in zip(modules, shares, strict=True)
    )
    return LoadedModel(
        name=name,
        digest=digest_of(sources, members),
        sources=sources,
        members=members,
        bytes=sum(_bytes_of(member.module) for member in members),
    )


def _check_names(name: str, sources: tuple[str, ...]) -> None:
    """Stems are named after sources: in paths, addresses, and beside the song's own waveform."""
    for source in sources:
        if not TOKEN.match(source) or source == MIX:
            detail = f"{name} has a source that no stem can be named after: {source[:40]!r}"
            raise TerminalError(Code.MODEL_UNKNOWN, detail)


def _segment(module: Any) -> int:  # noqa: ANN401 - likewise
    """The length of a network's windows in frames; one that takes any length gets ten seconds."""
    seconds = getattr(module, "segment", None) or ANY_SECONDS
    return window_frames(seconds, SAMPLE_RATE)


def _bytes_of(module: nn.Module) -> int:
    tensors = (*module.parameters(), *module.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
