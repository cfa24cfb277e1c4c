"""Timings of the training loop as log lines."""
