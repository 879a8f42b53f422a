"""Bodies that were packed with gzip, by whoever sent them."""

import gzip
import io
import zlib

from protos.problems import Refusal


def unpacked(body: bytes, most: int) -> bytes:
    """What is in a gzip body, of at most `most` bytes: a small body may hold a huge one. Raises
    Refusal."""
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as packed:
            found = packed.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise Refusal("malformed", f"not gzip: {error}") from None
    if len(found) > most:
        raise Refusal("too_large", f"a body has at most {most} bytes")
    return found
