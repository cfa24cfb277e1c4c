"""What comes back from a job: log lines, metrics, artifacts, a summary, live progress."""
