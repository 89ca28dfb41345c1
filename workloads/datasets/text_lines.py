"""Lines of plain text and parquet files, one at a time: a training text need not fit in memory."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from workloads.datasets.local_files import DataFolder

COLUMN = "text"
ROWS_TOGETHER = 8192


def read_lines(place: DataFolder, path: Path) -> Iterator[str]:
    """The lines of a file without the white space around them, the empty ones too.

    Of a parquet file, those of the rows of its column "text"; a row that ends a line with "\\n" and one that
    does not are the same.

    Raises:
      ValueError: the file cannot be read, or is not UTF-8, or not parquet with such a column.
      ImportError: the file is parquet and pyarrow is missing.
    """
    return _parquet_lines(place, path) if path.suffix == ".parquet" else _plain_lines(place, path)


def open_binary(place: DataFolder, path: Path) -> BinaryIO:
    """The open file. Raises ValueError when it cannot be opened."""
    try:
        return path.open("rb")
    except OSError as error:
        raise place.problem(path, "a file that can be read", str(error.strerror)) from error


def _plain_lines(place: DataFolder, path: Path) -> Iterator[str]:
    # binary, since text files would also end lines at "\r", which no published count does
    with open_binary(place, path) as file:
        for number, line in enumerate(file, 1):
            try:
                yield line.decode().strip()
            except UnicodeDecodeError as error:
                byte = f"the byte 0x{line[error.start]:02x} in line {number:,}"
                raise place.problem(path, "text in UTF-8", byte) from error


def _parquet_lines(place: DataFolder, path: Path) -> Iterator[str]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise ImportError(f"{path} needs pyarrow: pip install 'steepest[text]'") from error
    try:
        with pyarrow.parquet.ParquetFile(path, page_checksum_verification=True) as file:
            columns = {field.name: field.type for field in file.schema_arrow}
            if columns.get(COLUMN) not in (pyarrow.string(), pyarrow.large_string()):
                found = ", ".join(f"{name} ({kind})" for name, kind in columns.items())
                raise place.problem(path, f"a column {COLUMN!r} of strings", f"the columns {found}")
            for batch in file.iter_batches(ROWS_TOGETHER, columns=[COLUMN]):
                for row in batch.column(0).to_pylist():
                    if row is None:
                        raise place.problem(path, f"text in every row of {COLUMN!r}", "a row without")
                    yield from (line.strip() for line in row.removesuffix("\n").split("\n"))
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        found = f"{path.stat().st_size:,} bytes: {' '.join(str(error).split())}"
        raise place.problem(path, "a whole parquet file of text in UTF-8", found) from error
