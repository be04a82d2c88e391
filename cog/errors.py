"""Errors a user can act on: what is wrong, where, and how to mend it."""

from typing import ClassVar


class CogError(Exception):
    """Something went wrong that the user can mend; shown without a traceback.

    `what` is wrong, `where` (file, episode, field) and `remedy` (an imperative sentence) as far as known.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: object = "", *, where: object = None, remedy: str | None = None) -> None:
        self.what = str(what)
        self.where = None if where is None else str(where)
        self.remedy = remedy
        super().__init__(sentences(self.what, self.where, self.remedy))


class UsageError(CogError):
    """The command line or configuration asks for something that does not exist."""

    exit_code = 2


class FailedElsewhere(CogError):  # noqa: N818 - it is the other rank's failure
    """Raised on ranks above 0 when another rank failed; rank 0 prints the error."""

    def __init__(self, what: str, exit_code: int) -> None:
        super().__init__(what)
        self.exit_code = exit_code  # type: ignore[misc]

    def __reduce__(self) -> tuple[type, tuple[str, int]]:
        return type(self), (self.what, self.exit_code)


def sentences(what: str, where: str | None = None, remedy: str | None = None) -> str:
    """The text of an error: `where: what. Remedy`."""
    text = what if where is None else f"{where}: {what}"
    if not remedy:
        return text
    return f"{text}{'' if text.endswith(('.', '!', '?')) else '.'} {remedy[0].upper()}{remedy[1:]}"


def missing_extra(package: str, extra: str) -> CogError:
    """The error for an optional dependency that is not installed."""
    return CogError(
        f"this needs the package '{package}' (of the extra '{extra}')",
        remedy=f"install it with: pip install {package}",
    )
