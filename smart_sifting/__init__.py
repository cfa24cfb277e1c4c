"""Smart sifting: drop low-loss samples before forward and backward.

A sample is kept with probability ``percentile(loss) ** beta_value``, so that the expected kept
fraction is ``1 / (1 + beta_value)``. Wrap a loader in :class:`SiftingDataloader` and train as
before.
"""

from __future__ import annotations

from smart_sifting._core.statistics import EpochStatistics, SiftingStatistics
from smart_sifting._pilot.measurement import pilot
from smart_sifting._pilot.report import PilotReport
from smart_sifting.data_model.data_model_interface import SiftingBatch, SiftingBatchTransform
from smart_sifting.data_model.list_batch import ListBatch
from smart_sifting.data_model.tensor_batch import TensorBatch
from smart_sifting.dataloader.identified import Identified, IdentifiedCollate, IdentifiedDataset
from smart_sifting.dataloader.sift_dataloader import SiftingDataloader
from smart_sifting.exceptions import (
    LossImplementationNotProvidedException,
    SiftConfigValidationException,
    UnsupportedDataFormatException,
)
from smart_sifting.loss.abstract_sift_loss_module import Loss
from smart_sifting.sift_config.sift_configs import (
    LossConfig,
    RelativeProbabilisticSiftConfig,
    SiftingBaseConfig,
)

__all__ = [
    "EpochStatistics",
    "Identified",
    "IdentifiedCollate",
    "IdentifiedDataset",
    "ListBatch",
    "Loss",
    "LossConfig",
    "LossImplementationNotProvidedException",
    "PilotReport",
    "RelativeProbabilisticSiftConfig",
    "SiftConfigValidationException",
    "SiftingBaseConfig",
    "SiftingBatch",
    "SiftingBatchTransform",
    "SiftingDataloader",
    "SiftingStatistics",
    "TensorBatch",
    "UnsupportedDataFormatException",
    "pilot",
]
