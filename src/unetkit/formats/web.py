"""A page that segments images in the browser: one static folder, whatever serves it; nothing leaves the browser.

The network is ONNX, run by ONNX Runtime's WebAssembly; the rest is the built page, a part of the package. `model.json`
tells it the network's card and the colours of the classes. Does not know how the page computes: web/src does.
"""

import json
import shutil
from importlib import resources
from pathlib import Path

from unetkit.errors import UsageError
from unetkit.formats import onnx
from unetkit.formats.job import ExportJob
from unetkit.objects.find import colour_of

_BACKGROUND = "#000000"
_MOST_CLASSES = 256


def write(job: ExportJob, path: Path) -> None:
    """Write the network to `path`, and the page's other files next to it.

    Raises:
        UsageError: the page is not built, a package is not installed, or the network has more classes than it shows.
    """
    card = job.card
    if len(card.classes) > _MOST_CLASSES:
        raise UsageError(f"the network has {len(card.classes)} classes; the page's masks hold {_MOST_CLASSES} at most")
    bundles = Path(str(resources.files("unetkit") / "bundles"))
    if not (bundles / "page.html").is_file():
        raise UsageError("the page is not built; write `make web` in unetkit's source folder, or install its wheel")
    onnx.write(job, path)
    colours = [f"#{bytes(colour_of(index)).hex()}" for index in range(1, len(card.classes))]
    described = {"card": card.model_dump(mode="json"), "colours": [_BACKGROUND, *colours]}
    path.with_suffix(".json").write_text(json.dumps(described))
    shutil.copyfile(bundles / "page.html", path.parent / "index.html")
    for pattern in ("page.js*", "page.css", "worker.js*", "ort-*"):
        for file in bundles.glob(pattern):
            shutil.copyfile(file, path.parent / file.name)
