"""Write into the documentation what the code knows: keys, scores, and what becomes of the older systems' keys.

    python scripts/write_reference.py            # write configuration.md, metrics.md and others of docs
    python scripts/write_reference.py --check    # exit 1 where a page is not what the code says

In a page, the text between `<!-- begin NAME -->` and `<!-- end -->` is replaced. Readers of the sources see what
readers of the site see. configuration.zh.md and metrics.zh.md are written, too, with the translations of
`chinese.yaml`: what has none stands there in English, and `--check` names it.
"""

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from unetkit.config import load_config
from unetkit.configuring import translate_config
from unetkit.legacy.configs.oneflow import OneFlowSettings
from unetkit.legacy.configs.tensorflow import TensorFlowSettings
from unetkit.legacy.configs.translation import Settings
from unetkit.legacy.configs.zoo import ZooSettings
from unetkit.metrics import FAMILIES, Definition
from unetkit.metrics.definitions import CLASS, said_range

DOCS = Path(__file__).resolve().parent.parent / "docs"
BEGIN, END = "<!-- begin {} -->\n", "<!-- end -->"
CHINESE = Path(__file__).with_name("chinese.yaml")

Say = Callable[[str], str]  # a text of the code -> what stands in the page


def main() -> int:
    """Write or check the pages; return the exit code."""
    stale = False
    say = Chinese()
    pages = {
        "configuration": configuration(str),
        "configuration.zh": configuration(say),
        "metrics": metrics(),
        "metrics.zh": metrics_in_short(say),
        "older-systems-table": older_systems(),
    }
    for file, text in pages.items():
        page, name = DOCS / f"{file}.md", file.removesuffix(".zh")
        current = page.read_text(encoding="utf-8")
        before, rest = current.split(BEGIN.format(name))
        wanted = f"{before}{BEGIN.format(name)}\n{text.strip()}\n\n{END}{rest.split(END, 1)[1]}"
        if wanted != current and "--check" in sys.argv[1:]:
            print(f"{page.name} is not what the code says; write it with: make reference")
            stale = True
        elif wanted != current:
            page.write_text(wanted, encoding="utf-8")
            print(f"written: {page}")
    for text in say.lacking:
        print(f"{CHINESE.name} has no translation; add one (en, zh), or correct the one of its older form: {text}")
    for text in say.unasked:
        print(f"{CHINESE.name} translates what no page says any more; take it out: {text}")
    return int(stale or ("--check" in sys.argv[1:] and bool(say.lacking or say.unasked)))


class Chinese:
    """The texts of the code in Chinese.

    Attributes:
        lacking: the texts that were asked for and have no translation.
        unasked: the translated texts that were not asked for so far.
    """

    def __init__(self) -> None:
        """Read the translations."""
        pairs = yaml.safe_load(CHINESE.read_text(encoding="utf-8"))
        self._texts = {pair["en"]: pair["zh"] for pair in pairs}
        self.lacking: dict[str, None] = {}
        self.unasked = dict.fromkeys(self._texts)

    def __call__(self, text: str) -> str:
        """Return a text in Chinese, or as it is where there is no translation."""
        self.unasked.pop(text, None)
        if text not in self._texts:
            self.lacking[text] = None
        return self._texts.get(text, text)


def metrics() -> str:
    """Return a section for every family and, in it, one for every score, in Markdown."""
    sections: list[str] = []
    for name, family in FAMILIES.items():
        when = family.when.replace("; ", ", and ")
        sections.append(f"## `{name}`\n\n{family.about[0].upper()}{family.about[1:]}; computed {when}.\n")
        sections += [_section(card) for card in family.definitions.values()]
    return "\n".join(sections)


def metrics_in_short(say: Say) -> str:
    """Return a table of the scores of every family, a row each that links to the score's section, in Markdown."""
    sections: list[str] = []
    for name, family in FAMILIES.items():
        computed = say("{}; computed {}.").format(say(family.about), say(family.when))
        sections += [f"## `{name}`\n", f"{computed}\n"]
        if family.definitions:
            names = ("score", "meaning", "classes", "averaging", "range")
            sections += [f"| {' | '.join(say(name) for name in names)} |", "|---|---|---|---|---|"]
        for card in family.definitions.values():
            link = f"[`{card.name}`](metrics.md#{re.sub('[{}]', '', card.name)})"
            meaning = say("; ").join(say(part) for part in card.meaning.split("; "))
            cells = (meaning, say(card.classes), say(card.averaging), say(said_range(card)))
            sections.append(f"| {link} | {' | '.join(_quoted(_escaped(cell)) for cell in cells)} |")
        sections.append("")
    return "\n".join(sections)


def configuration(say: Say) -> str:
    """Return a table of the keys of every section, with the values of the `isbi` preset, in Markdown."""
    config = load_config("isbi", [])
    heads = " | ".join(say(name) for name in ("key", "value", "meaning"))
    parts: list[str] = []
    for name in type(config).model_fields:
        section = getattr(config, name)
        about = say(section.__doc__ or "")
        parts += [f"### {name}\n", f"{about}\n", f"| {heads} |", "|---|---|---|", *_rows(section, name, say), ""]
    return "\n".join(parts)


def _rows(section: BaseModel, path: str, say: Say) -> Iterator[str]:
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, BaseModel):
            yield from _rows(value, f"{path}.{key}", say)
        else:
            yield f"| `{path}.{key}` | `{_as_yaml(value)}` | {_escaped(say(field.description or ''))} |"


def _as_yaml(value: Any) -> str:
    return json.dumps(value).replace('"', "")


ZOO = {key: field.get_default() for key, field in ZooSettings.model_fields.items() if not field.is_required()}
ZOO |= {"eval_resize": True, "resume": True, "resume_ckpt": "a.ckpt", "transfer_training": True, "image_size": [96, 96]}
ZOO |= {"data_path": "nowhere/data", "output_path": "out", "run_eval": True}
ZOO_TRAININGS: tuple[dict[str, Any], ...] = (
    {"model_name": "unet_medical", "crop": [388, 388], "filter_weight": ["outc.conv.weight"]},
    {
        "model_name": "unet_nested",
        "dataset": "COCO",
        "coco_classes": ["background", "cat"],
        "filter_weight": ["final1"],
    },
    {"model_name": "unet_nested", "run_distribute": True, "run_eval": False, "resume": False},
)
BY_HAND = {
    "enable_modelarts": "the URLs stand for the paths ([ModelArts](modelarts.md))",
    "data_url": "with enable_modelarts `data.path`",
    "train_url": "with enable_modelarts `--out`",
    "checkpoint_url": "with enable_modelarts the place of checkpoints below load_path",
    "load_path": "with enable_modelarts a name for checkpoint_url",
    "output_path": "`--out`",
    "model_dir": "`--out`; with resume_training `init.path`",
    "anno_json": "`data.path`, where the file exists",
    "val_anno_json": "`data.path`, where the file exists: what is held out",
    "checkpoint_file_path": "MODEL of `unetkit evaluate --config` and `unetkit export --config`",
    "width": "the second of `--size` in `unetkit export --config`",
    "height": "the first of `--size` in `unetkit export --config`",
    "file_name": "`--out` of `unetkit export --config`",
    "file_format": "`--to` of `unetkit export --config`",
    "eval_resize": "which score the lines in its spelling print: at the image's own size, or at that of the network",
    "exec_mode": "the verb: train, evaluate, predict",
    "benchmark": "`unetkit bench`",
    "num_channels": "`model.in_channels`",
}


def older_systems() -> str:
    """Return a table of the keys or flags of every older system, and what becomes of each here, in Markdown."""
    flags = {key: field.get_default() for key, field in TensorFlowSettings.model_fields.items()}
    words = [
        f"--{key}" if value is False else f"--{key}={value if value != '' else 'x'}"
        for key, value in flags.items()
        if value is not None
    ]
    words += ["--crossvalidation_idx=0"]
    systems: dict[str, tuple[type[Settings], list[Any]]] = {
        "MindSpore model zoo and course": (ZooSettings, [translate_config(ZOO | one) for one in ZOO_TRAININGS]),
        "TensorFlow (NVIDIA, Ascend)": (
            TensorFlowSettings,
            [translate_config("tensorflow-unet-medical", flags=[*words, "--exec_mode=train_and_evaluate"])],
        ),
        "OneFlow": (
            OneFlowSettings,
            [
                translate_config(
                    "oneflow-unet", flags=["--data_path=nowhere/train_image", "--epochs=1", "--batch_size=1"]
                )
            ],
        ),
    }
    parts: list[str] = []
    for title, (settings, translations) in systems.items():
        dashes = "" if settings is ZooSettings else "--"
        parts += [f"### {title}\n", "| theirs | here |", "|---|---|"]
        for key in settings.model_fields:
            parts.append(f"| `{dashes}{key}` | {_escaped(BY_HAND.get(key) or _what_becomes_of(key, translations))} |")
        parts.append("")
    return "\n".join(parts)


def _what_becomes_of(key: str, translations: list[Any]) -> str:
    """Return our keys that come from one of theirs, or why nothing here needs it."""
    word = re.compile(rf"\b{key}\b")
    ours = {name for one in translations for name, origin in one.origins.items() if word.search(origin)}
    if ours:
        return ", ".join(f"`{name}`" for name in sorted(ours))
    reasons = [reason for one in translations for label, reason in one.unused.items() if word.search(label)]
    issues = [issue.here for one in translations for issue in one.known_issues if word.search(issue.key)]
    assert reasons or issues, f"nothing is said of {key}"
    return f"not used: {(reasons or issues)[0]}"


def _section(card: Definition) -> str:
    rows = {
        "formula": f"`{card.formula}`",
        "range": said_range(card),
        "classes": _quoted(card.classes),
        "averaging": _quoted(card.averaging),
        "absent class": card.absent,
        "decision": card.threshold,
        "pixels": card.resolution,
        "source": card.source,
    }
    table = "\n".join(f"| {name} | {_escaped(text)} |" for name, text in rows.items())
    return f"### `{card.name}`\n\n| | |\n|---|---|\n{table}\n"


def _quoted(text: str) -> str:
    """Keep `{class}` from being read as an attribute of the table's cell."""
    return text.replace(CLASS, f"`{CLASS}`")


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("*", "\\*")


if __name__ == "__main__":
    sys.exit(main())
