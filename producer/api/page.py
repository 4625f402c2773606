"""What the API offers, as one page for people: no script, and nothing from another server.

A page whose script came from elsewhere would be blank without the internet, and the script would
have the rights of whoever looks at it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} {version}</title>
<link rel="icon" href="data:,">
<style>
:root {{ color-scheme: light dark }}
body {{ font: 16px/1.5 system-ui, sans-serif }}
body {{ max-width: 52rem; margin: 2rem auto; padding: 0 1rem }}
h2 {{ font-size: 1rem; margin: 2rem 0 0; overflow-wrap: anywhere }}
code, pre {{ font-family: ui-monospace, monospace; font-size: .9em }}
pre {{ overflow-x: auto; padding: .8rem; border: 1px solid #8884; border-radius: .4rem }}
p {{ margin: .3rem 0 }}
table {{ border-collapse: collapse; width: 100% }}
td {{ border-top: 1px solid #8884; padding: .25rem .8rem .25rem 0; vertical-align: top }}
td:first-child {{ white-space: nowrap }}
td:last-child {{ width: 100% }}
</style>
<h1>{title} {version}</h1>
<p>{description} For programs: <a href="openapi.json">openapi.json</a>.</p>
<pre>curl -s {base}v1/edits -F image=@mug.jpg -F instruction='make the mug red'
curl -s {base}v1/edits/ID                    # as it is now
curl -sL {base}v1/edits/ID/result -o red.png # its picture</pre>
{operations}
</html>
"""


def page(described: Mapping[str, Any], *, base: str) -> str:
    """HTML of an OpenAPI document; ``base`` is where its paths begin."""
    operations = "\n".join(
        _operation(method.upper(), path, one, described)
        for path, methods in described["paths"].items()
        for method, one in methods.items()
    )
    told = {name: escape(str(one)) for name, one in described["info"].items()}
    return _PAGE.format(**told, base=escape(base), operations=operations)


def _operation(method: str, path: str, one: Mapping[str, Any], described: Mapping[str, Any]) -> str:
    rows = [_row(*field) for field in _fields(one, described)]
    table = f"<table>{''.join(rows)}</table>" if rows else ""
    heading = f"<h2><code>{method} {escape(path)}</code></h2>"
    return f"{heading}<p>{_told(one.get('description', ''))}</p>{table}"


def _fields(
    one: Mapping[str, Any], described: Mapping[str, Any]
) -> Iterator[tuple[str, bool, Mapping[str, Any]]]:
    """Name, whether it must be given, and its schema."""
    for body in one.get("requestBody", {}).get("content", {}).values():
        form = _whole(body["schema"], described)
        for name, schema in form["properties"].items():
            yield name, name in form.get("required", ()), _whole(schema, described)
    for each in one.get("parameters", ()):
        place = "A header. " if each["in"] == "header" else ""
        schema = {**each["schema"], "description": f"{place}{each.get('description', '')}"}
        if each["in"] != "path":  # that stands above
            yield each["name"], each["required"], _whole(schema, described)


def _whole(schema: Mapping[str, Any], described: Mapping[str, Any]) -> Mapping[str, Any]:
    """With what it refers to: by itself, or as what may stand beside null."""
    for one in (schema, *schema.get("anyOf", ())):
        if "$ref" in one:
            name = one["$ref"].rpartition("/")[2]
            return {**described["components"]["schemas"][name], **schema}
    return schema


def _row(name: str, is_required: bool, schema: Mapping[str, Any]) -> str:  # noqa: FBT001 - a cell
    usual = schema.get("default")
    notes = ["Required."] if is_required else []
    notes += [schema["description"]] if schema.get("description") else []
    if choices := schema.get("enum"):
        notes.append(f"One of {', '.join(f'`{one}`' for one in choices)}.")
    notes += [f"Left out: `{usual}`."] if usual not in (None, "", False, [], {}) else []
    return f"<tr><td><code>{escape(name)}</code></td><td>{_told(' '.join(notes))}</td></tr>"


def _told(text: str) -> str:
    """As HTML, with what stands in backticks as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
