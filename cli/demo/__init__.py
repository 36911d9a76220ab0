"""The demo: the real stream on a real broker, from two models to a routed decision."""

from typing import TYPE_CHECKING, Any

from paritygate.cli.extras import first_missing
from paritygate.schemas.errors import ConfigError

if TYPE_CHECKING:
    from paritygate.cli.demo.verb import demo

__all__ = ["demo"]


def __getattr__(name: str) -> Any:
    if name != "demo":
        raise AttributeError(name)
    missing = first_missing("sklearn", "pandas", "faust")
    if missing is not None:
        raise ConfigError(f'the demo needs {missing}: pip install "paritygate[demo]"')
    from paritygate.cli.demo.verb import demo as function  # noqa: PLC0415

    return function
