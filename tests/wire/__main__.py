"""`python -m tests.wire [STYLE...]`: writes harness/report/styles/wire/, or some of it."""

import asyncio
import json
import sys
from pathlib import Path

from clients import catalog
from harness.report.styles.wire_examples import FOLDER
from harness.rig.parts import Part, start
from harness.rig.process import Rig
from tests.wire.examples import WAYS, recorded


async def write(styles: list[str], folder: Path) -> None:
    """Record styles, one after the other, with the brokers that they need."""
    running: list[Part] = []
    async with Rig() as rig:
        for style in styles:
            address = ""
            if broker := catalog.find(style).broker:
                running.append(await start(broker, rig, fast=True))
                address = running[-1].address
            example = await recorded(style, rig, address)
            text = json.dumps(example, indent=1, ensure_ascii=False)
            (folder / f"{style}.json").write_text(f"{text}\n")
            print(style, len(example["exchange"]), "messages")
        for part in running:
            await part.stop()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    asyncio.run(write(sys.argv[1:] or list(WAYS), FOLDER))
