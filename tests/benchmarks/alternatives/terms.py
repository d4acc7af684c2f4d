"""What the alternatives store and what they promise, for people; checked in their own code."""

from __future__ import annotations

from typing import Final

CELERY: Final = (
    "It stores a message and a result for each task, its start, and each update over the last;"
    " what is stored counts pops and acknowledgements, too. acks_late and reject_on_worker_lost"
    " are on. By its design: a worker pops a message and notes it as unacknowledged in two"
    " commands, and what it held between them is lost when it is killed; the tasks of a machine"
    " that vanished come again after the visibility timeout, an hour by default, and a task that"
    " runs longer than that is run again beside itself; results go after a day. Nobody owns the"
    " job as a whole: no list of jobs, no cancel of a chain as one, no refusal of an old attempt."
)
CELERY_CHATTY: Final = (
    "The same, with eight stored updates in the other two steps as well: how a chain shows"
    " progress there. Stembus' ticks, which show it there, are not stored."
)
CELERY_CHUNKED: Final = (
    "The same, with a chord of eight tasks in the place of the one that separates: the nearest"
    " that Celery has to Stembus' chunks, each of which can be done again by itself."
)
TASKIQ: Final = (
    "It stores a message for each task, and each result and each update as an object (its bytes,"
    " its description, a purge of what was there before), on the same nats-server with the same"
    " sync. A task is acknowledged after its result is stored. By its design: nothing tells the"
    " broker that a task still runs, so one that takes longer than 30 s (ack_wait) is run again"
    " beside itself; where a result can't be stored the error is logged, the task acknowledged,"
    " and the pipeline stands still. Nobody owns the job as a whole: no list of jobs, no cancel,"
    " no refusal of an old attempt."
)
TASKIQ_CHATTY: Final = "The same, with eight stored updates in the other two steps as well."
