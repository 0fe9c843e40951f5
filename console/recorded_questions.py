"""What no picture has, a record asks for by itself, slowly; and recording without a screen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from console.gateway.protocol import Gateway, GatewayError
from console.gateway.recorded import RecordedAnswers
from console.recording.recorder import Recorder
from console.viewmodel.acls import AclWish
from engine.supervisor.snapshot import ClusterSnapshot

_FIRST_S = 2.0
_EVERY_S = 10.0
_CONFIGS_EVERY_S = 60.0
_TOPICS_AT_ONCE = 20
_RETRY_S = 1.0


async def ask_steadily(
    gateway: Gateway, recorder: Recorder, picture: Callable[[], ClusterSnapshot | None], goes_on: Callable[[], bool]
) -> None:
    """Transactions and moves every few seconds; configs, access, quotas and disks every minute, of topics some at a
    time."""
    loop = asyncio.get_running_loop()
    configs_at: float | None = None
    asked_topics = 0
    answers: Any = RecordedAnswers(gateway, recorder.document)
    while goes_on():
        await asyncio.sleep(_FIRST_S if configs_at is None else _EVERY_S)
        snapshot = picture()
        if snapshot is None or not snapshot.brokers_up:
            continue
        calls = [answers.transactions, answers.moves]
        if configs_at is None or loop.time() - configs_at >= _CONFIGS_EVERY_S:
            configs_at = loop.time()
            calls += [partial(answers.broker_configs, each.broker_id) for each in snapshot.brokers if each.reachable]
            names = [each.name for each in snapshot.topics]
            turn = [names[(asked_topics + at) % len(names)] for at in range(min(len(names), _TOPICS_AT_ONCE))]
            asked_topics += len(turn)
            calls += [partial(answers.topic_configs, each) for each in turn]
            access = answers.administration
            calls += [partial(access.acls, AclWish()), access.scram_users, access.quotas, access.log_dirs]
        for call in calls:
            # A broker that does not answer now will, or is not asked again.
            with contextlib.suppress(GatewayError):
                await call()


async def record_cluster(gateway: Gateway, recorder: Recorder, say: Callable[[str], None]) -> None:
    """Hand everything that a cluster shows to a recorder that was started, for good. What goes wrong is said once."""
    seen: list[ClusterSnapshot] = []
    told = ""

    def tell(problem: str) -> None:
        nonlocal told
        if problem != told:
            told = problem
            say(problem or "recording goes on")

    async def pictures() -> None:
        while True:
            try:
                async for snapshot in gateway.snapshots():
                    seen[:] = [snapshot]
                    recorder.about(bootstrap_servers=gateway.capabilities.bootstrap_servers)
                    recorder.picture(snapshot)
                    tell(recorder.problem)
            except GatewayError as error:
                tell(str(error))
            await asyncio.sleep(_RETRY_S)

    async def events() -> None:
        while True:
            with contextlib.suppress(GatewayError):
                async for batch in gateway.events():
                    recorder.events(batch.events)
            await asyncio.sleep(_RETRY_S)

    async with asyncio.TaskGroup() as group:
        group.create_task(pictures())
        group.create_task(events())
        group.create_task(ask_steadily(gateway, recorder, lambda: seen[0] if seen else None, lambda: True))
