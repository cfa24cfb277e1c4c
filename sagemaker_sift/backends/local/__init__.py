"""SageMaker on this machine: real training processes, no Docker, no account, no network.

``client`` answers the API calls, ``store`` remembers, ``container`` lays out ``/opt/ml``,
``supervisor`` runs one job in a process of its own, ``storage`` says where a URI lies on disk.
"""
