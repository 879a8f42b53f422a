"""What the status of a gRPC call means, whichever library heard it."""

from clients.base import DriverError, Failure, refused
from protos.problems import TABLE, Problem


def failure_by(status: str, details: str, problem: str) -> DriverError:
    """`status` by its name; `problem` is the code in the trailing metadata, empty for none."""
    if problem in TABLE:
        return refused(Problem(problem, details))
    match status:
        case "UNAVAILABLE" | "CANCELLED":
            return DriverError(Failure.DISCONNECTED, details)
        case "RESOURCE_EXHAUSTED":
            # grpcio itself refuses what is too long, by this status and these words alone.
            if "larger than max" in details:
                return DriverError(Failure.REJECTED, details, "too_large")
            return DriverError(Failure.OVERLOADED, details)
        case _:
            return DriverError(Failure.PROTOCOL, f"{status}: {details}")
