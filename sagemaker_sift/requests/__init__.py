"""Objects in, the API's own request dictionaries out; and every check before one is sent.

Pure functions: nothing here talks to a backend.
"""
