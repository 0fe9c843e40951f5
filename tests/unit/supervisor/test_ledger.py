from engine.supervisor.ledger import Reading, settle


def readings(*numbers: int, partition: int = 0) -> list[Reading]:
    return [Reading(partition, offset, number) for offset, number in enumerate(numbers)]


def acks(*numbers: int) -> dict[int, tuple[int, int]]:
    return {number: (0, number + 100) for number in numbers}


def test_a_whole_log_has_nothing_to_complain_about() -> None:
    account = settle(range(5), acks(0, 1, 2, 3, 4), readings(0, 1, 2, 3, 4))
    assert (account.sent, account.acknowledged, account.lost, account.duplicated, account.reordered) == (5, 5, 0, 0, 0)


def test_an_acknowledged_record_that_is_not_there_is_lost_and_named() -> None:
    account = settle(range(4), acks(0, 1, 2), readings(0, 2))
    assert (account.lost, account.unacknowledged) == (1, 1)
    assert account.lost_offsets == ("0:101 #1",)


def test_an_unacknowledged_record_may_stand_or_not() -> None:
    assert settle(range(2), acks(0), readings(0, 1)).lost == 0
    assert settle(range(2), acks(0), readings(0)).lost == 0


def test_every_occurrence_after_the_first_is_a_duplicate_and_not_a_reordering() -> None:
    account = settle(range(3), acks(0, 1, 2), readings(0, 1, 1, 0, 2))
    assert (account.duplicated, account.reordered) == (2, 0)


def test_a_record_after_a_higher_one_of_its_partition_is_out_of_order() -> None:
    assert settle(range(4), acks(), readings(0, 2, 1, 3)).reordered == 1
    two = readings(0, 3, partition=0) + readings(1, 2, partition=1)
    assert settle(range(4), acks(), two).reordered == 0


def test_records_of_other_runs_are_passed_over() -> None:
    assert settle(range(2), acks(0, 1), readings(0, 99, 1)).reordered == 0
