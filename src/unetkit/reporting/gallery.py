"""The worst and the best images of an evaluation: in the page as figures, in a folder of pictures as PNG files."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from unetkit.evaluation import Evaluation
from unetkit.reporting.markup import Content, Html, breakable, facts, joined, picture, tag
from unetkit.reporting.panels import panel, png
from unetkit.reporting.pictures import Exhibit, error_names, error_shares, legend, scale_note, stretch_note, tiles
from unetkit.reporting.ranking import Chosen, extremes, ranking_metric
from unetkit.reporting.text import shown
from unetkit.storage import write_whole

Look = Callable[[str], Exhibit]
"""Gives the image of a name with its truth and what the network says of it."""

_MOST_COLOURS = 24


def gallery(pictures: Path, evaluation: Evaluation, look: Look, *, metric: str, each: int) -> Iterator[Html]:
    """Yield a figure for each of the worst and best images by a score, and write `worst-1.png` and so on.

    One image is held in memory at a time. Pictures of an earlier report are removed.

    Raises:
        StorageError: a picture cannot be written.
    """
    for old in (path for end in ("worst", "best") for path in pictures.glob(f"{end}-*.png")):
        old.unlink()
    metric = ranking_metric(evaluation, metric)
    for chosen in extremes(evaluation, metric, each):
        exhibit = look(chosen.image.name)
        heading = f"{chosen.title}: {exhibit.name}   {metric} {shown(chosen.value)}   {scale_note(exhibit)}"
        sheet = panel(exhibit, evaluation.classes, heading=heading)
        write_whole(pictures / f"{chosen.end}-{chosen.place}.png", png(sheet))
        yield _figure(chosen, exhibit, evaluation.classes, metric)


def key(classes: Sequence[str], *, borders: bool = False, objects: bool = False) -> Html:
    """Return what the pictures show and what their colours mean."""
    colours = legend(classes, borders=borders, objects=objects)
    swatches = [tag("li", _swatch(colour), name) for colour, name in colours[:_MOST_COLOURS]]
    rest = [tag("li", f"and {len(colours) - _MOST_COLOURS} more")] if len(colours) > _MOST_COLOURS else []
    errors = (
        "Errors lie on the faded image, coloured by their kind."
        if len(classes) == 2
        else "Errors lie on the faded image, in the colour of the class that was predicted."
    )
    certain = f"the class {classes[1]}" if len(classes) == 2 else "the class that was predicted"
    words = f"{errors} The probability is that of {certain}: black is 0, white is 1."
    if objects:
        words += " Objects are partners where their IoU is above one half."
    return joined(tag("ul", *swatches, *rest, class_="key"), tag("p", words))


def _figure(chosen: Chosen, exhibit: Exhibit, classes: Sequence[str], metric: str) -> Html:
    pictures = [
        tag("div", picture(png(tile.pixels), "image/png", f"{exhibit.name}: {tile.title}"), tag("span", tile.title))
        for tile in tiles(exhibit, classes)
    ]
    told = facts(list(_told(chosen, exhibit, classes, metric)))
    beside = tag("div", tag("h3", chosen.title.capitalize()), told, class_="told")
    caption = joined(tag("b", exhibit.name), f", {chosen.title} of the held-out images by ", breakable(metric), ".")
    return tag("figure", tag("div", *pictures, beside, class_="tiles"), tag("figcaption", caption), class_="exhibit")


def _told(chosen: Chosen, exhibit: Exhibit, classes: Sequence[str], metric: str) -> Iterator[tuple[str, Content]]:
    yield "Image", exhibit.name
    yield metric, shown(chosen.value)
    for name in ("mean_precision", "pixel_accuracy", "mean_dice", "mean_iou"):
        if name in chosen.image.scores and name != metric:
            yield name, shown(chosen.image.scores[name])
    if len(classes) == 2:
        for name, share in zip(error_names(classes), error_shares(exhibit, classes), strict=True):
            yield name.capitalize(), f"{100 * share:.2f} % of pixels"
    else:
        yield "Wrong", f"{100 * float((exhibit.prediction != exhibit.labels).mean()):.2f} % of pixels"
    if (counts := chosen.image.objects) is not None:
        yield "Objects", f"{counts.true} true, {counts.predicted} found, {counts.matched[0]} pairs"
    yield "Size", scale_note(exhibit)
    yield "Grey values", stretch_note(exhibit)


def _swatch(colour: tuple[int, int, int]) -> Html:
    return tag("i", style=f"background:rgb{colour}")
