from engine.supervisor.restart_policy import RestartPolicy
from engine.supervisor.spec_types import RestartSpec


def policy(name: str = "on-failure") -> RestartPolicy:
    return RestartPolicy(RestartSpec(name, backoff_ms=100, max_backoff_ms=300, give_up_after=5, within_ms=1_000))


def test_the_wait_doubles_up_to_its_bound_and_a_crash_loop_is_left_down() -> None:
    restarts = policy()
    assert [restarts.on_exit(at, -9).delay_ms for at in (0, 10, 20, 30, 40)] == [100, 200, 300, 300, None]


def test_ends_that_lie_far_apart_start_with_the_first_wait_again() -> None:
    restarts = policy()
    assert [restarts.on_exit(at, 1).delay_ms for at in (0, 1_001, 2_002, 3_003, 4_004, 5_005)] == [100] * 6


def test_a_start_on_purpose_forgets_the_past() -> None:
    restarts = policy()
    for at in range(4):
        restarts.on_exit(at, 1)
    restarts.on_asked()
    assert restarts.on_exit(5, 1).delay_ms == 100


def test_exit_code_zero_is_restarted_only_by_always_and_nothing_by_never() -> None:
    assert policy("on-failure").on_exit(0, 0).delay_ms is None
    assert policy("always").on_exit(0, 0).delay_ms == 100
    assert policy("never").on_exit(0, -9) == (None, "killed by signal 9; restart policy is never")
