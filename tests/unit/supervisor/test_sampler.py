import os

from engine.supervisor.sampler import Sampler


def test_this_process_has_memory_and_files_and_cpu_from_the_second_sample_on() -> None:
    sampler = Sampler()
    first, second = sampler.sample(os.getpid()), sampler.sample(os.getpid())
    assert first is not None and second is not None
    assert first.cpu_percent is None and second.cpu_percent is not None
    assert first.rss_bytes > 1 << 20
    assert first.open_files is None or first.open_files > 2


def test_a_process_that_is_gone_has_no_usage() -> None:
    assert Sampler().sample(2**22 + 1) is None
