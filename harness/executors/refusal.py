"""What SLURM means when ``sbatch`` takes nothing: a table of the words that it prints."""

from __future__ import annotations

import re
from enum import StrEnum


class Refusal(StrEnum):
    """Why ``sbatch`` took nothing; the value is what it means for those who wait.

    ``Job violates accounting/QOS policy`` decides nothing: SLURM says so of every limit, whether a job breaks it for
    ever or the queue is full for a moment. The name of the limit, in a line before, does.
    """

    NEVER = "the cluster will not take this"
    FULL = "the queue takes no more"
    TOO_LONG = "the array is too long"
    BUSY = "SLURM does not answer"
    UNKNOWN = "unknown"

    @classmethod
    def of(cls, message: str) -> Refusal:
        """What the first words of the table that are in a message mean."""
        return next((meaning for pattern, meaning in _TABLE if pattern.search(message)), cls.UNKNOWN)


_TABLE = tuple(
    (re.compile(pattern), meaning)
    for meaning, *patterns in (
        # Names of limits, as squeue shows them too. How many jobs there are passes, how large one is does not.
        (Refusal.FULL, r"\b(QOS|Assoc)?(Max|Grp)(Submit)?Jobs?(Limit|Per)", r"\b(QOS|Association)JobLimit"),
        (Refusal.BUSY, r"\bPartition(Down|Inactive)\b"),
        (
            Refusal.NEVER,
            r"\b(QOS|Assoc)(Max|Min|Grp)[A-Z]",
            r"\b(QOS|Association)(Resource|Time)Limit",
            r"\bMax[A-Z]\w+Per(Account|Job|Limit|Node|User)\b",
            r"\bPartition(Node|Time)Limit|\bPartition(Min|Max)Nodes|\bPartitionConfig",
            r"\bInvalid(Account|QOS)\b|\bQOSNotAllowed|\bBadConstraints",
        ),
        # Sentences of slurm_strerror, which newer versions share.
        (Refusal.TOO_LONG, r"Invalid job array specification"),
        (
            Refusal.BUSY,
            r"[Uu]nable to contact slurm|standby mode|[Tt]imed out|Communication \w+ failure|Zero Bytes were",
            r"temporarily|[Tt]ry again|[Rr]ate limit|submissions disabled|presently disabled|slurm_load_",
            r"not available now|not available \((down|inactive)",
        ),
        (
            Refusal.NEVER,
            r"[Ii]nvalid [\w/ '()-]+ (specified|specification)|specification invalid|reservation is invalid",
            r"[Tt]ime limit (is invalid|specification required)|No partition specified",
            r"not (in|permitted to use) this partition|requested than permitted|[Pp]ermission denied|Access denied",
            r"configuration is not available|can not be satisfied|Memory required by task|more tasks than available",
            r"breached requested QOS|not supported on this system|parameter too long",
        ),
        # What sbatch itself finds before it asks.
        (
            Refusal.NEVER,
            r"[Ii]nvalid (--|partition|number|numeric|option|argument|directive|count|generic)",
            r"unrecognized option|requires an argument|is not a valid|[Bb]atch script is empty",
        ),
    )
    for pattern in patterns
)
