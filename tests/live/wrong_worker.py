"""`python -m tests.live.wrong_worker FAULT EVERY STYLE...`: a worker that does wrong by one message
in EVERY, and right by all others. FAULT: drops, repeats, swaps or corrupts."""

import sys

from servers import __main__, worker

FAULTS = ("drops", "repeats", "swaps", "corrupts")


class WrongWorker(worker.Worker):
    """Does to message number EVERY, 2 EVERY... what it shall not."""

    fault = ""
    every = 0

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._seen = 0
        self._held: tuple[bytes, bytes, int, str] | None = None

    async def process(
        self, body: bytes, stamp: bytes, partition: int, media_type: str = ""
    ) -> None:
        """See Worker.process."""
        self._seen += 1
        now = self._seen % self.every == 0
        match self.fault if now else "":
            case "drops":
                return
            case "repeats":
                await super().process(body, stamp, partition, media_type)
            case "swaps":
                self._held = (body, stamp, partition, media_type)
                return
            case "corrupts":
                body = body[:-1] + bytes([body[-1] ^ 1])
        await super().process(body, stamp, partition, media_type)
        if self._held is not None:
            held, self._held = self._held, None
            await super().process(*held)


def main() -> None:
    """Become the style's worker."""
    WrongWorker.fault, WrongWorker.every = sys.argv[1], int(sys.argv[2])
    del sys.argv[1:3]
    worker.Worker = WrongWorker  # type: ignore[assignment, misc]
    __main__.main()


if __name__ == "__main__":
    main()
