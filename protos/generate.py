"""Makes the modules beside orders.proto: `python -m protos.generate`."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def generate(into: Path) -> None:
    """Write orders_pb2.py, orders_pb2.pyi and orders_pb2_grpc.py under `into`/protos.

    Raises RuntimeError if the compiler refuses the file.
    """
    from grpc_tools import protoc

    code = protoc.main(
        [
            "protoc",
            f"-I{ROOT}",
            f"--python_out={into}",
            f"--pyi_out={into}",
            f"--grpc_python_out={into}",
            "protos/orders.proto",
        ]
    )
    if code != 0:
        raise RuntimeError(f"protoc ended with {code}")


if __name__ == "__main__":
    generate(ROOT)
    sys.exit(0)
