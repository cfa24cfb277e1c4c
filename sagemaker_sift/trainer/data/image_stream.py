"""Images that pass by once an epoch: RecordIO files and augmented manifests in Pipe mode.

In:  the pipe of an epoch.  Out: one record an image, in the pipe's order.

Source: "Image Classification - MXNet: input/output interface" and "Augmented manifest files for
training jobs", SageMaker developer guide. A pipe of ``.rec`` files carries image records; one of
an augmented manifest carries the image's file and its label as records of their own, in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from sagemaker_sift.trainer.data.image_record import split_record
from sagemaker_sift.trainer.data.image_set import Record
from sagemaker_sift.trainer.data.label import Label, LabelRule
from sagemaker_sift.trainer.data.pipe import Patience, PipeStopped, open_pipe
from sagemaker_sift.trainer.data.problem import quote
from sagemaker_sift.trainer.data.recordio import ByteStream, read_records
from sagemaker_sift.trainer.errors import TrainingError

MAX_LABEL_BYTES = 1 << 22
"""A label of a manifest that is larger is refused."""

_Payload = bytes | bytearray


class RecordIOStream:
    """Image records through a pipe; an ``ImageStream``.

    An epoch ends early, without an error, when the job is asked to stop.

    Args:
        channel: Name of the channel.
        data: Folder of the pipes, ``/opt/ml/input/data``.
        rule: What is allowed as a label.
        is_stopping: Asked while waiting for data.
        patience: How long to wait for data.
    """

    def __init__(
        self,
        channel: str,
        *,
        data: Path,
        rule: LabelRule,
        is_stopping: Callable[[], bool],
        patience: Patience | None = None,
    ) -> None:
        self.channel = channel
        self.classes = rule.classes
        self._data = data
        self._rule = rule
        self._is_stopping = is_stopping
        self._patience = patience

    def records(self, number: int) -> Iterator[Record]:
        """Yield the records of a pipe as they arrive; closing the iterator closes the pipe.

        Args:
            number: Of the pipe: 0 for the first one that the job opens.

        Raises:
            TrainingError: If the pipe never appears, gives nothing for too long, has no records,
                or holds something else than image records with allowed labels.
        """
        path = self._data / f"{self.channel}_{number}"
        source = f"Channel {self.channel!r}: {path}"
        try:
            with open_pipe(
                path,
                channel=self.channel,
                is_stopping=self._is_stopping,
                patience=self._patience,
            ) as pipe:
                is_empty = True
                for record in self._read(pipe, source, path.name):
                    is_empty = False
                    yield record
        except PipeStopped:
            return
        if is_empty:
            raise TrainingError(
                f"{source} ended without a record. Check that the channel's S3Uri names the data."
            )

    def _read(self, pipe: ByteStream, source: str, name: str) -> Iterator[Record]:
        for idx, payload in enumerate(read_records(pipe, source)):
            try:
                labels, data = split_record(payload)
                label = self._rule.read(labels)
            except ValueError as error:
                raise TrainingError(
                    f"{source}, record {idx}: {error}. Correct the hyperparameters, or write the "
                    "file again."
                ) from error
            yield Record(f"{name} record {idx}", data, label)


class ManifestStream(RecordIOStream):
    """Images and labels of an augmented manifest through a pipe; an ``ImageStream``.

    ``AttributeNames`` must name the image first and the label second, ``RecordWrapperType`` must
    be ``RecordIO``. A record's name is that of its image.

    Args:
        channel: Name of the channel.
        data: Folder of the pipes, ``/opt/ml/input/data``.
        rule: What is allowed as a label.
        label_format: One of ``LABEL_FORMATS``.
        is_stopping: Asked while waiting for data.
        patience: How long to wait for data.
    """

    def __init__(
        self,
        channel: str,
        *,
        data: Path,
        rule: LabelRule,
        label_format: str,
        is_stopping: Callable[[], bool],
        patience: Patience | None = None,
    ) -> None:
        super().__init__(channel, data=data, rule=rule, is_stopping=is_stopping, patience=patience)
        self._label_format = label_format

    def _read(self, pipe: ByteStream, source: str, name: str) -> Iterator[Record]:
        image: _Payload | None = None
        idx = -1
        for idx, payload in enumerate(read_records(pipe, source)):
            if image is None:
                image = payload
                continue
            label = self._read_label(payload, f"{source}, record {idx}")
            yield Record(f"{name} record {idx - 1}", np.frombuffer(image, np.uint8), label)
            image = None
        if image is not None:
            raise TrainingError(
                f"{source} ends with record {idx}, an image without a label. The channel's "
                "AttributeNames must name the image first and the label second."
            )

    def _read_label(self, payload: _Payload, place: str) -> Label:
        try:
            if len(payload) > MAX_LABEL_BYTES:
                raise ValueError(f"{len(payload)} bytes are no label")
            return self._rule.read_text(_decode(payload), self._label_format)
        except ValueError as error:
            raise TrainingError(
                f"{place}, which is a label: {error}. The channel's AttributeNames must name the "
                "image first and the label second, in every line of the manifest."
            ) from error


def _decode(payload: _Payload) -> str:
    try:
        return payload.decode("utf-8")
    except UnicodeDecodeError:
        start = quote(bytes(payload[:8]).decode("latin-1"))
        raise ValueError(f"{len(payload)} bytes that begin with {start} are no text") from None
