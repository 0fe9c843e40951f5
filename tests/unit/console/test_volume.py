"""Records over time from offsets alone."""

from __future__ import annotations

from console.viewmodel.cells import plain
from console.viewmodel.volume import (
    Answers,
    TimeSpan,
    Volume,
    Window,
    bar_lines,
    caption,
    span_of,
    step_words,
    volume_of,
    window_of,
)
from engine.model.topic_partition import TopicPartition

P0, P1, P2 = (TopicPartition("orders", each) for each in range(3))
NONE = (-1, -1)


def test_bars_are_of_a_size_that_people_count_in_and_begin_at_its_multiples() -> None:
    assert window_of(TimeSpan(61_500, 119_000), 10) == Window(60_000, 10_000, 6)
    assert window_of(TimeSpan(61_500, 61_500), 10) == Window(61_500, 1, 1)
    day = 86_400_000
    assert window_of(TimeSpan(0, 365 * day), 80) == Window(0, 7 * day, 53)
    broken = window_of(TimeSpan(0, 10**17), 80)
    assert broken.number == 80 and broken.first_ms + broken.number * broken.step_ms > 10**17, "a time that is none"
    window = Window(60_000, 10_000, 6)
    assert [window.bar_of(each) for each in (59_999, 60_000, 119_999, 120_000)] == [None, 0, 5, None]
    assert [step_words(each) for each in (200, 5_000, 60_000, 7_200_000, 7 * day)] == ["200 ms", "5s", "1m", "2h", "7d"]


def test_records_of_a_bar_lie_between_the_offsets_of_its_times() -> None:
    window = Window(0, 10, 3)
    begins: list[Answers] = [
        {P0: (100, 1), P1: (0, 5), P2: NONE},
        {P0: (130, 12), P1: NONE, P2: NONE},
        {P0: (130, 25), P1: NONE, P2: NONE},
    ]
    # P0's log begins at 110 by now; P2 is empty.
    starts: Answers = {P0: (110, -1), P1: (0, -1), P2: (7, -1)}
    ends: Answers = {P0: (150, -1), P1: (4, -1), P2: (7, -1)}
    assert volume_of(window, begins, starts, ends, 3) == Volume(window, (20 + 4, 0, 20), 0)
    # One that did not answer is not counted as empty.
    silent = [{place: at for place, at in each.items() if place != P0} for each in begins]
    assert volume_of(window, silent, starts, ends, 3) == Volume(window, (4, 0, 0), 1)


def test_the_span_is_from_the_first_record_to_the_youngest() -> None:
    assert span_of({P0: (3, 50), P1: NONE}, {P0: (9, 80), P1: NONE}) == TimeSpan(50, 80)
    assert span_of({P0: NONE}, {P0: NONE}) is None is span_of({}, {})


def test_bars_are_drawn_to_an_eighth_of_a_line_and_nothing_is_lost() -> None:
    volume = Volume(Window(0, 1_000, 4), (1, 0, 500, 1_000), 2)
    assert [plain(line) for line in bar_lines(volume, 2, 1)] == ["   █", "▁·██"]
    assert [span.tone for span in bar_lines(volume, 2, 3)[0]] == ["bar", "accent"]
    assert [plain(line) for line in bar_lines(Volume(Window(0, 1, 2), (0, 0)), 2, None)] == ["  ", "  "]
    assert (volume.next_bar(0, 1), volume.next_bar(3, 1), volume.next_bar(None, -1), volume.next_bar(2, -1)) == (
        2,
        None,
        3,
        0,
    )
    assert "500 records" in plain(caption(volume, 2, 80)) and "2 partitions unknown" in plain(caption(volume, 2, 80))
    assert plain(caption(volume, 2, 21)) == "2 partitions unknown"
    assert "1s a bar" in plain(caption(volume, None, 80))
