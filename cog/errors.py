"""Errors a user can act on: they name what is wrong and how to mend it."""


class CogError(Exception):
    """Something went wrong that the user can mend; shown without a traceback, exit code 1."""


class UsageError(CogError):
    """The command line or configuration asks for something that does not exist; exit code 2."""


class Told(CogError):  # noqa: N818 - no failure of its own
    """An error of a run of several processes in all but the first, which shows it; these end in silence."""

    def __init__(self, text: str, usage: bool) -> None:
        super().__init__(text)
        self.usage = usage


def missing_extra(package: str, extra: str) -> CogError:
    """The error for an optional dependency that is not installed."""
    return CogError(
        f"this needs the package '{package}' (of the extra '{extra}'); install it with: pip install {package}"
    )
