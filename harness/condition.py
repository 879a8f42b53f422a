"""Under what a cell runs, beside its load: what is asked of a style, and how it is to be done."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class PollWay:
    """How a style that polls does it; see clients.base.Poll."""

    policy: str
    interval_ms: float
    longest_ms: float

    @property
    def slug(self) -> str:
        """As a part of a cell's id."""
        length = self.longest_ms if self.policy == "long" else self.interval_ms
        return f"poll-{self.policy}-{length:g}ms"

    @property
    def words(self) -> str:
        """As a reader would say it."""
        match self.policy:
            case "long":
                return "long polls"
            case "backoff":
                return f"backoff {self.interval_ms:g} ms"
        return f"every {self.interval_ms:g} ms"


DURABILITY = {
    "A": "class A: nothing is promised",
    "B": "class B: one node has it, not flushed",
    "C": "class C: two of three nodes have it, not flushed",
    "D": "class D: two of three nodes have it on disk",
    "flushed": "one node has it on disk",
}
"""What an acknowledgement promises, in words. A to D are protos.broker.Durability; a service that
commits to PostgreSQL before it answers is none of these."""


@dataclass(frozen=True, slots=True)
class BrokerWay:
    """How a style that has a broker uses it; see protos.broker.BrokerAddress. The defaults are what
    a cell's name leaves out, but for its durability."""

    durability: str = "B"
    partitions: int = 4
    workers: int = 1
    """Processes that share the orders."""
    prefetch: int = 100
    commit: str = "batch"
    safe: bool = True
    linger_ms: float = 0.0
    batch_bytes: int = 16_384
    replies: str = "queue"

    @property
    def options(self) -> dict[str, Any]:
        """As options of an address."""
        return {name: value for name, value in asdict(self).items() if name != "workers"}

    @property
    def slugs(self) -> list[str]:
        """As parts of a cell's id."""
        return [f"class-{self.durability.lower()}"] + [slug for slug, _ in self._unusual().values()]

    @property
    def words(self) -> list[str]:
        """What is not as usual, as a reader would say it."""
        return [words for _, words in self._unusual().values()]

    def _unusual(self) -> dict[str, tuple[str, str]]:
        said = {
            "partitions": (f"partitions-{self.partitions}", counted(self.partitions, "partition")),
            "workers": (f"workers-{self.workers}", counted(self.workers, "worker")),
            "prefetch": (f"prefetch-{self.prefetch}", f"prefetch {self.prefetch}"),
            "commit": (f"commit-{self.commit}", f"commit {self.commit}"),
            "safe": ("unsafe", "unsafe producer"),
            "linger_ms": (f"linger-{self.linger_ms:g}ms", f"linger {self.linger_ms:g} ms"),
            "batch_bytes": (f"batch-{self.batch_bytes}", f"batches of {size(self.batch_bytes)}"),
            "replies": (f"replies-{self.replies}", f"{self.replies} replies"),
        }
        usual = asdict(BrokerWay())
        own = asdict(self)
        return {name: both for name, both in said.items() if own[name] != usual[name]}


@dataclass(frozen=True, slots=True)
class Condition:
    """The defaults are what a scenario leaves unsaid, and what a cell's name leaves out."""

    items: int | None = 3
    """Lines an order; None for orders of the user's own file."""
    attachment_bytes: int = 0
    work_time: str = "none"
    work_mean_ms: float = 0.0
    work_between: int = 0
    """So many orders with none to speak of come between two with that work."""
    queue: int = 0
    """Workers that take one order at a time each; 0: orders are worked on side by side."""
    sharp: bool = False
    """Whether the service does not sleep while orders are in line; see orders.alarm."""
    late: str = ""
    """How much later than due some of a queue's answers leave; see orders.line.latenesses."""
    stall_ms: float = 0.0
    """How much longer some of a queue's orders take; see orders.line.STALL_EVERY."""
    subscribers: int = 0
    stalled: int = 0
    cut_idle_s: float = 0.0
    """A gateway in between cuts connections that are idle for so long; 0: there is none."""

    codec: str = ""
    """Empty for the style's own."""
    tls: bool = False
    compression: bool = False
    kept: bool = True
    """Whether connections are used again."""
    poll: PollWay | None = None
    """None for styles that do not poll."""
    broker: BrokerWay | None = None
    """None for styles without one."""
    store: str = "memory"
    """Where a service keeps its orders: `memory`, or `postgres`, committed before it answers."""
    remember: str = "keys"
    """What a repeat is known by: `nothing`, idempotency `keys`, also the `requests`' ids, or those
    alone, in a `gateway` in front of a service that forgets; `redis`: as `requests`, in Redis."""

    @property
    def slugs(self) -> list[str]:
        """As parts of a cell's id."""
        parts = ["items-file" if self.items is None else f"items-{self.items}"]
        if self.attachment_bytes:
            parts.append(f"attachment-{self.attachment_bytes}")
        if self.work_time != "none":
            kind = "exp-" if self.work_time == "exponential" else ""
            parts.append(f"work-{kind}{self.work_mean_ms:g}ms")
        if self.work_between:
            parts.append(f"between-{self.work_between}")
        if self.queue:
            parts.append(f"queue-{self.queue}")
        if self.sharp:
            parts.append("sharp")
        if self.late:
            parts.append(f"late-{self.late.replace('%', 'pc').replace(',', '-')}")
        if self.stall_ms:
            parts.append(f"stall-{self.stall_ms:g}ms")
        if self.subscribers:
            parts.append(f"subscribers-{self.subscribers}")
        if self.stalled:
            parts.append(f"stalled-{self.stalled}")
        if self.codec:
            parts.append(self.codec)
        parts += [
            word
            for word, said in (
                ("tls", self.tls),
                ("compressed", self.compression),
                ("new-connections", not self.kept),
            )
            if said
        ]
        if self.poll is not None:
            parts.append(self.poll.slug)
        if self.broker is not None:
            parts += self.broker.slugs
        if self.store != "memory":
            parts.append(f"store-{self.store}")
        if self.cut_idle_s:
            parts.append(f"cut-idle-{self.cut_idle_s:g}s")
        if self.remember != "keys":
            parts.append(f"remember-{self.remember}")
        return parts

    @property
    def asked(self) -> list[str]:
        """What is asked of every style alike, in words; the first is the order's size."""
        parts = ["orders of the file" if self.items is None else counted(self.items, "item")]
        if self.attachment_bytes:
            parts.append(f"{size(self.attachment_bytes)} attached")
        if self.work_time != "none":
            kind = "mean " if self.work_time == "exponential" else ""
            some = f" for one of {self.work_between + 1}" if self.work_between else ""
            parts.append(f"{duration(self.work_mean_ms)} {kind}work{some}")
        if self.queue:
            never = " that never sleeps" if self.sharp else ""
            parts.append(f"in line for {counted(self.queue, 'worker')}{never}")
        if self.late:
            parts.append(f"some answered {self.late.replace(',', ', ')} late")
        if self.stall_ms:
            parts.append(f"stalls of {duration(self.stall_ms)}")
        if self.subscribers:
            parts.append(counted(self.subscribers, "subscriber"))
        if self.stalled:
            parts.append(f"{self.stalled} of them stalled")
        if self.cut_idle_s:
            parts.append(f"through a gateway that cuts after {self.cut_idle_s:g} s idle")
        return parts

    @property
    def how(self) -> list[str]:
        """How the style does it, in words; empty where it is done as the style does by itself."""
        parts = [self.poll.words] if self.poll is not None else []
        if self.broker is not None:
            parts += self.broker.words
        if self.store != "memory":
            parts.append({"postgres": "PostgreSQL"}.get(self.store, self.store))
        if self.codec:
            parts.append({"json": "JSON"}.get(self.codec, self.codec))
        parts += [
            words
            for words, said in (
                ("TLS", self.tls),
                ("compressed", self.compression),
                ("new connections", not self.kept),
            )
            if said
        ]
        match self.remember:
            case "nothing":
                parts.append("forgets")
            case "requests":
                parts.append("remembers")
            case "gateway":
                parts.append("gateway remembers")
            case "redis":
                parts.append("Redis remembers")
        return parts

    @property
    def durability(self) -> str:
        """What a client may count on when it has an answer; a key of DURABILITY."""
        if self.broker is not None:
            return self.broker.durability
        return "flushed" if self.store == "postgres" else "A"

    @property
    def at_rest(self) -> tuple[Any, ...]:
        """What cells of a variant have in common that cost the same while nothing is sent."""
        return (*self.how, self.durability, self.subscribers, self.cut_idle_s)

    def to_json(self) -> dict[str, Any]:
        """As in run.json."""
        return {
            **asdict(self),
            "asked": self.asked,
            "how": self.how,
            "durability": self.durability,
            "durability_words": DURABILITY[self.durability],
        }


def counted(number: int, what: str) -> str:
    """A number of things."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def size(count: int) -> str:
    """A number of bytes."""
    for unit, length in (("MiB", 2**20), ("KiB", 2**10)):
        if count >= length:
            return f"{count / length:g} {unit}"
    return f"{count} B"


def duration(ms: float) -> str:
    """A length of time."""
    return f"{ms / 1e3:g} s" if ms >= 1000 else f"{ms:g} ms"
