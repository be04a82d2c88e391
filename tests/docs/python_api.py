"""The public names as their page lists them; `python -m tests.docs.python_api` writes the list anew."""

import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import cog

PAGE = Path(__file__).parents[2] / "docs/reference/python-api.md"
BEGIN, END = "<!-- names -->\n", "<!-- end of names -->\n"


def signature(name: str) -> str:
    """A public name as it is called, without types; of a dataclass only the fields that must be given."""
    value = getattr(cog, name)
    if not callable(value):
        return name
    if dataclasses.is_dataclass(value):
        fields = [field for field in dataclasses.fields(value) if field.init]
        needed = [field.name for field in fields if _needed(field)]
        return f"{name}({', '.join([*needed, '...'] if len(fields) > len(needed) else needed)})"
    if loads(name):
        value, name = value.load, f"{name}.load"
    found = inspect.signature(value)
    plain = [
        parameter.replace(annotation=inspect.Parameter.empty, default=_shown(parameter.default))
        for parameter in found.parameters.values()
    ]
    return f"{name}{found.replace(parameters=plain, return_annotation=inspect.Signature.empty)}"


def loads(name: str) -> bool:
    """Whether a class is not built but loaded from disk, as a policy is."""
    return hasattr(getattr(cog, name), "load")


def sentence(name: str) -> str:
    """What a public name is: the first paragraph of its docstring."""
    if name == "__version__":
        return "The version of the toolkit, which is written into every file it makes."
    value = getattr(cog, name).load if loads(name) else getattr(cog, name)
    return " ".join(str(inspect.getdoc(value)).split("\n\n")[0].split())


def errors(name: str) -> list[str]:
    """The exceptions that its docstring says it raises; those of a class are its constructor's."""
    value = getattr(cog, name).load if loads(name) else getattr(cog, name)
    documented = value.__dict__.get("__post_init__", value.__init__) if isinstance(value, type) else value
    _, _, raises = str(inspect.getdoc(documented)).partition("Raises:\n")
    return re.findall(r"^    (\w+(?:, \w+)*): ", raises, flags=re.M)


def entry(name: str) -> str:
    """The line of a public name."""
    raised = f" Raises {', '.join(f'`{error}`' for error in errors(name))}." if errors(name) else ""
    return f"- **`{signature(name)}`** {sentence(name)}{raised}\n"


def filled(text: str) -> str:
    """The page with the list as the code has it."""
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return f"{before}{BEGIN}{''.join(map(entry, cog.__all__))}{END}{after}"


def _needed(field: Any) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


class _Shown:
    """A default that shows as `...`, because its own text says nothing."""

    def __repr__(self) -> str:
        return "..."


def _shown(default: Any) -> Any:
    plain = (
        default is inspect.Parameter.empty
        or default is None
        or isinstance(default, str | int | float | tuple)
    )
    return default if plain else _Shown()


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text()))
