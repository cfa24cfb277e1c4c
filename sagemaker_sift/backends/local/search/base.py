"""What every search can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from sagemaker_sift.backends.local.search.trial import Trial


class Searcher(ABC):
    """Suggests the hyperparameters of the next training job.

    **Idempotence**: a suggestion is a function of the seed, ``idx`` and ``trials``, and of
    nothing else. A coordinator that was killed asks again and gets the same answer.

    **State**: none. Nothing has to be told or saved.

    **Ownership**: what is given is read, never changed or kept.
    """

    @abstractmethod
    def suggest(self, idx: int, trials: Sequence[Trial]) -> dict[str, str] | None:
        """Return the tuned hyperparameters of a training job, as the API's text.

        Args:
            idx: The number of the training job in its tuning job, from 0.
            trials: The training jobs launched before, in the order in which they were: those
                that run, ended and failed.

        Returns:
            ``None`` if the space is exhausted: no further job makes sense.
        """
