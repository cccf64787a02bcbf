"""Writes `docs/contract.html`, one page without any other file, from `schemas/asyncapi.yaml`. `--check` fails on drift.

Run it after changing that document or a schema.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
DOCUMENT = HERE.parent / "schemas" / "asyncapi.yaml"
TARGET = HERE / "contract.html"
Node = Mapping[str, Any]

_DAY_MS = 86_400_000
_TYPES = {
    "long": "whole number",
    "int": "whole number",
    "double": "number",
    "string": "text",
    "boolean": "true or false",
}
_STYLE = """\
:root { color-scheme: light dark; --ink: #1d2430; --soft: #5a6577; --paper: #fff; --card: #f5f7fa; --line: #dbe1e9;
  --accent: #0a6b4f; --code: #eaeef3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #9aa6b8; --paper: #12161c; --card: #1a2029;
  --line: #2d3643; --accent: #5fcfa8; --code: #252d39; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
.page { max-width: 76rem; margin: 0 auto; padding: 2rem 1.25rem 5rem; display: grid; gap: 0 3rem;
  grid-template-columns: minmax(0, 1fr); }
nav { font-size: .9rem; margin: 1rem 0 0; }
nav ul { list-style: none; margin: .25rem 0 1rem; padding: 0; }
nav li { padding: .15rem 0; overflow-wrap: anywhere; }
nav strong { color: var(--soft); font-weight: 600; }
a { color: var(--accent); text-decoration: none; }
a:hover, a:focus-visible { text-decoration: underline; }
@media (min-width: 64rem) { .page { grid-template-columns: 15rem minmax(0, 1fr); } header { grid-column: 2; }
  nav { grid-column: 1; grid-row: 1 / span 2; position: sticky; top: 2rem; align-self: start; }
  main { grid-column: 2; } }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 1rem; }
h1 small { color: var(--soft); font-size: 1rem; font-weight: 400; }
section { border-top: 1px solid var(--line); margin-top: 2.5rem; padding-top: 1.75rem; }
h2 { font: 600 1.3rem/1.3 ui-monospace, monospace; margin: 0; overflow-wrap: anywhere; }
h3 { font-size: 1.05rem; margin: 1.75rem 0 .25rem; }
.who { color: var(--accent); font-size: .8rem; font-weight: 600; margin: 0 0 .25rem; }
.lead { font-size: 1.1rem; margin: .25rem 0 1rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.25rem; margin: 1rem 0;
  background: var(--card); border-radius: .5rem; padding: .75rem 1rem; }
dt { color: var(--soft); }
dd { margin: 0; }
code { font: .875em ui-monospace, monospace; background: var(--code); border-radius: .25rem; padding: .1em .3em;
  overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; margin: .75rem 0; }
th { text-align: left; color: var(--soft); font-weight: 600; }
th, td { padding: .45rem .9rem .45rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
td:first-child, td:nth-child(2) { white-space: nowrap; }
td:last-child { min-width: 20rem; }
summary { cursor: pointer; color: var(--accent); margin: .75rem 0; }
"""


def load(path: Path = DOCUMENT) -> Any:
    """The document with every `$ref` in the place of which it stands; a reference to a file is read beside it."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return _resolved(document, document, path.parent)


def _resolved(node: Any, document: Node, folder: Path) -> Any:
    if isinstance(node, list):
        return [_resolved(each, document, folder) for each in node]
    if not isinstance(node, dict):
        return node
    target = node.get("$ref")
    if target is None:
        return {name: _resolved(value, document, folder) for name, value in node.items()}
    if not target.startswith("#/"):
        return json.loads((folder / target).read_text(encoding="utf-8"))
    found: Any = document
    for step in target.removeprefix("#/").split("/"):
        found = found[step]
    return _resolved(found, document, folder)


def headers_of(message: Node) -> tuple[dict[str, Node], set[str]]:
    """The headers of a message, those of its parts laid over each other, and which of them are always there."""
    parts: list[Node] = message.get("headers", {}).get("allOf", [message.get("headers", {})])
    properties: dict[str, Node] = {}
    for part in parts:
        for name, header in part.get("properties", {}).items():
            properties[name] = {**properties.get(name, {}), **header}
    return properties, {name for part in parts for name in part.get("required", [])}


def page(document: Node) -> str:
    """The whole page."""
    info = document["info"]
    groups: dict[str, list[tuple[str, Node]]] = {"You write": [], "You read": [], "Internal": []}
    for name, channel in document["channels"].items():
        groups[_who(document, name)].append((name, channel))
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en">',
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(info['title'])}: topics and rules</title>",
            f"<style>\n{_STYLE}</style>",
            '<div class="page">',
            "<header>",
            f"<h1>{escape(info['title'])} <small>{escape(info['version'])}: topics and rules</small></h1>",
            *_prose(info["description"]),
            "</header>",
            *_navigation(groups),
            "<main>",
            *_topics(groups),
            "</main>",
            "</div>",
            "</html>",
            "",
        ]
    )


def _who(document: Node, name: str) -> str:
    channel = document["channels"][name]
    if channel["summary"].startswith("Internal"):
        return "Internal"
    actions = {each["action"] for each in document["operations"].values() if each["channel"] == channel}
    return "You write" if actions == {"receive"} else "You read"


def _navigation(groups: Mapping[str, list[tuple[str, Node]]]) -> Iterator[str]:
    yield '<nav aria-label="Topics">'
    for who, channels in groups.items():
        yield f"<strong>{who}</strong>"
        yield "<ul>"
        yield from (f'<li><a href="#{name}">{escape(channel["address"])}</a></li>' for name, channel in channels)
        yield "</ul>"
    yield "</nav>"


def _topics(groups: Mapping[str, list[tuple[str, Node]]]) -> Iterator[str]:
    for who, channels in groups.items():
        for name, channel in channels:
            yield from _topic(name, who, channel)


def _topic(name: str, who: str, channel: Node) -> Iterator[str]:
    yield f'<section id="{name}">'
    yield f'<p class="who">{who}</p>'
    yield f"<h2>{escape(channel['address'])}</h2>"
    yield f'<p class="lead">{_inline(channel["summary"])}</p>'
    yield from _prose(channel["description"])
    settings = channel["bindings"]["kafka"]["topicConfiguration"]
    keys = {
        message["bindings"]["kafka"]["key"]["description"]: None
        for message in channel["messages"].values()
        if "bindings" in message
    }
    yield "<dl>"
    yield from (f"<dt>Key</dt><dd>{_inline(key)}</dd>" for key in keys)
    yield f"<dt>Kept</dt><dd>{_kept(settings)}</dd>"
    yield f"<dt>Settings</dt><dd>{', '.join(_setting(*each) for each in settings.items())}</dd>"
    yield "</dl>"
    for message in channel["messages"].values():
        yield from _message(message)
    yield "</section>"


def _kept(settings: Node) -> str:
    """What the settings mean for a reader, in words."""
    said = []
    if "compact" in settings["cleanup.policy"]:
        said.append("the newest record of each key")
    if "delete" in settings["cleanup.policy"]:
        said.append(f"for {settings['retention.ms'] // _DAY_MS} days")
    return ", ".join(said)


def _setting(name: str, value: object) -> str:
    text = ",".join(value) if isinstance(value, list) else json.dumps(value).strip('"')
    return f"<code>{escape(name)}={escape(text)}</code>"


def _message(message: Node) -> Iterator[str]:
    yield f"<h3>{escape(message['name'])}</h3>"
    yield f"<p>{_inline(message['summary'])}</p>"
    payload: Node = message["payload"]
    if "schema" in payload:
        yield from _table(("field", "type", "default", "what it says"), _fields(payload["schema"], {}, ""))
    elif "properties" in payload:
        rows = ((name, each["type"], "", each["description"]) for name, each in payload["properties"].items())
        yield from _table(("field", "type", "default", "what it says"), rows)
    elif payload.get("description"):
        yield f"<p>{_inline(payload['description'])}</p>"
    headers, required = headers_of(message)
    if headers:
        about = message["headers"].get("description", "")
        yield f"<details><summary>Headers of {escape(message['name'])}</summary>"
        yield from _prose(about)
        rows = (
            (name, "always" if name in required else "may be there", _words(header), header.get("description", ""))
            for name, header in headers.items()
        )
        yield from _table(("header", "when", "says", "what it means"), rows)
        yield "</details>"


def _words(header: Node) -> str:
    allowed = [header["const"]] if "const" in header else header.get("enum", [])
    return ", ".join(f"`{word}`" for word in allowed)


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield '<div class="scroll"><table>'
    yield f"<tr>{''.join(f'<th>{each}</th>' for each in head)}</tr>"
    for name, *rest in rows:
        yield f"<tr><td><code>{escape(name)}</code></td>{''.join(f'<td>{_inline(each)}</td>' for each in rest)}</tr>"
    yield "</table></div>"


def _fields(record: Node, named: dict[str, Node], before: str) -> Iterator[tuple[str, ...]]:
    """Each field of a record, those of records in it behind it, under names such as `schedule[].start`."""
    for field in record["fields"]:
        word, inner, steps = _type(field["type"], named)
        default = json.dumps(field["default"]) if "default" in field else ""
        doc = field["doc"]
        if inner is not None and inner["type"] == "enum" and not inner.get("doc", "").startswith(doc):
            doc = f"{doc} {inner['doc']}"
        elif inner is not None and inner["type"] == "enum":
            doc = inner["doc"]
        yield before + field["name"], word, f"`{default}`" if default else "", doc
        if inner is not None and inner["type"] == "record":
            yield from _fields(inner, named, f"{before}{field['name']}{steps}.")


def _type(told: Any, named: dict[str, Node]) -> tuple[str, Node | None, str]:
    """A type in words, the record or enum that it leads to, and the steps there."""
    if isinstance(told, str):
        return (_TYPES[told], None, "") if told in _TYPES else _type(named[told], named)
    if isinstance(told, list):
        [other] = [each for each in told if each != "null"]
        word, inner, steps = _type(other, named)
        return f"{word}, or null", inner, steps
    if told["type"] == "array":
        word, inner, steps = _type(told["items"], named)
        return f"list of {word}", inner, f"[]{steps}"
    if told["type"] in {"record", "enum"}:
        named[told["name"]] = told
        return f"`{told['name']}`", told, ""
    return "time", None, ""


def _prose(text: str) -> Iterator[str]:
    """Paragraphs and lists: as much of Markdown as the document uses."""
    for part in text.strip().split("\n\n"):
        if part.startswith("- "):
            yield "<ul>"
            yield from (f"<li>{_inline(' '.join(each.split()))}</li>" for each in part[2:].split("\n- "))
            yield "</ul>"
        elif part:
            yield f"<p>{_inline(' '.join(part.split()))}</p>"


def _inline(text: str) -> str:
    bold = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", escape(text, quote=False))
    return re.sub(r"`(.+?)`", r"<code>\1</code>", bold)


if __name__ == "__main__":
    wanted = page(load())
    if "--check" in sys.argv:
        same = TARGET.exists() and TARGET.read_text(encoding="utf-8") == wanted
        sys.exit(0 if same else "docs/contract.html is out of date: python docs/contract.py")
    TARGET.write_text(wanted, encoding="utf-8")
