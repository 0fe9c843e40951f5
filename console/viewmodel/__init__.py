"""Pure: from snapshots to rows, cells and sentences. No Textual, no clock, no engine but the snapshot's types."""
