"""What a generator adds to the latency that it measures. Pure."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def own_delay(send_lag: Floats) -> Floats:
    """What its generator adds to each operation, in the unit of `send_lag`, known for each of them:
    it waits for the generator's loop to be sent, and again when its answer has come.

    Of the second wait only the law is known, where the loop is held up again and again: it is that
    of the first. So another operation's stands for it, drawn by a fixed seed; less the least of
    all, which is what waking up takes, and belongs to the client that is waited with. Stalls that
    are rare it counts twice.
    """
    if not len(send_lag):
        return send_lag
    again: Floats = np.random.default_rng(0).permutation(send_lag) - send_lag.min()
    return send_lag + again
