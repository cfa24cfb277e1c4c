"""From the files of a channel to batches on the device.

:mod:`~sagemaker_sift.trainer.data.folder` lists, :mod:`~sagemaker_sift.trainer.data.image` decodes
and crops, :mod:`~sagemaker_sift.trainer.data.cache` keeps small sets decoded,
:mod:`~sagemaker_sift.trainer.data.loader` makes batches, and
:mod:`~sagemaker_sift.trainer.data.preparation` puts them together for a job.
"""
