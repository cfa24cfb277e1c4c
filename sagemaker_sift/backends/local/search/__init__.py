"""Which hyperparameters a tuning job tries next, which jobs it stops, and when it has enough.

Pure: plain values in, plain values out; no file, no clock, no process, no random state that
lasts. ``space`` maps hyperparameters to the unit cube, ``searcher`` suggests, ``stopping`` ends
training jobs early, ``completion`` ends the tuning job, ``autotune`` picks ranges.
"""
