"""What is promised, one method each: the five promises of the product, and what has to hold for them to be kept.

Each is held against what was said (`said.py`) and against what Axle was told, never against what the core thinks of
itself. Those of a step are asked after every event, those of the home whenever something happened or time passed,
those of an end once Axle has answered everything.
"""

from collections import Counter
from dataclasses import dataclass, field

from processor.core.decide import decide
from processor.core.events import (
    Action,
    Due,
    InputEvent,
    LookedUp,
    Offboarded,
    Onboarded,
    PlugIn,
    Removed,
    ScheduleAnswered,
    UserBoost,
)
from processor.core.intents import AskSchedule, Offboard, Onboard, Remove
from processor.core.outputs import (
    Alarm,
    AlarmKind,
    Enrolled,
    EnrolmentStatus,
    Erased,
    ModifiedSchedule,
    Outcome,
    Output,
    Status,
)
from processor.core.rules import WithdrawalAction
from processor.core.schedule import Schedule, before, intersect, is_subset, since, subtract, total_ms, union
from processor.core.site import Site, consent_state, due_at_ms, is_erased
from processor.wire.state import decode_site, encode_site
from tests.core.axle_double import NEIGHBOUR
from tests.core.evening import Evening, Step, is_too_old, lane_of, promised, ways_to_end
from tests.core.said import concerns
from tests.core.world import ENROLMENT, MPAN, STRANGER, waiting

CORRECTED = "1234567890124"
"""The household's meter once somebody noticed the typing error."""
METERS = (MPAN, CORRECTED)
FOR_A_PERSON = {AlarmKind.CHARGER_CONFLICT, AlarmKind.UNOWNED_SITE_FOUND}
PERSONAL = (*METERS, ENROLMENT.street_address, ENROLMENT.postcode)


@dataclass
class Promises:
    """Everything that is promised about one evening."""

    evening: Evening = field(init=False)
    honest: bool = True
    """Whether Axle has told no lie so far."""
    records: dict[str, list[ModifiedSchedule]] = field(default_factory=dict)
    """What was published about each charger since the household was last forgotten."""
    outputs: list[Output] = field(default_factory=list)
    newest_wish: dict[str, str] = field(default_factory=dict)
    given: Counter[str] = field(default_factory=Counter)
    gone: set[str] = field(default_factory=set)
    """Ids of what Axle said it has deleted."""

    def of_a_step(self, step: Step) -> None:
        """All that has to hold of one event and what came of it."""
        for record in step.outputs:
            if isinstance(record, ModifiedSchedule):
                mine = self.records.setdefault(record.charger_id, [])
                self.the_driver_wins(step, record, mine)
                self.a_pause_is_one_that_axle_answered(step, record, mine)
                self.pauses_are_few_and_short(record, mine)
                self.records_form_a_chain(record, mine)
                mine.append(record)
        self.nobody_waits_for_a_call(step)
        self.no_input_has_two_outcomes(step)
        self.what_is_owed_is_called_before_it_goes(step)
        self.a_question_keeps_its_number(step)
        self.a_wake_is_enough(step)
        self.the_changelog_equals_the_fold(step.after)
        self.outputs_are_without_personal_data(step)
        self.an_erased_household_left_nothing(step)
        self.outputs.extend(step.outputs)
        self._remember_what_is_gone(step)

    def of_the_home(self) -> None:
        """All that has to hold at any time."""
        self.a_live_session_has_its_newest_wish_published()
        self.nothing_is_paused_that_must_not_be()
        self.withdrawn_is_withdrawn()
        self.the_wish_was_published_before_axle_was_asked()
        self.one_call_a_lane()
        self.no_question_waits_longer_than_its_budget()
        self.what_axle_deleted_is_left_alone()
        self.personal_data_is_only_kept_for_an_onboarding()
        self.every_input_waits_or_has_its_outcome()

    def of_an_end(self) -> None:
        """All that has to hold once Axle has answered everything."""
        self.nothing_is_left_undone()
        if self.honest:
            self.axle_has_who_is_enrolled()
            self.axle_has_nobody_who_left()
            self.axle_has_no_empty_home()
        self.back_ends_were_told_how_it_ended()

    # 1. The driver wins

    def the_driver_wins(self, step: Step, record: ModifiedSchedule, mine: list[ModifiedSchedule]) -> None:
        """What is published is what the driver wants, less pauses that answer that very wish."""
        charger_id, said = record.charger_id, self.evening.said
        assert record.requested == said.wanted(charger_id, step.now_ms)
        assert record.effective == subtract(record.requested, record.pauses)
        assert record.final is (record.status is not Status.REQUESTED)
        assert bool(record.pauses) is (record.status is Status.MODIFIED)
        if record.pauses:
            assert record.caused_by.event_id == self.newest_wish[charger_id] == mine[-1].caused_by.event_id
            assert is_subset(record.pauses, record.requested)
            assert not intersect(record.pauses, said.boosted(charger_id, step.now_ms))

    def a_live_session_has_its_newest_wish_published(self) -> None:
        """Whatever lies ahead of a wish was published, whoever has to be asked about it."""
        now_ms = self.evening.now_ms
        for charger_id in self.evening.said.chargers:
            wanted = since(self.evening.said.wanted(charger_id, now_ms), now_ms)
            records = self.records.get(charger_id)
            assert since(records[-1].requested, now_ms) == wanted if records else not wanted

    # 2. Withdrawn is withdrawn

    def withdrawn_is_withdrawn(self) -> None:
        """No question, no onboarding, no personal data."""
        if not self.evening.said.withdrawn:
            return
        site = self.evening.site
        assert site.enrolment is None
        assert not any(isinstance(call, AskSchedule | Onboard) for call in self.evening.owed)
        assert all(charger.question is None for charger in site.chargers)
        assert not any(personal.encode() in encode_site(site) for personal in PERSONAL)

    def nothing_is_paused_that_must_not_be(self) -> None:
        """Who withdrew, left, or did something that nobody understands charges as he likes."""
        said, now_ms = self.evening.said, self.evening.now_ms
        for charger_id, records in self.records.items():
            if said.must_leave(charger_id) or said.halted(charger_id):
                assert not since(records[-1].pauses, now_ms)

    # 3. Silence means charge

    def a_pause_is_one_that_axle_answered(
        self, step: Step, record: ModifiedSchedule, mine: list[ModifiedSchedule]
    ) -> None:
        """No pause without an answer, and none but those in it, to the question about the record before."""
        if not record.pauses:
            return
        answer = step.event
        assert isinstance(answer, ScheduleAnswered)
        assert answer.answered is not None
        assert (mine[-1].status, mine[-1].revision) == (Status.REQUESTED, answer.number)
        assert is_subset(record.pauses, subtract(answer.sent, answer.answered))

    def pauses_are_few_and_short(self, record: ModifiedSchedule, mine: list[ModifiedSchedule]) -> None:
        """The caps hold for a session as a whole, and a charger has time to hear of a pause."""
        if not record.pauses:
            return
        rules = self.evening.rules
        assert record.pauses[0][0] >= record.decided_at_ms + rules.lead_ms
        served: Schedule = ()
        for one, next_one in zip(mine, [*mine[1:], record], strict=True):
            served = union(served, before(one.pauses, next_one.decided_at_ms))
        served = since(served, self.evening.said.plugged_at_ms(record.charger_id) or 0)
        assert total_ms(served) + total_ms(record.pauses) <= rules.pauses_total_max_ms
        assert len(served) + len(record.pauses) <= rules.pauses_count_max
        assert all(rules.pause_min_ms <= end - start <= rules.pause_max_ms for start, end in record.pauses)

    def the_wish_was_published_before_axle_was_asked(self) -> None:
        """A question is about a wish that is in force already, whole."""
        for call in self.evening.owed:
            if isinstance(call, AskSchedule):
                record = self.records[call.charger_id][-1]
                assert (record.revision, record.status, record.pauses) == (call.number, Status.REQUESTED, ())
                assert is_subset(call.schedule, record.requested)

    # 4. Exactly one outcome

    def no_input_has_two_outcomes(self, step: Step) -> None:
        """Neither in one decision nor over time; an outcome belongs to an input."""
        for outcome in step.outputs:
            if isinstance(outcome, Outcome):
                self.given[str(outcome.source)] += 1
                assert self.given[str(outcome.source)] == 1
                assert self.evening.inputs[outcome.source.offset - 1].event_id == outcome.event_id

    def every_input_waits_or_has_its_outcome(self) -> None:
        """Never both, never neither."""
        sources = [str(source) for source in waiting(self.evening.site)]
        assert len(set(sources)) == len(sources)
        assert not set(sources) & set(self.given)
        assert len(sources) + len(self.given) == len(self.evening.inputs)

    # 5. Nobody waits for a call

    def nobody_waits_for_a_call(self, step: Step) -> None:
        """A wish that changed is published in the decision that reads it, without a pause."""
        event = step.event
        if not isinstance(event, InputEvent):
            return
        outputs = [output for output in step.outputs if isinstance(output, ModifiedSchedule)]
        first = [record for record in outputs if record.caused_by.event_id == event.event_id]
        assert not any(record.pauses for record in outputs)
        if not isinstance(event, PlugIn | UserBoost):
            return
        if since(self.evening.said.wanted(event.charger_id, step.now_ms), step.now_ms) != step.wanted_before:
            assert len(first) == 1
        if first:
            self.newest_wish[event.charger_id] = event.event_id

    # I1, I2. Outputs and states are a fold

    def records_form_a_chain(self, record: ModifiedSchedule, mine: list[ModifiedSchedule]) -> None:
        """Each names the one before; the first one after nothing was known names none."""
        assert record.replaces == (mine[-1].revision if mine else None)
        assert record.revision >= record.decided_at_ms
        assert not mine or record.revision > mine[-1].revision

    def outputs_are_a_pure_fold(self) -> None:
        """The same inputs in the same order, from nothing, say the same and end in the same state."""
        site = Site("home-1")
        outputs: list[Output] = []
        for event, now_ms in self.evening.journal:
            if isinstance(event, int):
                site = decode_site(encode_site(site, event))
                continue
            decision = decide(site, event, now_ms, self.evening.rules)
            site = decision.site
            outputs.extend(decision.outputs)
        assert site == self.evening.site
        assert outputs == self.outputs

    def the_changelog_equals_the_fold(self, site: Site) -> None:
        """A state that is written and read again is the same state."""
        assert decode_site(encode_site(site)) == site

    # I3. What is owed is done

    def what_is_owed_is_called_before_it_goes(self, step: Step) -> None:
        """Only its own answer, a newer word or its time ends what is owed; an answer only when the call was made."""
        for promise in promised(step.before) - promised(step.after):
            if isinstance(step.event, Due):
                assert is_too_old(promise, step, self.evening.rules)
            elif isinstance(step.event, InputEvent):
                assert promise[0] in {"question", "onboard"}
                assert concerns(step.event) in {None, promise[1]}
            elif self.honest and not step.is_echo:
                assert ways_to_end(promise, step.event, self.evening.called) & self.evening.called

    def a_question_keeps_its_number(self, step: Step) -> None:
        """Only a newer action at the same charger puts another one in its place."""
        for charger in step.after.chargers:
            older = step.before.charger(charger.charger_id)
            if older and older.question and charger.question and older.question.number != charger.question.number:
                assert isinstance(step.event, Action)
                assert step.event.charger_id == charger.charger_id

    def a_wake_is_enough(self, step: Step) -> None:
        """Who is woken does not want to be woken again at once."""
        if isinstance(step.event, Due):
            due_ms = due_at_ms(step.after, step.now_ms, self.evening.rules)
            assert due_ms is None or due_ms > step.now_ms

    def nothing_is_left_undone(self) -> None:
        """Every input has its outcome, every call was made and answered, no question is open."""
        assert not waiting(self.evening.site)
        assert not self.evening.owed
        assert not promised(self.evening.site)
        assert len(self.given) == len(self.evening.inputs)

    # I4. Axle has what it should have

    def axle_has_who_is_enrolled(self) -> None:
        """Whoever counts as enrolled is there under the ids that we know."""
        site, axle = self.evening.site, self.evening.axle
        for charger in site.chargers:
            if charger.enrolled is Enrolled.ENROLLED and charger.axle_asset_id not in self.lost:
                home, asset = axle.chargers.get(charger.charger_id, ("", ""))
                assert (asset, axle.homes[home].enrolled) == (charger.axle_asset_id, True)
                assert home in {site.axle_site_id, *site.left_axle_site_ids}

    def axle_has_nobody_who_left(self) -> None:
        """Nothing of a household that withdrew, no charger that was disconnected; the neighbour is untouched."""
        said, site, axle = self.evening.said, self.evening.site, self.evening.axle
        unenrols = self.evening.rules.withdrawal_action is WithdrawalAction.UNENROL
        ours = self._our_homes()
        if said.withdrawn:
            assert not [home for home in ours if axle.homes[home].enrolled or not unenrols]
        if is_erased(site):
            assert not ours
        for charger in site.chargers:
            home, _ = axle.chargers.get(charger.charger_id, ("", ""))
            if said.must_leave(charger.charger_id) and home in ours:
                assert unenrols
        assert axle.homes[NEIGHBOUR].meter == STRANGER

    def axle_has_no_empty_home(self) -> None:
        """A home of which the last charger has left is not left behind."""
        axle = self.evening.axle
        meters = {e.enrolment.mpan for e in self.evening.inputs if isinstance(e, PlugIn) and e.enrolment}
        if self.lost or len(meters) > 1:
            return
        inhabited = {home for home, _ in axle.chargers.values()}
        for home in self._our_homes():
            assert home in inhabited or not axle.homes[home].enrolled

    def back_ends_were_told_how_it_ended(self) -> None:
        """The newest status of the household says what is the case: who consented, and which charger Axle has."""
        site = self.evening.site
        told = [output for output in self.outputs if isinstance(output, EnrolmentStatus | Erased)]
        if told and isinstance(told[-1], EnrolmentStatus):
            assert told[-1].consent is consent_state(site)
            assert told[-1].axle_site_id == (site.axle_site_id or next(iter(site.kept_axle_site_ids), None))
            known = {charger.charger_id: charger for charger in site.chargers}
            for each in told[-1].chargers:
                charger = known[each.charger_id]
                assert (each.status, each.axle_asset_id) == (charger.enrolled, charger.axle_asset_id)

    # I5. What was deleted is left alone

    def what_axle_deleted_is_left_alone(self) -> None:
        """No call is owed for what Axle said it has deleted, unless it said later that it is there again."""
        for call in self.evening.owed if self.honest else ():
            if isinstance(call, Onboard | Offboard):
                assert call.axle_site_id not in self.gone
            if isinstance(call, AskSchedule | Remove):
                assert call.axle_asset_id not in self.gone

    # I6. One call a lane

    def one_call_a_lane(self) -> None:
        """A home owes at most one enrolment call, a charger at most one question."""
        lanes = [lane_of(call) for call in self.evening.owed]
        assert len(set(lanes)) == len(lanes)

    def no_question_waits_longer_than_its_budget(self) -> None:
        """However much happened at a charger, its newest question is put within one interval."""
        for charger in self.evening.site.chargers:
            if charger.question:
                assert (
                    charger.question.not_before_ms <= charger.question.since_ms + self.evening.rules.question_every_ms
                )

    # I7. Personal data goes

    def outputs_are_without_personal_data(self, step: Step) -> None:
        """No record, outcome or alarm tells of a person."""
        said = repr(step.outputs)
        assert not any(personal in said for personal in PERSONAL)

    def personal_data_is_only_kept_for_an_onboarding(self) -> None:
        """The household is known by name only while an onboarding of one of its chargers is owed."""
        site = self.evening.site
        if not any(charger.enrolling for charger in site.chargers):
            assert not any(personal.encode() in encode_site(site) for personal in PERSONAL)

    def an_erased_household_left_nothing(self, step: Step) -> None:
        """Nothing is kept of it but that it withdrew and when; it owes nothing and waits for nothing."""
        if not any(isinstance(output, Erased) for output in step.outputs):
            return
        assert is_erased(step.after)
        assert self.evening.owed == ()
        assert self.evening.due_ms is None
        assert not any(since(records[-1].pauses, step.now_ms) for records in self.records.values())
        self.records.clear()

    # How it is known

    lost: set[str] = field(default_factory=set)
    """Chargers, by Axle's ids, that somebody deleted there by hand."""

    def _our_homes(self) -> list[str]:
        axle, site = self.evening.axle, self.evening.site
        told = {o.charger_id for o in self.outputs if isinstance(o, Alarm) and o.kind in FOR_A_PERSON}
        known = {ids[0] for who, ids in axle.chargers.items() if site.charger(who) and who not in told}
        mine = [id_ for id_, home in axle.homes.items() if home.meter in METERS]
        return [id_ for id_ in mine if not axle.homes[id_].by_others or id_ in known]

    def _remember_what_is_gone(self, step: Step) -> None:
        event = step.event
        if isinstance(event, Offboarded) and step.before.offboarding and not event.kept:
            self.gone.add(event.axle_site_id)
        elif isinstance(event, Removed):
            self.gone.add(event.axle_asset_id)
        elif isinstance(event, Onboarded):
            self.gone -= {event.axle_site_id, event.axle_asset_id}
        elif isinstance(event, LookedUp) and event.found:
            self.gone -= {event.found.axle_site_id, event.found.axle_asset_id}
