"""Networks over HTTP: the page of `unetkit serve`, its interface, and what every server of unetkit stands on."""

from importlib.util import find_spec

from unetkit.errors import UsageError


def require_extra() -> None:
    """Make sure that the extra serve is installed, without loading PyTorch.

    Raises:
        UsageError: it is not.
    """
    for module in ("starlette", "uvicorn", "python_multipart"):
        if find_spec(module) is None:
            raise UsageError(f"{module} is not installed; write: pip install 'unetkit[serve]'")
