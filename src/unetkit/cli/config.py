"""The verb that shows configurations: config."""

import json
from typing import Annotated

import typer

from unetkit.cli.application import Overrides, app, require


@app.command()
def config(
    source: Annotated[str | None, typer.Argument(help="a preset or a YAML file", show_default=False)] = None,
    overrides: Overrides = None,
    schema: Annotated[bool, typer.Option("--schema", help="print the JSON schema instead")] = False,
) -> None:
    """Print a configuration as annotated YAML, ready to be edited: unetkit config isbi."""
    from unetkit.config import annotated_yaml, json_schema, load_config, preset_names

    if schema:
        print(json.dumps(json_schema(), indent=2))
        return
    require(source, "a preset or a file", f"unetkit config isbi; presets: {', '.join(preset_names())}")
    print(annotated_yaml(load_config(str(source), overrides or [])), end="")
