"""The durable log between the collector and every worker."""
