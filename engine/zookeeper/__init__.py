"""A client of ZooKeeper on the event loop: its session, its configs, its errors, and its servers' four-letter words."""
