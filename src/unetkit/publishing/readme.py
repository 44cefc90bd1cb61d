"""The model card of a run: README.md in the form of the Hugging Face Hub, front matter and text from the same facts.

The front matter has the Hub's own keys (license, library_name, tags, model-index ...). A key, a row or a section whose
fact is not known is left out. Texts of users are escaped, so that they stay in their cell.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from unetkit.config.text import write_yaml
from unetkit.modelfile.about import UNET
from unetkit.publishing.facts import Facts, Score


def readme(facts: Facts, *, name: str = "FOLDER") -> str:
    """Return the text of a model card.

    Args:
        facts: of the run.
        name: by which its reader opens the model: of its repository, such as "ada/membranes", or of its folder.
    """
    remote = re.fullmatch(r"[\w.-]+/[\w.-]+", name) is not None
    extra = "'unetkit[hub]'" if remote else "unetkit"
    call = f'unetkit.from_pretrained("{name}")' if remote else f'unetkit.load("{name}")'
    card, about, source = facts.network.card, facts.about, _plain(facts.data_name)
    mean, std = (", ".join(f"{value:g}" for value in values) for values in (card.mean, card.std))
    together = f", {card.slices} slices of {card.image_channels}" if card.context else ""
    grey = " or [H, W]" if card.channels == 1 else ""
    network = {
        "architecture": facts.network.model.name,
        "trained values": f"{facts.parameters:,}",
        "input": f"{card.channels} channel{'s'[: card.channels - 1]}{together}, any height and width",
        "classes": ", ".join(facts.classes),
        "normalisation": f"(pixels - mean) / std, mean {mean}, std {std}",
    }
    counts = (f"{len(facts.data[part])} {words}" for part, words in _PARTS.items() if facts.data.get(part))
    versions = (f"{package} {facts.environment['packages'].get(package)}" for package in ("unetkit", "torch"))
    training = {
        "data": f"[{source}]({facts.source.url})" if facts.source.url else source,
        "licence of the data": facts.source.license or "",
        "images": ", ".join(counts),
        "SHA-256 of the pixels": facts.data["sha256_pixels"],
        "weights of step": f"{card.step:,} of {facts.run.config.train.steps:,}",
        "machine": f"{facts.environment['processor']}, {facts.environment.get('device', 'cpu')}",
        "versions": ", ".join(versions),
    }
    cite = [f"By {_plain(', '.join(one.name_with_place for one in about.authors))}."] if about.authors else []
    cite += [f"{_plain(one.text)}{f' <{one.link}>' if one.link else ''}" for one in (*about.citations, UNET)]
    parts = [
        f"---\n{write_yaml(front_matter(facts))}---",
        f"# {_plain(facts.title)}\n\n{_plain(facts.description)}",
        "## Use",
        f"    pip install {extra}",
        f"```python\nimport unetkit\n\npredictor = {call}\n"
        f"mask = unetkit.predict(predictor, image)  # [H, W] class indices of an array [C, H, W]{grey}\n```",
        f"## Network\n\n{_table(['', ''], network.items())}",
        f"## Training\n\n{_table(['', ''], ((key, value) for key, value in training.items() if value))}",
        *_validation(facts.scores),
        "## Cite",
        *cite,
    ]
    return "\n\n".join(parts) + "\n"


_PARTS = {"train": "trained on", "validation": "held out", "test": "in the test set"}


def front_matter(facts: Facts) -> dict[str, Any]:
    """Return what the Hub reads of a model card."""
    about, model = facts.about, facts.network.model
    results = [
        {
            "task": {"type": "image-segmentation"},
            "dataset": {
                "name": facts.data_name,
                "type": re.sub(r"[^\w.-]+", "-", facts.data_name).strip("-").lower(),
                "split": images,
            },
            "metrics": [
                {"type": score.definition.name, "name": score.definition.meaning, "value": round(score.value, 6)}
                for score in facts.scores
                if score.images == images
            ],
        }
        for images in dict.fromkeys(score.images for score in facts.scores)
    ]
    matter = {
        "license": about.license.lower() if about.license else None,
        "library_name": "unetkit",
        "pipeline_tag": "image-segmentation",
        "tags": list(dict.fromkeys(["microscopy", "segmentation", model.name, *about.tags])),
        "metrics": list(dict.fromkeys(score.definition.name for score in facts.scores)),
        "model-index": [{"name": facts.title, "results": results}] if results else None,
    }
    return {key: value for key, value in matter.items() if value}


def _validation(scores: Sequence[Score]) -> list[str]:
    """Return the section of the scores; nothing where there are none."""
    if not scores:
        return []
    rows = [
        (score.images, str(score.count), f"`{score.definition.name}`", f"{score.value:.4f}", score.definition.meaning)
        for score in scores
    ]
    meanings = {score.definition.name: " ".join(score.definition.formula.split()) for score in scores}
    formulas = (f"- `{name}`: `{formula.replace('`', chr(39))}`" for name, formula in meanings.items())
    table = _table(["images", "how many", "score", "value", "meaning"], rows)
    return ["## Validation", table, "How they are computed:", "\n".join(formulas)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _plain(text: str) -> str:
    """Return a user's text in one line that Markdown takes for nothing else."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))
