"""What must outlive a power cut."""

import errno
import os
from pathlib import Path

UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP)


def sync(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, are on the disk.

    A network file system that cannot do so for a folder is excused. Raises OSError otherwise.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno in UNSUPPORTED):
            raise
    finally:
        os.close(descriptor)
