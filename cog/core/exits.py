"""How a command ends: an error is told in one line, and an exit code says whose it is."""

from collections.abc import Callable

from cog.core.console import messages
from cog.errors import CogError, Told, UsageError

DONE, FAILED, WRONG_USAGE = 0, 1, 2


def ended(work: Callable[[], int | None]) -> int:
    """Do the work and return its exit code: 0 done, 1 failed, 2 wrong usage; a code of its own counts."""
    try:
        return int(work() or DONE)
    except Told as error:
        return WRONG_USAGE if error.usage else FAILED
    except CogError as error:
        messages().print(f"cog: {error}", style="red")
        return WRONG_USAGE if isinstance(error, UsageError) else FAILED
    except KeyboardInterrupt:
        messages().print("cog: interrupted", style="red")
        return FAILED
