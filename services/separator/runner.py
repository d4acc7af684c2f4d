"""The one thread that computes: batches of windows through the model, as long as there are any.

Everything else (loading, adding up, storing) happens in the threads of the requests, so the
device waits for none of them.
"""

from __future__ import annotations

import queue
import threading
from collections import OrderedDict
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
import torch

from services.separator.batching import Kind, choose
from services.separator.batchsize import BatchSize, Found, measured
from services.separator.devices import CPU, free_cache, out_of_memory, placed, works
from services.separator.precision import arithmetic
from services.separator.windows import Run
from shared.contracts.audio import Precision
from shared.errors import Code, RetryableError, StembusError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from services.separator.batchsize import SizeBook
    from services.separator.models import LoadedModel, Member

    Samples = NDArray[np.float32]

#: Outputs for silence that are kept, the last used ones: one for each network of a bag and each
#: song that is being worked on, about 11 MB each.
SILENCES: Final = 8
#: Seconds without work after which memory that is kept for more of it is given back.
IDLE_SECONDS: Final = 5.0
#: How often a chunk that waits looks whether it is still wanted.
LOOK_SECONDS: Final = 0.2


class Outcome(NamedTuple):
    """What came of a window: (all sources, channels, frames)."""

    run: Run
    output: Samples


class Ticket:
    """A chunk's place in the queue: its windows go in, their outputs come out, in order."""

    def __init__(self, model: LoadedModel, runs: Sequence[Run], device: torch.device) -> None:
        self.model = model
        self.runs = runs
        #: Where it runs: the CPU, once the device had no room for a single window.
        self.device = device
        self._kinds = [run.kind for run in runs]
        self._delivered = 0
        #: Cleared while one of its windows is being computed.
        self.rests = threading.Event()
        self.rests.set()
        self._called_off = False
        self._outcomes: queue.SimpleQueue[Outcome | StembusError] = queue.SimpleQueue()

    @property
    def waiting(self) -> list[Kind]:
        """What it still wants, in order; nothing once it was called off."""
        return [] if self._called_off else self._kinds[self._delivered :]

    def leave(self) -> None:
        """Nobody wants it any more; returns when none of its windows is being computed.

        What is, goes on until it is done, or the process is killed.
        """
        self.call_off()
        self.rests.wait()

    def call_off(self) -> None:
        """Compute nothing more of it."""
        self._called_off = True

    def next(self, count: int) -> Sequence[Run]:
        """The windows that are to be run next."""
        return self.runs[self._delivered : self._delivered + count]

    def deliver(self, outcome: Outcome | StembusError) -> None:
        """The next window is done, or all have failed."""
        self._delivered += 1
        self._outcomes.put(outcome)

    def outcomes(
        self, called_off: Callable[[], bool], waits: Callable[[], None] = lambda: None
    ) -> Iterator[Outcome]:
        """Each window's output as it comes; raises what went wrong.

        Ends early when it is ``called_off``, which is looked at every LOOK_SECONDS; ``waits`` is
        called as often.  Who has had enough leaves it.
        """
        for _ in self.runs:
            while True:
                if called_off():
                    return
                with suppress(queue.Empty):
                    outcome = self._outcomes.get(timeout=LOOK_SECONDS)
                    break
                waits()
            if isinstance(outcome, StembusError):
                raise outcome
            yield outcome


class Runner:
    """Takes tickets from any thread, computes in the one that calls ``loop``."""

    def __init__(
        self,
        *,
        device: torch.device,
        batch_windows: int,
        book: SizeBook,
        clock: Callable[[], float],
    ) -> None:
        self._device = device
        #: 0: measured on each device but the CPU, which gains nothing from larger batches.
        self._batch_windows = batch_windows or (1 if device == CPU else 0)
        self._book = book
        self._clock = clock
        self._tickets: list[Ticket] = []
        self._changed = threading.Condition()
        self._sizes: dict[tuple[str, str], BatchSize] = {}
        self._silences: OrderedDict[tuple[Kind, bytes], Samples] = OrderedDict()
        #: Batches that were computed, whoever's: as long as it grows, waiting makes sense.
        self.batches = 0

    def submit(self, ticket: Ticket) -> None:
        """Get in line."""
        with self._changed:
            self._tickets.append(ticket)
            self._changed.notify()

    def loop(self) -> None:
        """Compute for ever."""
        while True:
            if not self._waited(IDLE_SECONDS):
                free_cache()
                self._waited(None)
            self.step()

    def _waited(self, seconds: float | None) -> bool:
        """Wait until there is something to do; whether there is, after so many seconds at most."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._waiting()), seconds)

    def step(self) -> bool:
        """Compute the next batch, if there is anything to do."""
        with self._changed:
            tickets = self._waiting()
        if not tickets:
            return False
        first = tickets[0]
        together = [one for one in tickets if one.device == first.device]
        error = self._tried(together)
        if error is not None and len(together) > 1:
            # One of several chunks is to blame: the oldest, if it fails alone, too.
            error = self._tried([first])
        if error is not None:
            first.call_off()
            first.deliver(error)
        return True

    def _tried(self, tickets: list[Ticket]) -> StembusError | None:
        """Compute a batch; what went wrong."""
        try:
            self._batch(tickets)
        except StembusError as exc:
            return exc
        except Exception as exc:  # a model's own bug ends its chunk, not the engine
            if not works(tickets[0].device):
                # Nor would it do anything else: this process ends, and the next has another.
                raise
            detail = f"{tickets[0].model.name}: {type(exc).__name__}: {exc}"[:300]
            return RetryableError(Code.WORKER_CRASHED, detail)
        return None

    def _waiting(self) -> list[Ticket]:
        self._tickets = [ticket for ticket in self._tickets if ticket.waiting]
        return list(self._tickets)

    def _batch(self, tickets: list[Ticket]) -> None:
        head = tickets[0]
        for one in tickets:
            self._answer_known_silence(one)
        # Looked at once: tickets are called off at any moment, also while a size is measured.
        waiting = [self._up_to_silence(one) for one in tickets]
        if not waiting[0]:
            return
        kind = waiting[0][0]
        member = head.model.members[kind.member]
        if not placed(member.module, head.device):
            self._leave(head, member)
        size = self._size(head, kind)
        chosen = [
            (tickets[share.queue], run)
            for share in choose(waiting, size.size)
            for run in tickets[share.queue].next(share.windows)
        ]
        inputs = np.stack([run.given for _, run in chosen])
        with _at_work({ticket for ticket, _ in chosen}):
            if not all(ticket.waiting for ticket, _ in chosen):
                return  # one was left meanwhile, and whoever left it does not wait for this
            outputs = self._computed(member, inputs, kind, head.device)
        if outputs is None:
            self._no_room(head, member, size, len(inputs))
            return  # again, with less
        size.fitted(len(inputs))
        self.batches += 1
        for (ticket, run), output in zip(chosen, outputs, strict=True):
            self._remember_silence(run, output)
            ticket.deliver(Outcome(run, output))

    def _computed(
        self, member: Member, inputs: Samples, kind: Kind, device: torch.device
    ) -> Samples | None:
        """(windows, all sources, channels, frames); None if there was no room."""
        try:
            with arithmetic(kind.precision, device):
                output = member.module(torch.from_numpy(inputs).to(device)).float()
                # On the device: it has what is to be looked through.
                bad: NDArray[np.bool_] = ~output.isfinite().flatten(1).all(1).cpu().numpy()
                made: Samples = output.cpu().numpy()
            if kind.precision is Precision.EXACT or not bad.any():
                return made
            # Half the bits may not hold what a loud song comes to: then it takes all of them.
            exact = kind._replace(precision=Precision.EXACT)
            again = self._computed(member, inputs[bad], exact, device)
            if again is not None:
                made[bad] = again
                return made
        except RuntimeError as exc:
            if not out_of_memory(exc):
                raise
        except MemoryError:
            pass
        # Not in the handler: there the traceback still holds what has to be let go of.
        free_cache()
        return None

    def _no_room(self, ticket: Ticket, member: Member, size: BatchSize, windows: int) -> None:
        if windows > 1:
            size.did_not_fit(windows)
        elif ticket.device == CPU:
            detail = f"one window of {ticket.model.name} does not fit on {ticket.device}"
            raise RetryableError(Code.WORKER_OUT_OF_MEMORY, detail)
        else:
            self._leave(ticket, member)

    def _leave(self, ticket: Ticket, member: Member) -> None:
        """A chunk goes on without the device; what lies there makes room for whoever uses it."""
        print(f"no room on {ticket.device}: the chunk goes on on the CPU", flush=True)  # noqa: T201 - a child's log is its output
        ticket.device = CPU
        member.module.to(CPU)
        free_cache()

    def _size(self, ticket: Ticket, kind: Kind) -> BatchSize:
        key = (f"{kind.digest}/{kind.precision}", str(ticket.device))
        if key not in self._sizes:
            found = Found(1 if ticket.device == CPU else self._batch_windows)
            if ticket.device == self._device:
                chosen = self._batch_windows
                found = Found(chosen) if chosen else self._measured(ticket, kind, key[0])
            self._sizes[key] = BatchSize(found)
        return self._sizes[key]

    def _measured(self, ticket: Ticket, kind: Kind, model: str) -> Found:
        known = self._book.get(model)
        if known is not None:
            return known
        member = ticket.model.members[kind.member]
        given = ticket.next(1)[0].given

        def run(windows: int) -> bool:
            batch = np.repeat(given[None], windows, axis=0)
            return self._computed(member, batch, kind, ticket.device) is not None

        with _at_work({ticket}):
            found = measured(run, self._clock)
        said = f"{ticket.model.name} on {ticket.device}: {found.windows} windows at once"
        print(said, flush=True)  # noqa: T201 - likewise
        self._book.put(model, found)
        return found

    def _answer_known_silence(self, ticket: Ticket) -> None:
        """Answer the windows of silence that it wants next with what came of others alike."""
        while ticket.waiting:
            (run,) = ticket.next(1)
            if run.silence is None or (run.kind, run.silence) not in self._silences:
                return
            self._silences.move_to_end((run.kind, run.silence))
            ticket.deliver(Outcome(run, self._silences[run.kind, run.silence]))

    def _up_to_silence(self, ticket: Ticket) -> list[Kind]:
        """What it wants next, up to silence that is known, or will be when it is computed."""
        waiting = ticket.waiting
        for place, run in enumerate(ticket.next(len(waiting))):
            if run.silence is not None:
                return waiting[: place + ((run.kind, run.silence) not in self._silences)]
        return waiting

    def _remember_silence(self, run: Run, output: Samples) -> None:
        if run.silence is None:
            return
        self._silences[run.kind, run.silence] = output.copy()
        while len(self._silences) > SILENCES:
            self._silences.popitem(last=False)


@contextmanager
def _at_work(tickets: set[Ticket]) -> Iterator[None]:
    for ticket in tickets:
        ticket.rests.clear()
    try:
        yield
    finally:
        for ticket in tickets:
            ticket.rests.set()
