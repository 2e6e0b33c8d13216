"""What a refusal of sbatch means, in SLURM's own words, and what is offered after one."""

from __future__ import annotations

import pytest

from harness.executors.admission import LONGEST_WAIT, PATIENCE, TRIES, Admission, Verdict
from harness.executors.refusal import Refusal

POLICY = (
    "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy "
    "(job submit limit, user's size and/or time limits)"
)
"""SLURM 22.05 says this of every limit; the name of the limit is in a line before it."""


def failed(text: str) -> str:
    return f"sbatch: error: Batch job submission failed: {text}"


def limit(name: str) -> str:
    return f"sbatch: error: {name}; {POLICY}"


PERMANENT_LIMITS = [
    "QOSMaxWallDurationPerJobLimit", "QOSMaxCpuPerJobLimit", "QOSMaxGRESPerJob", "QOSMaxCpuPerUserLimit", "QOSMinGRES",
    "QOSMinCpuNotSatisfied", "QOSMaxMemoryPerNode", "QOSMaxNodePerJobLimit", "QOSGrpCpuLimit", "QOSTimeLimit",
    "AssocMaxWallDurationPerJobLimit", "AssocGrpCPUMinutesLimit", "AssocMaxMemPerJob", "AssociationTimeLimit",
    "MaxMemPerLimit", "MaxCpuPerAccount", "PartitionTimeLimit", "PartitionNodeLimit", "InvalidAccount", "InvalidQOS",
]  # fmt: skip
PASSING_LIMITS = [
    "QOSMaxSubmitJobPerUserLimit", "QOSGrpSubmitJobsLimit", "AssocMaxSubmitJobLimit", "AssocGrpSubmitJobsLimit",
    "MaxSubmitJobsPerAccount", "QOSMaxJobsPerUserLimit", "AssocMaxJobsLimit", "MaxJobsPerAccount", "QOSJobLimit",
]  # fmt: skip
PERMANENT = [
    "sbatch: error: invalid partition specified: nowhere; " + failed("Invalid partition name specified"),
    failed("Invalid account or account/partition combination specified"),
    failed("Invalid qos specification"),
    failed("Invalid feature specification"),
    failed("Invalid license specification"),
    failed("Invalid generic resource (gres) specification"),
    failed("Invalid node name specified"),
    failed("Requested time limit is invalid (missing or exceeds some limit)"),
    failed("Time limit specification required, but not provided"),
    failed("User's group not permitted to use this partition"),
    failed("Access/permission denied"),
    failed("Node count specification invalid"),
    failed("CPU count specification invalid"),
    failed("More processors requested than permitted"),
    failed("Requested reservation is invalid"),
    "sbatch: error: Memory specification can not be satisfied; "
    + failed("Requested node configuration is not available"),
    "sbatch: error: Invalid --mem specification",
    "sbatch: error: Invalid --time specification",
    'sbatch: error: Invalid numeric value "0" for --ntasks.',
    'sbatch: error: "a" is not a valid node count',
    "sbatch: unrecognized option '--foo=1'",
]
BUSY = [
    failed("Unable to contact slurm controller (connect failure)"),
    failed("Socket timed out on send/recv operation"),
    "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying.",
    failed("Resource temporarily unavailable"),
    failed("Slurm backup controller in standby mode"),
    failed("System submissions disabled"),
    failed("Required partition not available (inactive or drain)"),
    failed("Requested partition configuration not available now"),
]
UNKNOWN = [
    POLICY,
    failed("Unspecified error"),
    "sbatch: error: our site wants a project; " + failed("Unspecified error"),
]


@pytest.mark.parametrize(
    ("message", "meaning"),
    [
        *((limit(name), Refusal.NEVER) for name in PERMANENT_LIMITS),
        *((limit(name), Refusal.FULL) for name in PASSING_LIMITS),
        *((text, Refusal.NEVER) for text in PERMANENT),
        *((text, Refusal.BUSY) for text in BUSY),
        *((text, Refusal.UNKNOWN) for text in UNKNOWN),
        (failed("Invalid job array specification"), Refusal.TOO_LONG),
    ],
)
def test_the_words_decide_and_not_the_sentence_that_all_limits_share(message: str, meaning: Refusal) -> None:
    assert Refusal.of(message) is meaning


class Queue:
    """SLURM's queue with ``room`` jobs, and arrays of at most ``longest``."""

    def __init__(self, room: int, longest: int = 10**6) -> None:
        self.room, self.longest = room, longest
        self.calls: list[int] = []

    def offer(self, admission: Admission, left: int) -> int:
        """Offers what there is until told to stop; what is left."""
        while left and not admission.wait:
            some = min(admission.size, left)
            self.calls.append(some)
            if some <= min(self.room, self.longest):
                admission.taken()
                self.room, left = self.room - some, left - some
                continue
            refusal = Refusal.FULL if some > self.room else Refusal.TOO_LONG
            assert admission.refused(refusal, some, queued=True) is not Verdict.FAIL
        return left


@pytest.mark.parametrize("room", [0, 1, 3, 4, 100, 999])
def test_a_queue_is_filled_to_the_last_place_in_few_calls(room: int) -> None:
    queue = Queue(room)
    left = queue.offer(Admission(1000, 10), 1000)
    assert queue.room == 0 and left == 1000 - room
    assert len(queue.calls) <= 60


def test_an_array_that_is_too_long_for_the_cluster_is_never_offered_again() -> None:
    queue = Queue(10**6, longest=300)
    assert queue.offer(Admission(1000, 10), 5000) == 0
    assert [size for size in queue.calls if size > 300] == [1000, 500]


def test_pauses_grow_and_end_and_what_is_taken_shortens_them() -> None:
    now = 0.0
    admission = Admission(8, 10, clock=lambda: now)
    pauses, verdict = [], Verdict.FEWER
    while verdict is not Verdict.FAIL:
        verdict = admission.refused(Refusal.FULL, admission.size, queued=False)
        pauses += [admission.wait] if verdict is Verdict.LATER else []
        now += admission.wait
    assert pauses[:4] == [10, 20, 40, 80] and max(pauses) == LONGEST_WAIT
    assert PATIENCE <= now < PATIENCE + LONGEST_WAIT + 1
    admission.taken()
    assert admission.refused(Refusal.FULL, 1, queued=False) is Verdict.LATER and admission.wait == 10


def test_a_job_that_ends_makes_room_in_a_full_queue_and_answers_no_other_question() -> None:
    admission = Admission(1, 10)
    admission.refused(Refusal.FULL, 1, queued=True)
    admission.room()
    assert not admission.wait
    admission.refused(Refusal.UNKNOWN, 1, queued=True)
    admission.room()
    assert admission.wait


def test_while_jobs_of_the_suite_are_queued_a_full_queue_is_waited_for() -> None:
    now = 0.0
    admission = Admission(1, 10, clock=lambda: now)
    for _ in range(1000):
        assert admission.refused(Refusal.FULL, 1, queued=True) is Verdict.LATER
        now += admission.wait
    assert now > 2 * PATIENCE


def test_an_unknown_refusal_is_tried_three_times_with_one_job_alone() -> None:
    now = 0.0
    admission = Admission(4, 10, clock=lambda: now)
    offered = []
    verdict = Verdict.FEWER
    while verdict is not Verdict.FAIL:
        offered.append(admission.size)
        verdict = admission.refused(Refusal.UNKNOWN, admission.size, queued=True)
        now += admission.wait
    assert offered == [4, 2, *[1] * TRIES]


@pytest.mark.parametrize(("refusal", "size"), [(Refusal.NEVER, 100), (Refusal.NEVER, 1), (Refusal.TOO_LONG, 1)])
def test_what_cannot_change_fails_at_once(refusal: Refusal, size: int) -> None:
    assert Admission(100, 10).refused(refusal, size, queued=True) is Verdict.FAIL


def test_silence_is_no_reason_to_offer_fewer() -> None:
    admission = Admission(100, 10)
    assert admission.refused(Refusal.BUSY, 100, queued=False) is Verdict.LATER
    assert admission.size == 100 and admission.wait > 0 and admission.puzzled
