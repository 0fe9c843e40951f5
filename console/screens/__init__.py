"""What can stand in the frame: one class a kind of thing."""

from console.screens.access import AclsView, QuotasView, UsersView
from console.screens.application import ApplicationView
from console.screens.base import View
from console.screens.broker_log import LogView
from console.screens.cluster import ClusterView
from console.screens.command_log import CommandsView
from console.screens.configs import CompareView, ConfigsView
from console.screens.connections import ConnectionsView
from console.screens.connectors import ConnectorOffsetsView, ConnectorsView, ConnectorView
from console.screens.contexts import ContextsView
from console.screens.difference import DifferenceView
from console.screens.events import EventsView
from console.screens.failover import FailoverView
from console.screens.faults import FaultsView
from console.screens.groups import GroupsView, GroupView
from console.screens.impact import ImpactView
from console.screens.log_dirs import LogDirsView, LogDirView
from console.screens.moves import MovesView
from console.screens.partitions import PartitionsView
from console.screens.plots import PlotsView
from console.screens.producers import HangingView, ProducersView
from console.screens.quorum import QuorumView
from console.screens.records import RecordsView
from console.screens.schemas import SchemasView, SchemaView
from console.screens.segments import BatchesView, SegmentsView
from console.screens.simulation import SimulationView
from console.screens.stores import StoresView, StoreView
from console.screens.streams import StreamsView
from console.screens.topics import TopicsView
from console.screens.topology import TopologyView
from console.screens.transactions import TransactionsView
from console.screens.wire import WireView
from console.screens.workload import WorkloadView
from console.screens.zookeeper import ZooKeeperView

VIEWS: dict[str, type[View]] = {
    view.NAME: view
    for view in (
        SimulationView,
        ClusterView,
        TopicsView,
        PartitionsView,
        RecordsView,
        SegmentsView,
        BatchesView,
        GroupsView,
        GroupView,
        StreamsView,
        ApplicationView,
        TopologyView,
        StoresView,
        StoreView,
        ConnectorsView,
        ConnectorView,
        ConnectorOffsetsView,
        EventsView,
        LogView,
        FailoverView,
        WorkloadView,
        QuorumView,
        MovesView,
        ImpactView,
        FaultsView,
        TransactionsView,
        ConnectionsView,
        WireView,
        ConfigsView,
        PlotsView,
        CompareView,
        AclsView,
        UsersView,
        QuotasView,
        LogDirsView,
        LogDirView,
        ProducersView,
        HangingView,
        SchemasView,
        SchemaView,
        ContextsView,
        CommandsView,
        DifferenceView,
        ZooKeeperView,
    )
}
