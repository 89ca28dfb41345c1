"""The data of every workload: whether it is there, and what its loader says where it is not."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from experiments.doctor.findings import Finding, described
from experiments.doctor.requirements import remedy
from workloads.datasets.cifar10 import load_cifar10
from workloads.datasets.digits import load_digits
from workloads.datasets.idx import load_idx
from workloads.datasets.local_files import data_folder
from workloads.datasets.shakespeare import load_shakespeare
from workloads.datasets.wikitext103 import SOURCE, find_files

BEFORE = "no study can train on it before that is mended"


def look(folder: Path) -> Iterator[Finding]:
    """Where data is looked for, and a finding for each workload; data that is missing is no failure."""
    place = data_folder("any", "", None, "published").path.parent.absolute()
    yield Finding("files are looked for in", f"{place}; STEEPEST_DATA names another folder")
    for workload, find in DATA.items():
        yield workload_data(workload, find)


def workload_data(workload: str, find: Callable[[], str]) -> Finding:
    """What is found of a workload's data, or what is said where it cannot be read."""
    try:
        return Finding(workload, find())
    except ImportError as error:
        return Finding(workload, described(error), remedy(error) or BEFORE)
    except Exception as error:  # a reader may meet anything in a file
        problem = str(error) if isinstance(error, ValueError) else described(error)
        found, _, advice = problem.removeprefix(f"{workload}: ").partition("; ")
        return Finding(workload, found, advice or BEFORE)


def _images(load: Callable[..., tuple], *names: str) -> str:
    train, _, test, _ = load(*names)
    return f"{len(train):,} + {len(test):,} images of {'×'.join(map(str, train.shape[1:]))}"


def _shakespeare() -> str:
    train, test = load_shakespeare(context=64)
    return f"{len(train):,} + {len(test):,} blocks of 64 characters"


def _wikitext103() -> str:
    """The files alone: to load them for the first time makes a vocabulary, which takes minutes."""
    files = find_files(data_folder("wikitext103", SOURCE, None, "published"))
    names = ", ".join(path.name for paths in files.values() for path in paths)
    return f"{names}; read and checked when they are first used"


DATA: Mapping[str, Callable[[], str]] = MappingProxyType(
    {
        "linear_regression": lambda: "drawn from its key, needs no files",
        "modular_addition": lambda: "all pairs of numbers, needs no files",
        "digits": lambda: _images(load_digits),
        "mnist": lambda: _images(load_idx, "mnist"),
        "fashion_mnist": lambda: _images(load_idx, "fashion_mnist"),
        "cifar10": lambda: _images(load_cifar10),
        "shakespeare": _shakespeare,
        "wikitext103": _wikitext103,
    }
)
