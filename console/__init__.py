"""The console: a client of clusters that speak Kafka's protocol, and of the supervisor's control socket."""
