"""How many threads the model gets: the physical cores that this process may run on."""

import os
from pathlib import Path

CPUS = Path("/sys/devices/system/cpu")


def count_threads(wanted: int, cpus: Path = CPUS) -> int:
    """Give `wanted`, or for 0 one for each physical core in the affinity mask.

    Two threads of one core share its arithmetic units and gain nothing here.
    """
    allowed = os.sched_getaffinity(0)
    cores = {_core(cpus / f"cpu{number}", number) for number in allowed}
    return wanted or len(cores)


def _core(cpu: Path, number: int) -> str:
    try:
        return (cpu / "topology" / "thread_siblings_list").read_text().strip()
    except OSError:
        # A container or a hardened unit may hide it: then every processor counts.
        return str(number)
