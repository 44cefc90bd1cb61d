"""Packages of AOTInductor: the network compiled to machine code, for PyTorch in Python and in C++.

Needs a C++ compiler here; runs on processors like this one. The card is in the package's metadata.
"""

import importlib
import shutil
from pathlib import Path

from unetkit.errors import UsageError
from unetkit.exporting.job import ExportJob
from unetkit.exporting.program import program_of, quiet
from unetkit.runtimes import CARD_KEY


def write(job: ExportJob, path: Path) -> None:
    """Compile and write a package; takes a minute or more.

    Raises:
        UsageError: there is no compiler.
    """
    if not any(map(shutil.which, ("g++", "clang++", "c++"))):
        raise UsageError("aoti compiles the network to machine code; install a C++ compiler, such as g++")
    inductor = importlib.import_module("torch._inductor")  # documented, though its name is not public
    with quiet():
        inductor.aoti_compile_and_package(
            program_of(job),
            package_path=str(path),
            inductor_configs={"aot_inductor.metadata": {CARD_KEY: job.card.model_dump_json()}},
        )
