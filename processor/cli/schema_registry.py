"""The codec of the settings: how this installation's records look as bytes, for whoever reads or writes a few of them.

What a registry is asked is in `shell/schema_registry.py`; a running processor has a list of its own
(`shell/known_schemas.py`). The one idea: a verb, unlike a processor, may wait for an answer. So where a record names a
schema that is not known yet, the registry is asked on the spot, once for each id.
"""

from collections.abc import Callable, Collection, Iterable
from contextlib import closing

from processor.cli.wiring import registry_of, topic_names
from processor.settings import Settings
from processor.shell.schema_files import schema_texts
from processor.shell.schema_registry import Registry, RegistryAccount, registry_codec, subjects_of
from processor.wire.avro import Codec
from processor.wire.registered import Named, Version

ASKED_MAX = 20
"""Ids that one run asks for; a topic full of foreign ones must not become a storm."""


def codec_of(settings: Settings, records: Collection[str], writes: Collection[str] = ()) -> Codec:
    """What reads and writes these records (full names), as the settings say: with a schema registry or without one.

    `writes`: those that will be written. What asks the registry, also later where something is read with the codec,
    raises RegistryFailed, and RegistryWrong where that is for the operator to mend.
    """
    account = registry_of(settings)
    if account is None:
        return Codec(schema_texts())
    subjects = {name: its for name, its in subjects_of(topic_names(settings)).items() if name in records}
    with closing(Registry(account)) as registry:
        return registry_codec(registry, subjects, writes, _asking(account))


def _asking(account: RegistryAccount) -> Callable[[str, int], Iterable[Version]]:
    asked: set[Named] = set()

    def ask(subject: str, schema_id: int) -> Iterable[Version]:
        if (subject, schema_id) in asked or len(asked) >= ASKED_MAX:
            return ()
        with closing(Registry(account)) as registry:
            found = registry.versions(subject)
        asked.add((subject, schema_id))
        return [(each.schema_id, each.text) for each in found]

    return ask
