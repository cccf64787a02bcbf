"""The settings: what the environment may say, and the sentence that answers when it says something else."""

import pytest

from processor.settings import PREFIX, Settings, SettingsWrong, load, variables

SECRET = "hunter2-hunter2"


def sentence(**environ: str) -> str:
    """What `load` says against these variables; the prefix is put before each."""
    with pytest.raises(SettingsWrong) as refused:
        load({PREFIX + name: value for name, value in environ.items()})
    return str(refused.value)


def test_an_empty_environment_gives_the_defaults() -> None:
    """Without a variable every setting has its default, and other programs' variables change nothing."""
    assert load({}) == Settings() == load({"PATH": "/bin", "KAFKA__GROUP_ID": "other"})
    assert load({}).axle.base_url == "https://api-sandbox.axle.energy"
    assert load({}).http.host == "127.0.0.1"


def test_variables_reach_their_group() -> None:
    """A variable sets the field of its group, converted to the field's type, and a top-level one its own."""
    settings = load(
        {
            f"{PREFIX}ENVIRONMENT": "prod",
            f"{PREFIX}KAFKA__BOOTSTRAP_SERVERS": "a:1,b:2",
            f"{PREFIX}HTTP__PORT": "0",
            f"{PREFIX}AXLE__GIVE_UP_AFTER_SECONDS": "90",
        }
    )
    assert (settings.environment, settings.kafka.bootstrap_servers) == ("prod", "a:1,b:2")
    assert (settings.http.port, settings.axle.give_up_after_seconds) == (0, 90.0)
    assert settings.pauses == Settings().pauses


def test_extra_options_come_as_json() -> None:
    """Further librdkafka options are one JSON object of strings."""
    settings = load({f"{PREFIX}KAFKA__EXTRA": '{"ssl.key.location": "/keys/client.pem"}'})
    assert settings.kafka.extra == {"ssl.key.location": "/keys/client.pem"}


@pytest.mark.parametrize("extra", ["no json", '{"a.b": 1}', "[]"])
def test_extra_options_that_are_no_json_of_strings_name_their_variable(extra: str) -> None:
    """Whatever is wrong inside `extra`, the variable named is the one that exists."""
    assert sentence(KAFKA__EXTRA=extra).startswith(f"{PREFIX}KAFKA__EXTRA: ")


def test_an_unknown_variable_is_one_sentence_with_a_proposal() -> None:
    """A misspelt variable is refused and the nearest one proposed; a group alone is no variable either."""
    assert sentence(KAFKA__GROUPID="x") == (
        f"{PREFIX}KAFKA__GROUPID is not a setting; did you mean {PREFIX}KAFKA__GROUP_ID?"
    )
    assert "is not a setting" in sentence(KAFKA="x")
    assert "\n" not in sentence(KAFKA__GROUPID="x")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTP__PORT", "eighty"),
        ("HTTP__PORT", "65536"),
        ("AXLE__CALLS_MAX", "0"),
        ("LOG__LEVEL", "loud"),
        ("KAFKA__SECURITY_PROTOCOL", "tls"),
        ("PAUSES__TOTAL_MAX_MINUTES", "inf"),
        ("AXLE__GIVE_UP_AFTER_SECONDS", "nan"),
        ("AXLE__GIVE_UP_AFTER_SECONDS", "0.0001"),
        ("PAUSES__MIN_MINUTES", "0.000001"),
        ("ONBOARDING__FORM", "newer"),
        ("ONBOARDING__ON_WITHDRAWAL", "forget"),
        ("ONBOARDING__ELSEWHERE", "perhaps"),
        ("ONBOARDING__LIFE_HOURS", "0"),
        ("ONBOARDING__NOT_FOUND_HOURS", "0"),
        ("QUESTIONS__EVERY_SECONDS", "-1"),
        ("QUESTIONS__AT_ONCE_MAX", "0"),
        ("BOOSTS__BEFORE_PLUG_IN_MINUTES", "-1"),
        ("BOOSTS__OPEN_END_HOURS", "0"),
        ("BOOSTS__MAX_HOURS", "721"),
        ("SITES__CHARGERS_MAX", "0"),
        ("INPUTS__AGE_MAX_DAYS", "0"),
        ("INPUTS__AHEAD_MAX_MINUTES", "-1"),
        ("INPUTS__SCHEDULE_MAX_HOURS", "0"),
        ("INPUTS__SCHEDULE_BLOCKS_MAX", "0"),
        ("STATE__WRITE_VERSION", "0"),
    ],
)
def test_a_wrong_value_names_its_variable_on_one_line(name: str, value: str) -> None:
    """A value of the wrong type, beyond its limits or not finite is answered by one line that begins with the name."""
    said = sentence(**{name: value})
    assert said.startswith(f"{PREFIX}{name}: ")
    assert "\n" not in said


def test_two_wrong_values_are_two_lines() -> None:
    """All wrong values are told at once, a line each."""
    lines = sentence(HTTP__PORT="x", AXLE__CALLS_MAX="y").splitlines()
    assert sorted(line.partition(":")[0] for line in lines) == [f"{PREFIX}AXLE__CALLS_MAX", f"{PREFIX}HTTP__PORT"]


@pytest.mark.parametrize("transaction", ["10", "11"])
def test_a_transaction_ends_before_the_session(transaction: str) -> None:
    """A transaction timeout that is not below the session timeout is refused, and both variables are named."""
    assert sentence(KAFKA__TRANSACTION_TIMEOUT_SECONDS=transaction, KAFKA__SESSION_TIMEOUT_SECONDS="10") == (
        f"{PREFIX}KAFKA__TRANSACTION_TIMEOUT_SECONDS must be below {PREFIX}KAFKA__SESSION_TIMEOUT_SECONDS"
    )


@pytest.mark.parametrize("wrong", [{"PAUSES__MIN_MINUTES": "61"}, {"PAUSES__TOTAL_MAX_MINUTES": "59"}])
def test_the_limits_of_pauses_rise(wrong: dict[str, str]) -> None:
    """The least, the longest and the sum of pauses must rise, equal ones being allowed."""
    assert f"{PREFIX}PAUSES__MIN_MINUTES must be at most {PREFIX}PAUSES__MAX_MINUTES" in sentence(**wrong)
    load({f"{PREFIX}PAUSES__MIN_MINUTES": "60", f"{PREFIX}PAUSES__TOTAL_MAX_MINUTES": "60"})


def test_an_open_boost_is_not_cut_at_once() -> None:
    """A boost without an end may last as long as the longest boost, and no longer."""
    assert sentence(BOOSTS__OPEN_END_HOURS="49") == (
        f"{PREFIX}BOOSTS__OPEN_END_HOURS must be at most {PREFIX}BOOSTS__MAX_HOURS"
    )
    load({f"{PREFIX}BOOSTS__OPEN_END_HOURS": "49", f"{PREFIX}BOOSTS__MAX_HOURS": "49"})


def test_unenrolling_needs_the_form_that_enrols_again() -> None:
    """A household that was only unenrolled comes back by the upsert alone, so the guide's form is refused beside it."""
    told = sentence(ONBOARDING__ON_WITHDRAWAL="unenrol")
    assert told.startswith(f"{PREFIX}ONBOARDING__ON_WITHDRAWAL=unenrol needs {PREFIX}ONBOARDING__FORM=upsert")
    settings = load({f"{PREFIX}ONBOARDING__ON_WITHDRAWAL": "unenrol", f"{PREFIX}ONBOARDING__FORM": "upsert"})
    assert (settings.onboarding.on_withdrawal, settings.onboarding.form) == ("unenrol", "upsert")
    assert load({f"{PREFIX}ONBOARDING__FORM": "upsert"}).onboarding.on_withdrawal == "offboard"


def test_all_broken_relations_are_told_at_once() -> None:
    """Settings that contradict each other are a line each, as wrong values are."""
    told = sentence(PAUSES__MIN_MINUTES="61", BOOSTS__MAX_HOURS="1", ONBOARDING__ON_WITHDRAWAL="unenrol")
    assert [line.split("__")[0].removeprefix(PREFIX) for line in told.splitlines()] == [
        "PAUSES",
        "BOOSTS",
        "ONBOARDING",
    ]


@pytest.mark.parametrize(
    ("text", "minutes"), [("0,1,10,60", (0, 1, 10, 60)), (" 0.5 , 2 ", (0.5, 2)), ("5", (5,)), ("", (0, 1, 10, 60))]
)
def test_look_ups_are_numbers_with_commas(text: str, minutes: tuple[float, ...]) -> None:
    """When to look a charger up is a list of minutes, spaces or not."""
    assert load({f"{PREFIX}ONBOARDING__LOOK_UP_MINUTES": text}).onboarding.look_up_minutes == minutes


@pytest.mark.parametrize(
    "text", ["a", "0,,1", ",", "[0,1]", "1,1", "10,1", "-1,2", "nan", "0,inf", "1e9", "0,1,2,3,4,5,6,7,8,9,10"]
)
def test_look_ups_that_do_not_rise_name_their_variable(text: str) -> None:
    """What is no rising list of at most ten finite numbers is one line with the variable."""
    told = sentence(ONBOARDING__LOOK_UP_MINUTES=text)
    assert told.startswith(f"{PREFIX}ONBOARDING__LOOK_UP_MINUTES: ")
    assert "\n" not in told


def test_a_default_is_shown_as_it_would_be_written() -> None:
    """Whoever copies a default out of the table into the environment changes nothing."""
    shown = {name: str(default) for name, _, default in variables() if default not in (None, "") and "KEY" not in name}
    assert (shown[f"{PREFIX}ONBOARDING__LOOK_UP_MINUTES"], shown[f"{PREFIX}ONBOARDING__ELSEWHERE"]) == (
        "0,1,10,60",
        "false",
    )
    assert load({name: default for name, default in shown.items() if "*" not in default}) == Settings()


@pytest.mark.parametrize("show", [repr, str, lambda settings: settings.model_dump_json(exclude={"kafka": {"extra"}})])
@pytest.mark.parametrize("name", ["AXLE__PASSWORD", "KAFKA__SASL_PASSWORD", "PRIVACY__KEY", "KAFKA__EXTRA"])
def test_secrets_do_not_show(name: str, show: "type[str]") -> None:
    """Whoever prints the settings prints no password, no key and no further option of librdkafka."""
    value = f'{{"ssl.key.password": "{SECRET}"}}' if name == "KAFKA__EXTRA" else SECRET
    settings = load({PREFIX + name: value})
    assert settings != Settings()
    assert SECRET not in show(settings)


def test_a_refusal_tells_no_secret() -> None:
    """A wrong value beside a password, or in place of one, does not carry it into the sentence."""
    assert SECRET not in sentence(AXLE__PASSWORD=SECRET, HTTP__PORT="x")
    assert SECRET not in sentence(KAFKA__EXTRA=f'{{"ssl.key.password": "{SECRET}", "a": 1}}')
    assert SECRET not in sentence(AXLE__PASSWRD=SECRET)


def test_the_table_has_every_field_with_a_sentence() -> None:
    """`variables` lists each field of each group once, and says what it is for in a sentence."""
    groups = {name: field.default for name, field in Settings.model_fields.items() if name != "environment"}
    fields = {
        f"{PREFIX}{group}__{name}".upper() for group, value in groups.items() for name in type(value).model_fields
    }
    rows = list(variables())
    assert sorted(name for name, _, _ in rows) == sorted(fields | {f"{PREFIX}ENVIRONMENT"})
    assert [name for name, about, _ in rows if len(about) < 10] == []


def test_an_empty_variable_counts_as_one_that_is_not_set() -> None:
    """Compose files and charts leave variables empty; that must not mean the empty text, or no number."""
    assert load({f"{PREFIX}AXLE__GIVE_UP_AFTER_SECONDS": "", f"{PREFIX}KAFKA__INSTANCE_ID": ""}) == load({})
