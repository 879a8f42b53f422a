"""Jars by their Maven coordinates, where there may be no Maven."""

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path


def bring_jars(coordinates: Sequence[str], folder: Path) -> None:
    """Put the jar of each `group:artifact:version`, and all that it needs, into a folder.

    Blocks, for some seconds. Raises what jgo raises, and OSError.
    """
    # Slow to import, and used once on a machine.
    from jgo.maven import MavenContext

    with tempfile.TemporaryDirectory(prefix="orderbench-jgo-") as scratch:
        maven = MavenContext(repo_cache=Path(scratch))
        for coordinate in coordinates:
            # Each alone: Kafka's together get an older kafka-clients.
            wanted, needed = maven.resolver.resolve([maven.create_dependency(coordinate)])
            for dependency in [*wanted, *needed]:
                jar = dependency.artifact.resolve()
                shutil.copy2(jar, folder / jar.name)
