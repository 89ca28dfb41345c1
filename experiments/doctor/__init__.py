"""Whether this machine can run studies: packages, devices, data, room, and a self-check.

Every section is a module of its own whose `look` yields findings; it is imported when its turn comes, so that
a package which is missing or broken costs its lines and not the rest.
"""

from experiments.doctor.command import main

__all__ = ["main"]
