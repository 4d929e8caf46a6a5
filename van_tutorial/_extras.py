"""What only some users install: the extras of pyproject.toml."""

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def needs(what: str, extra: str) -> Iterator[None]:
    """Say, where an import in it finds no package, which extra brings it.

    Args:
        what: needs the package: the beginning of a sentence.
        extra: of pyproject.toml.

    Raises:
        ImportError: for a package that is not installed.
        ModuleNotFoundError: for a module of this package that is not there.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "van_tutorial").split(".")[0] == "van_tutorial":
            raise
        raise ImportError(
            f"{what} needs the package {error.name}, which is not installed: pip install 'van-tutorial[{extra}]' "
            "brings it.",
            name=error.name,
        ) from error
