"""What the command lines of all studies share."""

from collections.abc import Callable

from rich.console import Console
from rich.text import Text

from experiments.study.choices import StudyError


def reporting_errors(command: Callable[[], None], console: Console) -> int:
    """Run a command; the exit status, with what the user can mend as a message and not as a traceback."""
    try:
        command()
    except StudyError as error:
        console.print(Text.assemble(("error: ", "bold red"), str(error)), soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        console.print("Stopped. The same command resumes.")
        return 130
    return 0
