"""How a server works on orders: `--service-time-ms`, and a `--queue` with what belongs to it."""

import argparse

from orders.alarm import PollingAlarm, sharpest_alarm
from orders.line import ON_TIME, STALL_EVERY, Line, Queue, latenesses


def add_working(parser: argparse.ArgumentParser) -> None:
    """The options that say how long work takes, and who does it."""
    parser.add_argument(
        "--service-time-ms",
        type=float,
        default=0.0,
        help="the work on an order that does not say its own",
    )
    parser.add_argument(
        "--queue",
        metavar="N",
        type=int,
        default=0,
        help="N workers take one order at a time each; 0: all are worked on side by side",
    )
    parser.add_argument(
        "--late",
        metavar="TIME,...",
        type=latenesses,
        default=(ON_TIME,),
        help="with --queue: answer later than due, by 100us, 1ms, or 5%% of the order's time;"
        " several take turns (100us,1ms), and orders on time with them",
    )
    parser.add_argument(
        "--sharp",
        action="store_true",
        help="with --queue: do not sleep while orders are in line, so that none leaves late",
    )
    parser.add_argument(
        "--stall-ms",
        metavar="MS",
        type=float,
        default=0.0,
        help=f"with --queue: every order number {STALL_EVERY} takes so much longer",
    )


def queue_of(options: argparse.Namespace) -> Queue | None:
    """The queue that is asked for, if one is."""
    if not options.queue:
        return None
    alarm = PollingAlarm if options.sharp else sharpest_alarm
    return Queue(Line(options.queue, round(options.stall_ms * 1e6)), options.late, alarm=alarm)
