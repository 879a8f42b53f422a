"""`python -m harness.rig.obtain PART`: install a part into the cache if it is not there.

A process of its own, so that whoever ends the harness ends an installation with it. Says one JSON
line: `source`, or `unavailable`.
"""

import json
import sys
from dataclasses import asdict

from harness.rig.broker import Source, Unavailable
from harness.rig.process import Rig, RigError


def find(part: str, address: str | None) -> Source:
    """Where a part would come from; installs nothing. Raises Unavailable, and ValueError for an
    address that cannot be read."""
    match part:
        case "kafka":
            from harness.rig.kafka_source import find_kafka

            return find_kafka(address)
        case "rabbitmq":
            from harness.rig.rabbitmq_source import find_rabbitmq

            return find_rabbitmq(address)
        case "redis":
            from harness.rig.redis import find_redis

            return find_redis(address)
    from harness.rig.postgres import find_postgres

    return find_postgres(address)


def obtain(part: str) -> Source:
    """A part that only has to be started, installed first where that is needed. Blocks. Raises
    Unavailable."""
    source = find(part, None)
    match part:
        case "kafka":
            from harness.rig.kafka_source import obtain_kafka

            return obtain_kafka(source)
        case "rabbitmq":
            from harness.rig.rabbitmq_source import obtain_rabbitmq

            return obtain_rabbitmq(source)
        case "redis":
            from harness.rig.redis import obtain_redis

            return obtain_redis(source)
    from harness.rig.postgres import obtain_postgres

    return obtain_postgres(source)


async def obtained(part: str, rig: Rig) -> Source:
    """The same, in a process of its own. Raises Unavailable, RigError."""
    process = await rig.spawn(f"obtain-{part}", [sys.executable, "-m", "harness.rig.obtain", part])
    said = await process.hear()
    code = await rig.stop(process)
    if said is None:
        words = rig.last_words(process.name) or "no words"
        raise RigError(f"{process.name} ended with code {code}: {words}")
    if said.pop("event") == "unavailable":
        raise Unavailable(**said)
    return Source(**said)


def main() -> None:
    """Obtain the part that the command line names."""
    try:
        source = obtain(sys.argv[1])
    except Unavailable as error:
        told = {"part": error.part, "reason": error.reason, "remedy": error.remedy}
        print(json.dumps({"event": "unavailable", **told}), flush=True)
    else:
        print(json.dumps({"event": "source", **asdict(source)}), flush=True)


if __name__ == "__main__":
    main()
