"""The verb that shows configurations: config."""

import json
from typing import Annotated

import typer

from unetkit.cli.application import DataOption, FaithfulOption, Overrides, app, divided, require


@app.command()
def config(
    source: Annotated[str | None, typer.Argument(help="a preset or a YAML file", show_default=False)] = None,
    overrides: Overrides = None,
    data: DataOption = None,
    faithful: FaithfulOption = False,
    schema: Annotated[bool, typer.Option("--schema", help="print the JSON schema instead")] = False,
) -> None:
    """Print a configuration as annotated YAML, ready to be edited: unetkit config isbi.

    A founding system's is translated, with what each key came from and what of it is corrected.
    """
    from unetkit.config import annotated_yaml, json_schema, load_config, preset_names

    if schema:
        print(json.dumps(json_schema(), indent=2))
        return
    require(source, "a preset or a file", f"unetkit config isbi; presets: {', '.join(preset_names())}")
    ours, flags = divided(overrides or [])
    ours += [f"data.path={json.dumps(data)}"] if data else []
    if source in preset_names() and not (flags or faithful):  # needs no translation, nor what that has to import
        print(annotated_yaml(load_config(str(source), ours)), end="")
        return
    from unetkit.interop.configurations import translate_config

    translation = translate_config(str(source), ours, flags=flags, faithful=faithful)
    text = annotated_yaml(load_config(str(source), ours)) if translation is None else translation.annotated_yaml()
    print(text, end="")
