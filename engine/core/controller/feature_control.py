"""Feature levels, metadata.version among them (FeatureControlManager, KIP-584, KIP-1022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.core.controller.broker_image import VersionRange
from engine.core.controller.image import BROKER_RESOURCE, METADATA_VERSION
from engine.core.controller.state import ELR_FEATURE, MIN_INSYNC_REPLICAS, ControllerState, Step
from engine.model.errors import ErrorCode, KafkaError
from engine.wire.messages.config_record import ConfigRecord
from engine.wire.messages.feature_level_record import FeatureLevelRecord
from engine.wire.messages.update_features_request import UpdateFeaturesRequest
from engine.wire.messages.update_features_response import UpdatableFeatureResult, UpdateFeaturesResponse

TRANSACTION_VERSION = "transaction.version"
# Whether the log of the quorum names the voters (KIP-853): it stands in control records, not in the metadata.
KRAFT_VERSION = "kraft.version"

# metadata.version levels by release (MetadataVersion): 7 is 3.3-IV3, 30 is 4.3-IV0.
MINIMUM_METADATA_VERSION = 7
LATEST_METADATA_VERSION = 30

# Consumer groups (KIP-848).
GROUP_FEATURE = "group.version"
# Share groups (KIP-932).
SHARE_FEATURE = "share.version"
# Streams groups (KIP-1071).
STREAMS_FEATURE = "streams.version"
# What this software can do, by feature. What is absent or 0 does not exist yet.
SUPPORTED_FEATURES: dict[str, VersionRange] = {
    METADATA_VERSION: VersionRange(MINIMUM_METADATA_VERSION, LATEST_METADATA_VERSION),
    ELR_FEATURE: VersionRange(0, 1),
    GROUP_FEATURE: VersionRange(0, 1),
    KRAFT_VERSION: VersionRange(0, 1),
    SHARE_FEATURE: VersionRange(0, 1),
    STREAMS_FEATURE: VersionRange(0, 1),
    TRANSACTION_VERSION: VersionRange(0, 2),
}
# What a new cluster starts with.
BOOTSTRAP_FEATURES: dict[str, int] = {
    METADATA_VERSION: LATEST_METADATA_VERSION,
    GROUP_FEATURE: 1,
    SHARE_FEATURE: 1,
    STREAMS_FEATURE: 1,
    TRANSACTION_VERSION: 2,
}

UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE = 1, 2, 3


def bootstrap_records() -> list[FeatureLevelRecord]:
    """The first records of a cluster's log."""
    return [FeatureLevelRecord(name=name, feature_level=level) for name, level in BOOTSTRAP_FEATURES.items()]


class FeatureNotSupported(Exception):
    """The metadata has a feature level that is not known here: going on could destroy what it stands for."""


def check_features(levels: Mapping[str, int]) -> None:
    """Raises: FeatureNotSupported: a finalized level is outside of what nodes here register with."""
    for name, level in sorted(levels.items()):
        known = SUPPORTED_FEATURES.get(name, VersionRange(0, 0))
        if not known.min_version <= level <= known.max_version:
            knows = f"levels {known.min_version} to {known.max_version}" if known.max_version else "no such feature"
            raise FeatureNotSupported(
                f"the cluster's metadata has {name} at level {level}, and this is kconsole for Kafka 4.3, which knows "
                f"{knows}: use the Kafka that set it, or lower it there with kafka-features.sh first"
            )


def feature_levels(records: Sequence[Any]) -> dict[str, int]:
    """The levels that metadata records set, by feature."""
    return {each.name: each.feature_level for each in records if each.NAME == "FeatureLevelRecord"}


class FeatureControl:
    """Raises and lowers feature levels."""

    def __init__(self, state: ControllerState) -> None:
        self._state = state

    def bootstrap(self, step: Step, records: Sequence[Any]) -> None:
        """The first records of the log: what formatting the directory asked for, or what a new cluster starts with.

        Raises:
            FeatureNotSupported: formatting asked for a level that is not known here.
        """
        levels = feature_levels(records)
        if METADATA_VERSION not in levels:
            records = [*bootstrap_records(), *(each for each in records if each.NAME != "FeatureLevelRecord")]
            levels = dict(BOOTSTRAP_FEATURES)
        check_features(levels)
        step.records += records
        if levels.get(ELR_FEATURE, 0) > 0:
            step.records += self._elr_safety_records()

    def update_features(self, step: Step, request: UpdateFeaturesRequest, version: int) -> UpdateFeaturesResponse:
        """All updates or none: version 2 answers with the first error, older ones with each feature's."""
        failed: KafkaError | None = None
        results: list[UpdatableFeatureResult] = []
        for update in request.feature_updates:
            kind = update.upgrade_type
            if version == 0:
                kind = SAFE_DOWNGRADE if update.allow_downgrade else UPGRADE
            try:
                self._update(step, update.feature, update.max_version_level, kind)
                results.append(UpdatableFeatureResult(feature=update.feature, error_code=0, error_message=None))
            except KafkaError as error:
                failed = failed or error
                results.append(
                    UpdatableFeatureResult(
                        feature=update.feature, error_code=int(error.code), error_message=error.message
                    )
                )
        if failed is not None or request.validate_only:
            step.records.clear()
        if failed is not None and version >= 2:
            message = f"The update failed for all features since the following feature had an error: {failed.message}"
            return UpdateFeaturesResponse(error_code=int(failed.code), error_message=message)
        return UpdateFeaturesResponse(error_code=0, error_message=None, results=results if version < 2 else [])

    def _update(self, step: Step, name: str, level: int, kind: int) -> None:
        def refuse(why: str) -> KafkaError:
            return KafkaError(
                ErrorCode.INVALID_UPDATE_VERSION, f"Invalid update version {level} for feature {name}. {why}"
            )

        if kind not in (UPGRADE, SAFE_DOWNGRADE, UNSAFE_DOWNGRADE):
            raise refuse("The controller does not support the given upgrade type.")
        if level < 0:
            raise refuse("A feature version cannot be less than 0.")
        image = self._state.image
        quorum = self._state.quorum
        current = image.features.get(name, 0)
        if name == KRAFT_VERSION:
            current = 0 if quorum is None else quorum.kraft_version
        unsupported = self._reason_not_supported(name, level)
        if unsupported is not None:
            raise refuse(unsupported)
        if level < current and kind == UPGRADE:
            raise refuse(
                "Can't downgrade the version of this feature without setting the upgrade type to either safe or "
                "unsafe downgrade."
            )
        if level > current and kind != UPGRADE:
            raise refuse("Can't downgrade to a newer version.")
        if name == KRAFT_VERSION:
            if level < current or (level > current and quorum is None):
                raise refuse("Can't downgrade the version of this feature." if level < current else "It is fixed.")
            if quorum is not None and kind == UPGRADE:
                # The shell writes it, behind the other records of this request.
                quorum.check_kraft_version(level)
            return
        if name == METADATA_VERSION and level < current:
            raise KafkaError(
                ErrorCode.INVALID_UPDATE_VERSION,
                f"Unsupported metadata.version downgrade from {current} to {level}. Refusing to perform the requested "
                "downgrade because it might delete metadata information.",
            )
        if name == ELR_FEATURE and level > 0:
            step.records += self._elr_safety_records()
        step.records.append(FeatureLevelRecord(name=name, feature_level=level))

    def _elr_safety_records(self) -> list[ConfigRecord]:
        """With eligible leader replicas every controller must read the same min.insync.replicas: the cluster gets one,
        brokers lose theirs."""
        image = self._state.image
        records = []
        if MIN_INSYNC_REPLICAS not in image.config(BROKER_RESOURCE, ""):
            records.append(_min_isr_record("", str(self._state.config.min_insync_replicas)))
        records += [
            _min_isr_record(broker, None)
            for (resource_type, broker), configs in image.configs.items()
            if resource_type == BROKER_RESOURCE and broker and MIN_INSYNC_REPLICAS in configs
        ]
        return records

    def _reason_not_supported(self, name: str, level: int) -> str | None:
        image = self._state.image
        nodes = [("Local controller " + str(self._state.node_id), SUPPORTED_FEATURES)]
        nodes += [(f"Broker {each.broker_id}", each.features) for _, each in sorted(image.brokers.items())]
        nodes += [
            (f"Controller {each.controller_id}", each.features)
            for _, each in sorted(image.controllers.items())
            if each.controller_id != self._state.node_id
        ]
        for node, features in nodes:
            low, high = features.get(name, VersionRange(0, 0))
            if not low <= level <= high:
                supported = f"only supports versions {low}-{high}" if high else "does not support this feature."
                return f"{node} {supported}"
        return None


def _min_isr_record(broker: str, value: str | None) -> ConfigRecord:
    return ConfigRecord(resource_type=BROKER_RESOURCE, resource_name=broker, name=MIN_INSYNC_REPLICAS, value=value)
