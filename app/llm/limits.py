"""How long, how often and how much."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """What one call may take before it is given up or cut off. Times are seconds."""

    connect: float = 10.0
    write: float = 30.0
    pool: float = 10.0
    first_byte: float = 180.0
    """From the request to the first content; an endpoint may read a long prompt, or serve others first."""
    between_chunks: float = 60.0
    """From one sign of life to the next."""
    without_content: float = 120.0
    """From one piece of content to the next, although there are signs of life."""

    attempts: int = 4
    backoff: float = 0.2
    """Before the second attempt; twice as long before each further one."""
    longest_backoff: float = 30.0
    refused_options: int = 5
    """Repetitions of one attempt without an option that the endpoint does not know."""
    learned: float = 24 * 3600.0
    """How long an endpoint is not asked again for what it refused."""

    whitespace: int = 400
    """Consecutive characters of white space after which nothing else is expected."""
    repetition_after: int = 2000
    """Characters before repetition is looked for."""
    repeated: int = 60
    """Last characters that are looked for."""
    repeated_within: int = 1200
    repeated_times: int = 12
    longest: int = 2_000_000
    """Characters of text and reasoning together."""
    longest_body: int = 64_000_000
    """Bytes of one answer, with all that surrounds its text."""
    longest_refusal: int = 65_536
    """Bytes that are read of an answer that is no success."""
    longest_listing: int = 4_000_000
    """Bytes of a list of models."""

    health: float = 10.0
    health_kept: float = 60.0
    jobs_until_open: int = 3
    """Failed jobs in a row after which the endpoint is left alone."""
    half_open: float = 60.0
    """How long until one call may find out whether it works again."""
