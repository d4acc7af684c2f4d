"""Getting published weights onto this disk: is there a way, and how far is the download."""

from __future__ import annotations

import hashlib
import math
import os
import threading
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from services.separator.catalogue import Catalogue, Found, Place, hub_repository, read_bag
from services.separator.messages import Progressed
from shared.contracts.live import Activity
from shared.errors import Code, RetryableError, TerminalError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Report = Callable[[Progressed], None]

HUB_ADDRESS: Final = "https://huggingface.co"
#: demucs.pretrained.ROOT_URL: where the packages were before they moved to the hub.
TORCH_ADDRESS: Final = "https://dl.fbaipublicfiles.com/demucs/"
#: Both addresses are asked at once and have this long to answer, name look-up included.
PROBE_SECONDS: Final = 3.5
#: How long a "no" is remembered.
MEMORY_SECONDS: Final = 180.0
#: Longest silence of a server in the middle of a download.
STALL_SECONDS: Final = 30.0
_PIECE_BYTES: Final = 1 << 18
_MEGABYTE: Final = 1e6


class _Hosts(NamedTuple):
    """Which of the two hosts hand a model out."""

    hub: bool
    old: bool


class Weights:
    """Fetches what the catalogue doesn't find on disk: from the hub, else from demucs's old host.

    What is fetched lies in the same caches that demucs itself uses.
    """

    def __init__(
        self,
        *,
        catalogue: Catalogue,
        allowed: bool,
        clock: Callable[[], float],
        hub_address: str = HUB_ADDRESS,
        torch_address: str = TORCH_ADDRESS,
    ) -> None:
        self._catalogue = catalogue
        self._allowed = allowed
        self._clock = clock
        self._hub_address = hub_address
        self._torch_address = torch_address
        self._refused: dict[str, float] = {}
        #: Until when nobody is asked, because neither host has answered at all.
        self._silent = -math.inf

    def fetchable(self, found: Found) -> bool:
        """Whether the network has it; answers within PROBE_SECONDS, and remembers a no."""
        return any(self._hosts_with(found.name))

    def fetch(self, found: Found, report: Report) -> Found:
        """Download a published model's weights; where they are then.

        ``model.weights_unavailable`` if neither host hands them out.
        """
        if not self._allowed:
            detail = f"{found.name} is not on this disk and STEMBUS_FETCH_WEIGHTS is off"
            raise TerminalError(Code.MODEL_WEIGHTS_UNAVAILABLE, detail)
        hosts = self._hosts_with(found.name)
        if not any(hosts):
            raise self._unavailable(found.name, "it can't be fetched at the moment")
        try:
            self._fetch_from(hosts, found.name, report)
        except (OSError, ValueError) as exc:
            self._refuse(found.name)
            raise self._unavailable(found.name, f"{type(exc).__name__}: {exc}"[:200]) from exc
        again = self._catalogue.find(found.name)
        if again.place is Place.REMOTE:
            raise self._unavailable(found.name, "what was downloaded is not complete")
        return again

    def _hosts_with(self, name: str) -> _Hosts:
        if not self._allowed or self._wait_of(name) > 0:
            return _Hosts(hub=False, old=False)
        hub = f"{self._hub_address}/{hub_repository(name)}/resolve/main/{name}.yaml"
        old = self._torch_address + self._catalogue.torch_files(name)[0]
        answers = _answers((hub, old), self._clock)
        if not any(answers):
            self._refuse(name)
        if not any(answer is not None for answer in answers):
            # No network: the next model is not worth another PROBE_SECONDS.
            self._silent = self._clock() + MEMORY_SECONDS
        return _Hosts(*(bool(answer) for answer in answers))

    def _fetch_from(self, hosts: _Hosts, name: str, report: Report) -> None:
        if hosts.hub:
            try:
                self._fetch_from_hub(name, report)
            except Exception as exc:
                # huggingface_hub has no one base class for its failures.
                if not hosts.old:
                    raise OSError(str(exc)) from exc
            else:
                return
        self._fetch_for_torch(name, report)

    def _unavailable(self, name: str, why: str) -> RetryableError:
        wait = max(self._wait_of(name), 1.0)
        detail = f"{name}: {why}"
        return RetryableError(Code.MODEL_WEIGHTS_UNAVAILABLE, detail, retry_after=wait)

    def _refuse(self, name: str) -> None:
        self._refused[name] = self._clock() + MEMORY_SECONDS

    def _wait_of(self, name: str) -> float:
        return max(self._refused.get(name, -math.inf), self._silent) - self._clock()

    def _fetch_from_hub(self, name: str, report: Report) -> None:
        from huggingface_hub import hf_hub_download  # noqa: PLC0415 - takes a second to import; needed once in an engine's life

        def get(file: str, bar: type[_Bar]) -> Path:
            return Path(
                hf_hub_download(
                    hub_repository(name),
                    file,
                    cache_dir=self._catalogue.hub_cache,
                    endpoint=self._hub_address,
                    tqdm_class=bar,
                )
            )

        meter = _Meter(report)
        bag = read_bag(get(f"{name}.yaml", meter.bar()))
        for index, signature in enumerate(bag.models):
            meter.begin_file(index, len(bag.models))
            get(f"{signature}.safetensors", meter.bar())

    def _fetch_for_torch(self, name: str, report: Report) -> None:
        meter = _Meter(report)
        folder = self._catalogue.torch_hub / "checkpoints"
        folder.mkdir(parents=True, exist_ok=True)
        files = self._catalogue.torch_files(name)
        for index, file in enumerate(files):
            meter.begin_file(index, len(files))
            target = folder / Path(file).name
            if not target.exists():
                _download(self._torch_address + file, target, meter)


def _download(address: str, target: Path, meter: _Meter) -> None:
    """Fetch a package whose name ends in the first digits of its SHA-256; all of it or nothing."""
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    digest = hashlib.sha256()
    try:
        with _open(address, STALL_SECONDS) as answer, partial.open("wb") as file:
            meter.total = int(answer.headers.get("Content-Length") or 0)
            while piece := answer.read(_PIECE_BYTES):
                file.write(piece)
                digest.update(piece)
                meter.add(len(piece))
        if not digest.hexdigest().startswith(target.stem.rsplit("-", 1)[-1]):
            message = f"{target.name}: the checksum is wrong"
            raise ValueError(message)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


class _Meter:
    """Turns the bytes of one file after the other into one fraction."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._index = 0
        self._files = 1
        self._shown = -1
        self.total = 0
        self.done = 0

    def begin_file(self, index: int, files: int) -> None:
        """The bytes that follow are of file ``index`` of ``files``."""
        self._index, self._files, self.total, self.done, self._shown = index, files, 0, 0, -1

    def add(self, count: float) -> None:
        """``count`` bytes more have come."""
        self.done += int(count)
        known = self.done if not self.total else min(self.done, self.total)
        if (shown := int(known // _MEGABYTE)) == self._shown:
            return
        self._shown = shown
        fraction = (self._index + known / self.total) / self._files if self.total else None
        of = f" of {self.total / _MEGABYTE:.1f}" if self.total else ""
        several = f" (file {self._index + 1} of {self._files})" if self._files > 1 else ""
        note = f"{known / _MEGABYTE:.1f}{of} MB{several}"
        self._report(Progressed(activity=Activity.FETCHING_WEIGHTS, fraction=fraction, note=note))

    def bar(self) -> type[_Bar]:
        """A progress bar class for huggingface_hub that feeds this meter."""
        meter = self

        class Bar(_Bar):
            def __init__(self, total: int | None = None, initial: int = 0, **_: object) -> None:
                meter.total = total or 0
                meter.done = initial

            def update(self, n: float | None = 1) -> None:
                meter.add(n or 0)

        return Bar


class _Bar:
    """As much of a tqdm as ``huggingface_hub.file_download`` uses."""

    def update(self, n: float | None = 1) -> None:
        """``n`` bytes have come."""

    def close(self) -> None:
        """Nothing is left to do."""

    def refresh(self) -> None:
        """Nothing is drawn."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


def _open(address: str, seconds: float, method: str = "GET") -> Any:  # noqa: ANN401 - urllib's own answer type is not public
    request = urllib.request.Request(address, method=method)  # noqa: S310 - the address is a constant's or the operator's
    return urllib.request.urlopen(request, timeout=seconds)  # noqa: S310 - likewise


def _answers(addresses: Iterable[str], clock: Callable[[], float]) -> tuple[bool | None, ...]:
    """Which addresses hand something out, all asked at once; None where nobody answers.

    In threads, because a name look-up heeds no time-out; one that hangs is left behind.
    """
    answers: dict[str, bool] = {}

    def ask(address: str) -> None:
        try:
            with _open(address, PROBE_SECONDS, "HEAD") as answer:
                answers[address] = answer.status == HTTPStatus.OK
        except urllib.error.HTTPError:
            answers[address] = False
        except (OSError, ValueError):
            return

    asked = tuple(addresses)
    threads = [threading.Thread(target=ask, args=(one,), daemon=True) for one in asked]
    for thread in threads:
        thread.start()
    deadline = clock() + PROBE_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - clock()))
    return tuple(answers.get(one) for one in asked)
