"""What the client and the container agree on.

Hyperparameters, channels, metric lines, the ``/opt/ml`` layout and, made of these, the
``TrainingSpecification`` of the algorithm. Pydantic and the standard library, nothing else,
so that both sides can import it at no cost.
"""
