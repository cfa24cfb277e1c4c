"""Algorithms as JSON: every form is read, every mistake is named, nothing is half written."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from sagemaker_sift.algorithm import Algorithm
from sagemaker_sift.exceptions import InvalidRequestError

IMAGE = "image:1"


def read_problem(source: Any, **more: Any) -> str:
    with pytest.raises(InvalidRequestError) as caught:
        Algorithm.from_json(source, **more)
    return str(caught.value)


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    algorithm = Algorithm.from_contract(
        IMAGE, inference_image="serve:1", tags=[{"Key": "team", "Value": "Bildäuswertung"}]
    )
    algorithm.save(tmp_path / "a.json")
    read = Algorithm.from_json(tmp_path / "a.json")
    assert read.to_request() == algorithm.to_request()
    assert Algorithm.from_json(str(tmp_path / "a.json")).to_request() == algorithm.to_request()
    assert Algorithm.from_json(algorithm.to_json()).to_request() == algorithm.to_request()
    assert Algorithm.from_json(tmp_path / "a.json", name="other").name == "other"


def test_a_response_is_read_with_its_arn() -> None:
    response = {
        "AlgorithmName": "mine",
        "AlgorithmArn": "arn",
        "ProductId": "product",
        "CreationTime": "2026-11-21",
        "AlgorithmStatus": "Completed",
        "AlgorithmStatusDetails": {},
        "TrainingSpecification": {"TrainingImage": IMAGE},
        "CertifyForMarketplace": True,
        "ResponseMetadata": {},
    }
    algorithm = Algorithm.from_json(json.dumps(response))
    assert (algorithm.arn, algorithm.product_id) == ("arn", "product")
    assert algorithm.certify_for_marketplace is True
    assert algorithm.to_request() == {
        "AlgorithmName": "mine",
        "TrainingSpecification": {"TrainingImage": IMAGE},
        "CertifyForMarketplace": True,
    }


def test_a_specification_by_itself_needs_a_name() -> None:
    text = json.dumps({"TrainingImage": IMAGE, "TrainingChannels": []})
    algorithm = Algorithm.from_json(text, name="mine")
    assert algorithm.training_specification == {"TrainingImage": IMAGE, "TrainingChannels": []}
    assert "`name` is missing: the JSON holds a TrainingSpecification" in read_problem(text)


def test_mistakes_of_json_are_named_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{\n  "AlgorithmName": "a",\n  "TrainingSpecification": {,\n}\n')
    assert read_problem(path) == (
        f"`{path}:3` is not JSON: Expecting property name enclosed in double quotes (column 29)."
    )
    path.write_bytes(b'{\n"AlgorithmName": "\xe9"}')
    assert read_problem(path) == f"`{path}:2` is not UTF-8 text. Save it as UTF-8."
    path.write_text("[1]")
    assert read_problem(path).startswith(f"`{path}` holds no JSON object.")
    path.write_text("")
    assert read_problem(path).startswith(f"`{path}:1` is not JSON: Expecting value")


def test_what_json_loses_silently_is_refused() -> None:
    text = '{"AlgorithmName": "a", "AlgorithmName": "b", "TrainingSpecification": {}}'
    assert "has 'AlgorithmName' more than once in one object. Keep one." in read_problem(text)
    text = '{"AlgorithmName": "a", "TrainingSpecification": {"X": NaN}}'
    assert "NaN is no number of JSON" in read_problem(text)
    assert "is not JSON that can be read" in read_problem('{"a":' * 100_000)


def test_unknown_fields_are_named_with_the_nearest() -> None:
    text = '{"AlgorithmName": "a", "TrainingSpecification": {}, "Tag": []}'
    assert read_problem(text) == (
        "`the JSON` has 'Tag', which is not a field of an algorithm. Did you mean 'Tags'?"
    )
    text = '{"TrainingImage": "i", "TrainingChanels": []}'
    assert "Did you mean 'TrainingChannels'?" in read_problem(text, name="mine")
    assert "TrainingSpecification` is missing" in read_problem('{"AlgorithmName": "a"}')


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "no.json"))):
        Algorithm.from_json(tmp_path / "no.json")


def test_a_file_is_replaced_whole_or_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="No space left"):
            Algorithm.from_contract(IMAGE).save(path)
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
    Algorithm.from_contract(IMAGE).save(path)
    assert json.loads(path.read_text())["AlgorithmName"] == "sift-image-classification"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.json"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~read_umask()


def read_umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
