"""The composition root: the only place that knows every room, and the supervisor of the processes."""
