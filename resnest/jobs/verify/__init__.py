"""How right networks are on data with answers: one file a task, one file a metric."""
