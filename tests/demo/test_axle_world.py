"""The model behind the simulator: pauses, ids, and what changes them."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from processor.demo.axle_forms import AssetForm, Block, SiteForm
from processor.demo.axle_world import PAUSE_LEAD, PAUSE_STEP, SCHEDULE_MIN, PausePolicy, World, merge, without

NOON = datetime(2025, 6, 27, 12, tzinfo=UTC)
ALWAYS = PausePolicy(share=1.0)
BLOCKS = st.lists(
    st.tuples(st.integers(0, 2000), st.integers(1, 600)).map(
        lambda pair: (NOON + timedelta(minutes=pair[0]), NOON + timedelta(minutes=sum(pair), seconds=pair[1]))
    ),
    min_size=1,
    max_size=6,
)


def length(blocks: list[Block]) -> timedelta:
    """The charging time of blocks that do not overlap."""
    return sum((end - start for start, end in blocks), timedelta())


@given(blocks=BLOCKS, minutes=st.integers(1, 120))
@settings(max_examples=60, deadline=None)
def test_a_pause_lies_inside_one_block(blocks: list[Block], minutes: int) -> None:
    """A pause has its full length, keeps its lead, and takes exactly that much charging away."""
    merged = merge(blocks)
    pause = PausePolicy(minutes=minutes, share=1.0).find("charger", blocks)
    if pause is None:
        longest = max(end - start for start, end in merged)
        assert length(merged) < SCHEDULE_MIN or longest < timedelta(minutes=minutes) + PAUSE_LEAD
        return
    assert pause[1] - pause[0] == timedelta(minutes=minutes)
    assert any(start + PAUSE_LEAD <= pause[0] and pause[1] <= end for start, end in merged)
    assert length(merge(without(blocks, [pause]))) == length(merged) - timedelta(minutes=minutes)


@given(blocks=BLOCKS)
@settings(max_examples=30, deadline=None)
def test_a_question_always_gets_the_same_pause(blocks: list[Block]) -> None:
    """The pause depends on the charger and on when it may charge, not on how the blocks are cut or ordered."""
    assert ALWAYS.find("charger", blocks) == ALWAYS.find("charger", list(reversed(merge(blocks))))


def test_a_pause_begins_on_a_whole_step_where_one_fits() -> None:
    """Pauses begin on whole five minutes, or as early as they may when the block has no room for that."""
    night = (NOON + timedelta(minutes=1), NOON + timedelta(hours=8))
    starts = [pause[0] for n in range(50) if (pause := ALWAYS.find(f"charger-{n}", [night]))]
    assert len(starts) == 50
    assert all((start - NOON) % PAUSE_STEP == timedelta() for start in starts)
    assert len(set(starts)) > 20
    tight = (NOON + timedelta(minutes=1), NOON + timedelta(minutes=94))
    assert PausePolicy(minutes=90, share=1.0).find("charger", [tight]) == (
        tight[0] + PAUSE_LEAD,
        tight[0] + PAUSE_LEAD + timedelta(minutes=90),
    )


def test_a_short_schedule_gets_no_pause() -> None:
    """With less than ninety minutes of charging in all, however cut, there is no opportunity."""
    parts = [(NOON + timedelta(hours=n), NOON + timedelta(hours=n, minutes=44)) for n in range(2)]
    assert ALWAYS.find("charger", parts) is None
    assert ALWAYS.find("charger", [(NOON, NOON + timedelta(minutes=90))]) is not None


def test_about_two_questions_in_three_get_a_pause() -> None:
    """By default the share of questions with a pause is about two thirds."""
    night = [(NOON, NOON + timedelta(hours=8))]
    paused = sum(PausePolicy().find(f"charger-{n}", night) is not None for n in range(1000))
    assert 620 < paused < 720


def test_equal_seeds_give_equal_worlds() -> None:
    """Ids follow from the seed and the names: the same again, and others for another seed or another life."""
    site = SiteForm("1234567890123", "SW1A 1AA", None, None, NOON)
    asset = AssetForm("charger", "charger", None)

    def ids(world: World) -> tuple[str, str]:
        made_site, made_asset = world.onboard(site, asset, frozenset())
        return made_site.id, made_asset.id

    world = World(PausePolicy(seed=7))
    first = ids(world)
    assert first == ids(World(PausePolicy(seed=7)))
    assert first != ids(World(PausePolicy(seed=8)))
    world.offboard(first[0])
    assert not world.snapshot()["sites"]
    assert set(first).isdisjoint(ids(world))


def test_cutting_leaves_other_blocks_alone() -> None:
    """A pause takes its time out of every block that it touches and leaves the others as they were sent."""
    hour = timedelta(hours=1)
    blocks = [(NOON + 4 * hour, NOON + 5 * hour), (NOON, NOON + 2 * hour), (NOON + hour, NOON + 3 * hour)]
    assert without(blocks, [(NOON + hour, NOON + 2 * hour)]) == [
        blocks[0],
        (NOON, NOON + hour),
        (NOON + 2 * hour, NOON + 3 * hour),
    ]
