"""`axle-processor config env`: every variable there is."""

import orjson

from processor.settings import variables


def config_verb(*, as_json: bool) -> int:
    """Print the table. Returns the exit code."""
    rows = [
        {"name": name, "default": None if default is None else str(default), "about": about}
        for name, about, default in variables()
    ]
    if as_json:
        print(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
        return 0
    for row in rows:
        print(f"# {row['about']}\n# {row['name']}={row['default'] or ''}")
    return 0
