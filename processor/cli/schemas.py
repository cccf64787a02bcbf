"""`axle-processor schemas check|register`: do the schemas of this release break anybody, and who has them.

Here lives which earlier schemas count and what is said; what breaks is `wire/compatibility.py`'s, a registry is
`shell/schema_registry.py`'s. The one idea: both ways of checking, against a registry and against folders of earlier
releases, ask the same question in the same words. A registry is asked for its own rule besides, since that is what it
will go by. Inputs: we must read what was ever written. Outputs: also their readers must read what we write.
"""

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path

import orjson

from processor.cli.wiring import topic_names
from processor.settings import PREFIX, Settings, SettingsWrong, load
from processor.shell.exits import EXIT_CONFIGURATION, EXIT_FAILURE, EXIT_UNREACHABLE, EXIT_USAGE
from processor.shell.schema_files import schema_texts
from processor.shell.schema_registry import (
    Registered,
    Registry,
    RegistryAccount,
    RegistryFailed,
    RegistryRefused,
    RegistryWrong,
    subject_of,
)
from processor.shell.topics import TopicNames
from processor.wire.avro import INPUT_RECORDS
from processor.wire.compatibility import Break, Rule, breaks


class _Usage(Exception):
    """The options do not go together. One sentence."""


@dataclass(frozen=True, slots=True)
class SchemasOptions:
    """`registry`: its URL, else the setting's. `against`: folders of earlier releases. `schemas`: instead of ours."""

    registry: str | None = None
    against: Sequence[Path] = ()
    schemas: Path | None = None
    json: bool = False


@dataclass(frozen=True, slots=True)
class _Ours:
    """One of our schemas. `topic` is what its topic is called by default, `subject` what a registry knows it as."""

    topic: str
    subject: str
    rule: Rule
    text: str


@dataclass(slots=True)
class _Finding:
    """What one schema was compared with, and what it breaks, by where."""

    name: str
    rule: Rule
    compared: list[str] = field(default_factory=list)
    broken: dict[Break, list[str]] = field(default_factory=dict)

    def compare(self, label: str, earlier: str, new: str) -> None:
        """Take in what the new schema breaks of this earlier one."""
        self.compared.append(label)
        try:
            found = breaks(earlier, new, self.rule)
        except ValueError as wrong:
            found = [Break("the schema", "cannot be compared", str(wrong))]
        for each in found:
            self.broken.setdefault(each, []).append(label)

    def lines(self) -> list[str]:
        """For a person."""
        if not self.compared and not self.broken:
            return [f"{self.name}  {self.rule}  nothing earlier to compare with"]
        if not self.broken:
            return [f"{self.name}  {self.rule}  compatible with {', '.join(self.compared)}"]
        told = [f"  {each}  [{', '.join(labels)}]" for each, labels in self.broken.items()]
        return [f"{self.name}  {self.rule}  breaks:", *told]

    def told(self) -> dict[str, object]:
        """For a program."""
        problems = [{**asdict(each), "in": labels} for each, labels in self.broken.items()]
        return {"name": self.name, "rule": self.rule, "compared_with": self.compared, "problems": problems}


@dataclass(frozen=True, slots=True)
class _Step:
    """What registering means for one subject. `there`: the version that has this very schema."""

    ours: _Ours
    there: Registered | None
    level: str | None

    def line(self, schema_id: int | None, *, applied: bool) -> str:
        """For a person; `schema_id` is what it was registered as just now."""
        would, rule = "" if applied else "would be ", self.ours.rule
        if self.there:
            said = f"is registered: version {self.there.version}, id {self.there.schema_id}"
        else:
            said = f"{would}registered" + (f": id {schema_id}" if schema_id is not None else "")
        if self.level is None:
            return f"{self.ours.subject}  {said}; the rule {rule} {would}set"
        kept = "" if self.level == rule else f"; its rule is {self.level}, not {rule}: that is left to you"
        return f"{self.ours.subject}  {said}{kept}"

    def told(self, schema_id: int | None) -> dict[str, object]:
        """For a program. `registered_id` and `rule_there` are null where there is none yet."""
        known = self.there.schema_id if self.there else schema_id
        return {
            "subject": self.ours.subject,
            "is_new": self.there is None,
            "registered_id": known,
            "rule": self.ours.rule,
            "rule_there": self.level,
        }


def check_verb(options: SchemasOptions) -> int:
    """Say what the schemas break. Returns the exit code: 1 where they break anything."""

    def work() -> int:
        settings = load()
        ours = _ours(settings, options.schemas)
        if options.against and options.registry:
            raise _Usage("give --registry or --against, not both")
        if options.against:
            return _said(_in_folders(ours, options.against), as_json=options.json)
        with closing(_registry(options, settings)) as registry:
            findings = [_in_registry(registry, each, registry.versions(each.subject)) for each in ours]
        return _said(findings, as_json=options.json)

    return _exit_code(work)


def register_verb(options: SchemasOptions, *, apply: bool) -> int:
    """Show, or with `apply` carry out, what the registry lacks of the schemas. Returns the exit code.

    A single schema that breaks anything keeps all of them out. A second run finds nothing left to do.
    """

    def work() -> int:
        settings = load()
        ours = _ours(settings, options.schemas)
        with closing(_registry(options, settings)) as registry:
            return _registered(registry, ours, options, apply=apply)

    return _exit_code(work)


def _registered(registry: Registry, ours: Sequence[_Ours], options: SchemasOptions, *, apply: bool) -> int:
    known = {each.subject: registry.versions(each.subject) for each in ours}
    findings = [_in_registry(registry, each, known[each.subject]) for each in ours]
    if any(finding.broken for finding in findings):
        print("nothing is registered:", file=sys.stderr)
        return _said(findings, as_json=options.json)
    steps = [_Step(each, _same(each.text, known[each.subject]), registry.level(each.subject)) for each in ours]
    told = []
    for step in steps:
        schema_id = _carried_out(registry, step) if apply else None
        told.append(step.told(schema_id))
        if not options.json:
            print(step.line(schema_id, applied=apply))
    if options.json:
        print(orjson.dumps(told).decode())
    elif not apply:
        print("nothing was changed; --apply does it", file=sys.stderr)
    return 0


def _carried_out(registry: Registry, step: _Step) -> int | None:
    """The schema comes first: some registries have no rules for a subject without one."""
    schema_id = None if step.there else registry.register(step.ours.subject, step.ours.text)
    if step.level is None:
        registry.set_level(step.ours.subject, step.ours.rule)
    return schema_id


def _exit_code(work: Callable[[], int]) -> int:
    try:
        return work()
    except _Usage as wrong:
        print(f"usage: {wrong}", file=sys.stderr)
        return EXIT_USAGE
    except (SettingsWrong, RegistryWrong) as wrong:
        print(f"configuration: {wrong}", file=sys.stderr)
        return EXIT_CONFIGURATION
    except RegistryRefused as refused:
        print(f"schema registry: it refuses: {refused}; `schemas register` shows what is left to do", file=sys.stderr)
        return EXIT_FAILURE
    except RegistryFailed as failure:
        print(f"schema registry: {failure}", file=sys.stderr)
        return EXIT_UNREACHABLE
    except KeyboardInterrupt:
        print("stopped; `schemas register` shows what is left to do", file=sys.stderr)
        return EXIT_FAILURE


def _registry(options: SchemasOptions, settings: Settings) -> Registry:
    given = settings.schema_registry
    url = options.registry or given.url
    if not url:
        raise _Usage(f"give --registry URL, set {PREFIX}SCHEMA_REGISTRY__URL, or check --against a folder")
    return Registry(RegistryAccount(url, given.username, given.password.get_secret_value(), given.ca_file))


def _ours(settings: Settings, folder: Path | None) -> list[_Ours]:
    """Raises SettingsWrong."""
    texts = schema_texts() if folder is None else _texts(folder)
    called = dict(zip(astuple(TopicNames()), astuple(topic_names(settings)), strict=True))
    return [_Ours(name, subject_of(called.get(name, name)), _rule(text), text) for name, text in texts.items()]


def _rule(text: str) -> Rule:
    """What is no input of ours is somebody else's: readers of it must be spared too."""
    try:
        schema = orjson.loads(text)
        is_input = f"{schema['namespace']}.{schema['name']}" in INPUT_RECORDS.values()
    except (orjson.JSONDecodeError, TypeError, KeyError):
        is_input = False
    return Rule.BACKWARD if is_input else Rule.FULL


def _texts(folder: Path) -> dict[str, str]:
    """Raises SettingsWrong."""
    try:
        texts = {path.stem: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.avsc"))}
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsWrong(f"{folder} cannot be read: {error}") from error
    if not texts:
        raise SettingsWrong(f"{folder} has no schemas (*.avsc); give the folder that holds them")
    return texts


def _in_folders(ours: Sequence[_Ours], folders: Sequence[Path]) -> list[_Finding]:
    """Against earlier releases, whose files are named as ours are. Raises SettingsWrong."""
    findings = {each.topic: _Finding(each.topic, each.rule) for each in ours}
    texts = {each.topic: each.text for each in ours}
    for folder in folders:
        for name, earlier in _texts(folder).items():
            if name in texts:
                findings[name].compare(str(folder), earlier, texts[name])
            else:
                gone = findings.setdefault(name, _Finding(name, _rule(earlier)))
                lost = Break("the schema", "is gone", "whoever uses its topic is left without it")
                gone.broken.setdefault(lost, []).append(str(folder))
    return list(findings.values())


def _in_registry(registry: Registry, ours: _Ours, known: Sequence[Registered]) -> _Finding:
    finding = _Finding(ours.subject, ours.rule)
    for each in known:
        finding.compare(f"version {each.version}", each.text, ours.text)
    if known and not finding.broken and not registry.accepts(ours.subject, ours.text):
        level = registry.level(ours.subject) or "for all subjects"
        refused = Break("the schema", "would be refused", f"the registry's own rule, {level}, says so")
        finding.broken[refused] = finding.compared[-1:]
    return finding


def _same(text: str, known: Sequence[Registered]) -> Registered | None:
    """Layout aside: registries keep a text as it was given, or in a form of their own."""
    return next((each for each in known if json.loads(each.text) == json.loads(text)), None)


def _said(findings: Sequence[_Finding], *, as_json: bool) -> int:
    broken = sum(bool(finding.broken) for finding in findings)
    if as_json:
        print(orjson.dumps([finding.told() for finding in findings]).decode())
    else:
        for finding in findings:
            print("\n".join(finding.lines()))
        print(f"{len(findings)} schemas, {broken} that would break something", file=sys.stderr)
    return EXIT_FAILURE if broken else 0
