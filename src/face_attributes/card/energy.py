"""The energy of a training, estimated from its time, cores and memory. Nothing measures it."""

# Watts of a core of a processor that is not known, and of a gigabyte of memory; the energy of a data centre
# for each unit that its computers use. All from Lannelongue et al., below.
WATTS_PER_CORE = 12.0
WATTS_PER_GIGABYTE = 0.3725
OVERHEAD = 1.67


def kilowatt_hours(seconds: float, cores: int, gigabytes: float) -> float:
    """Return the estimated energy of a computation on processors that are busy all the time.

    Source: Lannelongue, Grealey, Inouye, Green Algorithms: Quantifying the Carbon Footprint of Computation,
    Advanced Science 8 (2021), 2100707, equation 2.

    Args:
        seconds: its duration.
        cores: the cores that it uses.
        gigabytes: the memory that it uses.

    """
    watts = cores * WATTS_PER_CORE + gigabytes * WATTS_PER_GIGABYTE
    return seconds / 3600 * watts * OVERHEAD / 1000
